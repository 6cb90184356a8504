package live

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// until waits for a status.
func until(t *testing.T, w *Watcher, what string, ok func(Status) bool) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, changed := w.Load()
		if ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("never %s: %+v", what, s)
		}
	}
}

// The status follows a real snap through its first copy, the loss of the link and its return.
func TestWatcher(t *testing.T) {
	_, mdb := testdb.SQLite(t)
	_, sdb := testdb.SQLite(t)
	_, err := mdb.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	network := inmem.New()
	w := New()
	snap, err := ddb.Open(t.Context(), sdb, ddb.Options{ID: "s", Role: ddb.Snap, Master: "m", Transport: network, Heartbeat: 50 * time.Millisecond, OnProgress: w.Progress})
	require.NoError(t, err)
	defer snap.Close()
	w.Start(snap, func(ctx context.Context) (int, error) {
		list, err := snap.Conflicts(ctx)
		return len(list), err
	})
	defer w.Stop()
	first, _ := w.Load()
	require.False(t, first.Synced)
	require.Equal(t, "s", first.ID)

	open := func() *ddb.Cluster {
		m, err := ddb.Open(t.Context(), mdb, ddb.Options{Listen: "m", Transport: network, Heartbeat: 50 * time.Millisecond})
		require.NoError(t, err)
		return m
	}
	m := open()
	require.NoError(t, w.Synced(t.Context(), nil))
	online := until(t, w, "online", func(s Status) bool { return s.Online && s.State == ddb.Active && s.Pending == 0 })
	require.NoError(t, m.Close())
	offline := until(t, w, "offline", func(s Status) bool { return !s.Online })
	require.True(t, offline.Since.After(online.Since))
	_, err = snap.Exec("INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	w.Poke()
	until(t, w, "pending", func(s Status) bool { return s.Pending == 1 })
	m = open()
	defer m.Close()
	back := until(t, w, "exchanged", func(s Status) bool { return s.Online && s.Pending == 0 && s.Conflicts == 0 })
	require.False(t, back.Since.Before(offline.Since))
}

// A node that never had its first copy says so, when the wait for it is cut short.
func TestSyncedGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, New().Synced(ctx, nil), context.Canceled)
}

// The line names what is wrong, and the day if it is not today.
func TestLine(t *testing.T) {
	at := time.Date(2026, 10, 14, 9, 30, 5, 0, time.UTC)
	s := Status{Online: true, Since: at, State: ddb.Active, Lag: 12 * time.Millisecond}
	require.Equal(t, "online since 09:30:05 · 0 pending · lag 12ms · 0 conflicts", s.Line(at.Add(time.Hour)))
	s = Status{Since: at, State: ddb.Inactive, Lag: ddb.LagUnknown, Pending: 7, Conflicts: 1}
	require.Equal(t, "OFFLINE since Wed 14 Oct 09:30 · 7 pending · lag unknown · 1 conflict", s.Line(at.Add(24*time.Hour)))
	s.Lag = 0
	require.Contains(t, s.Line(at), "lag unknown", "what was known when the link was lost counts no more")
	s = Status{Online: true, Since: at, State: ddb.Lagging, Lag: 90 * time.Second, Conflicts: -1}
	require.Equal(t, "online since 09:30:05 (lagging) · 0 pending · lag 1m30s · conflicts unknown", s.Line(at))
	s.Lag, s.Conflicts = 1<<63-1, 1000
	require.Contains(t, s.Line(at), "lag unknown · 1000 or more conflicts")
}
