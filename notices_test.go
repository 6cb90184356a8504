package ddb_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// A program that is slow to take a change of health keeps no read from being routed by what has come since; all changes
// reach it in order, those too that wait when the Cluster closes.
func TestSlowOnHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told []string
		m := newMocked(t, ddb.Options{MaxLag: time.Second, OnHealth: func(s ddb.NodeStatus) {
			<-release
			told = append(told, fmt.Sprint(s.ID, " ", s.State))
		}})
		beat := func() { time.Sleep(1100 * time.Millisecond); synctest.Wait() }
		for _, node := range []string{"a", "b"} {
			m.checker.Set(node, ddb.Report{Lag: ddb.LagUnknown}, nil)
			beat()
		}
		expectOne(m.master, "SELECT 1")
		readOne(t, m.c, t.Context(), "SELECT 1")
		m.checker.Set("b", ddb.Report{}, nil)
		beat()
		expectOne(m.b, "SELECT 2")
		readOne(t, m.c, t.Context(), "SELECT 2")
		require.Empty(t, told)
		go func() { time.Sleep(time.Second); close(release) }()
		require.NoError(t, m.c.Close())
		require.Equal(t, []string{"a inactive", "b inactive", "b active"}, told[len(told)-3:])
	})
}

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
