package write

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/store"
)

// busy is how long a write waits for another transaction.
const busy = 10 * time.Second

// newTestWriter runs a writer without a role on a new database with a table t.
func newTestWriter(t *testing.T, hooks Hooks) *Group {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
	require.NoError(t, err)
	engine, err := sqlite.Dialect{}.Bind(t.Context(), db, dialect.Config{})
	require.NoError(t, err)
	w := NewGroup(&store.Store{DB: db, Dialect: sqlite.Dialect{}, Engine: engine, Log: hclog.NewNullLogger()}, busy, hooks)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		require.NoError(t, db.Close())
	})
	return w
}

// Everyone who waits behind an open transaction waits for the whole busy timeout, though they share its timer.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWriter(t, Hooks{})
		begun, end := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			assert.NoError(t, w.With(t.Context(), func(*sql.Conn) error { close(begun); <-end; return nil }))
		})
		<-begun
		for i := range 5 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * busy / 3)
				start := time.Now()
				_, _, err := w.Exec(t.Context(), "INSERT INTO t (n) VALUES (?)", []any{i})
				assert.ErrorIs(t, err, fault.ErrBusy)
				assert.Equal(t, busy, time.Since(start))
			})
		}
		time.Sleep(3 * busy)
		close(end)
		all.Wait()
		_, _, err := w.Exec(t.Context(), "INSERT INTO t (n) VALUES (?)", []any{9})
		require.NoError(t, err)
		var rows int
		require.NoError(t, w.Node.DB.QueryRow("SELECT count(*) FROM t").Scan(&rows))
		require.Equal(t, 1, rows, "those who gave up have left nothing")
	})
}

// A caller who gives up ends a statement that would never end, run directly or compiled, and those who
// share its commit are not harmed.
func TestCancelEndless(t *testing.T) {
	w := newTestWriter(t, Hooks{})
	const endless = "INSERT INTO t (n) WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
	for range 3 {
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				_, _, err := w.Exec(t.Context(), "INSERT INTO t (n) VALUES (?)", []any{i})
				assert.NoError(t, err)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, _, err := w.Exec(ctx, endless, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		all.Wait()
	}
	var rows int
	require.NoError(t, w.Node.DB.QueryRow("SELECT count(*) FROM t").Scan(&rows))
	require.Equal(t, 12, rows)
}

// What the driver takes for arguments is the same whether a statement is run directly or compiled, and so are its errors.
func TestCompiledArguments(t *testing.T) {
	w := newTestWriter(t, Hooks{})
	type number int32
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	for _, arg := range []any{nil, 1, int64(2), uint8(3), number(4), 1.5, float32(2.5), true, "text", "", []byte("blob"), []byte{}, []byte(nil), at,
		sql.NullString{}, sql.NullInt64{Int64: 5, Valid: true}, new("pointer"), (*string)(nil), sql.Named("x", 6)} {
		for range 3 {
			query := "INSERT INTO t (n) VALUES (?)"
			if _, named := arg.(sql.NamedArg); named {
				query = "INSERT INTO t (n) VALUES (:x)"
			}
			_, _, err := w.Exec(t.Context(), query, []any{arg})
			require.NoError(t, err, "%T %v", arg, arg)
		}
		var shapes int
		require.NoError(t, w.Node.DB.QueryRow("SELECT count(DISTINCT typeof(n) || quote(n)) FROM t").Scan(&shapes))
		require.Equal(t, 1, shapes, "%T %v", arg, arg)
		_, _, err := w.Exec(t.Context(), "DELETE FROM t", nil)
		require.NoError(t, err)
	}
	var texts []string
	for range 3 {
		_, _, err := w.Exec(t.Context(), "INSERT INTO t (n) VALUES (?) ", []any{struct{}{}})
		require.Error(t, err)
		texts = append(texts, err.Error())
		_, _, err = w.Exec(t.Context(), "INSERT INTO t (id, n) VALUES (1, ?) ON CONFLICT DO NOTHING", nil)
		require.Error(t, err)
	}
	require.Equal(t, texts[0], texts[1])
	require.Equal(t, texts[0], texts[2])
}
