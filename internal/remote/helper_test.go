package remote

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// rig is a database behind a listener and a client pool in front of it.
type rig struct {
	direct *sql.DB
	db     *sql.DB
	cancel context.CancelFunc

	mu      sync.Mutex
	streams []net.Conn // the server's ends
	ended   []error    // what Serve returned
	wg      sync.WaitGroup
}

// newRig serves direct over net.Pipe, which buffers nothing: whatever deadlocks
// on a slow link deadlocks there.
func newRig(tb testing.TB, direct *sql.DB, serve ServeOptions, opts Options) *rig {
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{direct: direct, cancel: cancel}
	serve.Errors, opts.Errors = mysql.Dialect{}, mysql.Dialect{}
	r.db = sql.OpenDB(NewConnector(func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		r.serve(ctx, server, serve)
		return client, nil
	}, opts))
	tb.Cleanup(func() {
		r.db.Close()
		r.cancel()
		r.wg.Wait()
	})
	return r
}

func (r *rig) serve(ctx context.Context, nc net.Conn, opts ServeOptions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams = append(r.streams, nc)
	r.wg.Go(func() {
		err := Serve(ctx, nc, r.direct, opts)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = append(r.ended, err)
	})
}

// cut breaks all streams at the server's end.
func (r *rig) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, nc := range r.streams {
		nc.Close()
	}
}

func (r *rig) dialed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams)
}

func sqliteRig(tb testing.TB, serve ServeOptions, opts Options) *rig {
	_, direct := testdb.SQLite(tb)
	return newRig(tb, direct, serve, opts)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func mustExec(tb testing.TB, db execer, query string, args ...any) sql.Result {
	tb.Helper()
	res, err := db.ExecContext(tb.Context(), query, args...)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return res
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func queryInt(tb testing.TB, db queryer, query string, args ...any) (n int64) {
	tb.Helper()
	if err := db.QueryRowContext(tb.Context(), query, args...).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("error is %v, want %v", err, want)
	}
}

const countTo = `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < ?) SELECT i, 'row ' || i FROM c`
