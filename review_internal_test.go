package ddb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/fleet"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
)

// A statement that failed with its group and succeeds by itself is reported as what it came to (W2).
func TestGroupSecondAttempt(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	engine, err := sqlite.Dialect{}.Bind(t.Context(), db, dialect.Config{})
	require.NoError(t, err)
	opts, err := Options{}.withDefaults()
	require.NoError(t, err)
	n := &store.Store{DB: db, Dialect: sqlite.Dialect{}, Engine: engine, Log: hclog.NewNullLogger()}
	attempts := 0
	w := write.NewGroup(n, opts.BusyTimeout, write.Hooks{Each: func(context.Context, *sql.Conn, dialect.Program) error {
		if attempts++; attempts == 1 {
			return errors.New("not this time")
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	_, _, err = w.Exec(ctx, "INSERT INTO t VALUES (1)", nil)
	require.NoError(t, err, "the statement is committed")
	require.Equal(t, 2, attempts)
	var rows int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM t").Scan(&rows))
	require.Equal(t, 1, rows)
}

// quietFleet is one of a master that does nothing.
func quietFleet() *fleet.Fleet {
	rules := new(atomic.Pointer[access.Rules])
	rules.Store(new(access.Rules))
	return fleet.New(&store.Store{Log: hclog.NewNullLogger()}, sequence.New(nil), rules, nil, fleet.Config{Heartbeat: time.Second, MaxLag: 10 * time.Second,
		WaitTimeout: 5 * time.Second, Changed: func() {}})
}

// A wait for replicas that ends with the caller's context says so, and that the write stands.
func TestNotConfirmedTellsContext(t *testing.T) {
	m := &master{seq: sequence.New(nil), fleet: quietFleet()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.fleet.Confirmed(ctx, 1, 1)
	require.ErrorIs(t, err, ErrNotConfirmed)
	require.ErrorIs(t, err, context.Canceled)
	err = m.fleet.NotConfirmed(ctx, "it stands")
	require.ErrorIs(t, err, ErrNotConfirmed)
	require.ErrorIs(t, err, context.Canceled)
}
