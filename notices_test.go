package ddb_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// What waits for a program that takes nothing is limited: the newest changes stay.
func TestNoticesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []ddb.LSN
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		add, run := ddb.Notices()
		done := make(chan struct{})
		go func() {
			defer close(done)
			run(ctx, func(s ddb.NodeStatus) { <-release; got = append(got, s.LSN) })
		}()
		add(ddb.NodeStatus{LSN: 1})
		synctest.Wait()
		for i := range 5000 {
			add(ddb.NodeStatus{LSN: ddb.LSN(i + 2)})
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
