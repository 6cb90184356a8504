package observe

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/journal"
	"github.com/stretchr/testify/require"
)

// What waits for a program that takes nothing is limited: the newest changes stay.
func TestNoticesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []journal.LSN
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		n := newNotices()
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.run(ctx, func(s health.Status) { <-release; got = append(got, s.LSN) })
		}()
		n.add(health.Status{LSN: 1})
		synctest.Wait()
		for i := range 5000 {
			n.add(health.Status{LSN: journal.LSN(i + 2)})
		}
		close(release)
		synctest.Wait()
		cancel()
		<-done
		require.Len(t, got, 1025)
		require.EqualValues(t, 1, got[0])
		require.EqualValues(t, 5001, got[1024])
		require.EqualValues(t, 3978, got[1])
	})
}
