package remote

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ddb-project/ddb/internal/testdb"
)

// A link that breaks while a write runs gives ErrUnknownOutcome and the write
// is not sent again.
func TestLostLinkDuringWrite(t *testing.T) {
	var r *rig
	var calls atomic.Int32
	r = sqliteRig(t, ServeOptions{Check: func(query string) error {
		if calls.Add(1) == 2 { // the first made the table
			r.cut()
		}
		return nil
	}}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	_, err := r.db.Exec(`INSERT INTO t VALUES (1)`)
	wantErr(t, err, ErrUnknownOutcome)
	if errors.Is(err, driver.ErrBadConn) || calls.Load() != 2 {
		t.Errorf("%v after %d statements", err, calls.Load())
	}
	mustExec(t, r.db, `INSERT INTO t VALUES (2)`) // on a new stream
}

// A stream that ended while it was idle is replaced without the caller's notice.
func TestStaleConnection(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	var gone <-chan struct{}
	held, err := r.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, held, `CREATE TABLE t (a)`)
	held.Raw(func(dc any) error { gone = dc.(*conn).gone; return nil })
	held.Close()
	r.cut()
	<-gone
	mustExec(t, r.db, `INSERT INTO t VALUES (1)`)
	if n := queryInt(t, r.direct, `SELECT count(*) FROM t`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// A server that vanishes in the middle of the rows ends them with an error, and
// a transaction that was open is rolled back.
func TestServerVanishesMidRows(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	tx, err := r.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, `INSERT INTO t VALUES (1)`)
	rows, err := tx.Query(countTo, 1<<40)
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	r.cut()
	for rows.Next() {
	}
	wantErr(t, rows.Err(), ErrUnknownOutcome)
	wantErr(t, tx.Commit(), driver.ErrBadConn) // it was never sent
	mustExec(t, r.direct, `INSERT INTO t VALUES (2)`)
	if n := queryInt(t, r.direct, `SELECT count(*) FROM t`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// A cancelled context ends the statement on the server too, and the connection
// stays usable because the server confirms.
func TestCancel(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	const endless = `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT count(*) FROM c`
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := r.db.QueryRowContext(ctx, endless).Scan(new(int))
	wantErr(t, err, context.DeadlineExceeded)
	r.direct.SetMaxOpenConns(1) // so this waits until the server's query is gone
	if n := queryInt(t, r.direct, `SELECT 1`); n != 1 {
		t.Errorf("got %d", n)
	}

	ctx, cancel = context.WithCancel(t.Context())
	rows, err := r.db.QueryContext(ctx, countTo, 1<<40)
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	cancel()
	for rows.Next() {
	}
	wantErr(t, rows.Err(), context.Canceled)
	rows.Close()
	if n := queryInt(t, r.db, `SELECT 1`); n != 1 {
		t.Errorf("got %d", n)
	}
}

// A read-only stream refuses writes and says so.
func TestReadOnly(t *testing.T) {
	r := sqliteRig(t, ServeOptions{ReadOnly: true}, Options{})
	_, err := r.db.Exec(`CREATE TABLE t (a)`)
	wantErr(t, err, ErrReadOnly)
	_, err = r.db.Begin()
	wantErr(t, err, ErrReadOnly)
	tx, err := r.db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if queryInt(t, tx, `SELECT 1`) != 1 {
		t.Error("no read in a read-only transaction")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

var errTooStale = errors.New("too stale")

func init() { RegisterError("test.stale", errTooStale) }

// Headers reach Before, whose refusal reaches the caller; tokens of After reach
// OnToken.
func TestHeaderAndToken(t *testing.T) {
	refused := errTooStale
	var token atomic.Uint64
	r := sqliteRig(t, ServeOptions{
		Before: func(ctx context.Context, h Header) (context.Context, error) {
			if h != (Header{Kill: true}) {
				return ctx, refused
			}
			return ctx, nil
		},
		After: func() uint64 { return 42 },
	}, Options{
		Header: func(ctx context.Context) Header {
			h, _ := ctx.Value(t).(Header)
			return h
		},
		OnToken: token.Store,
	})
	wantErr(t, r.db.QueryRow(`SELECT 1`).Scan(new(int)), refused)
	token.Store(0)
	ctx := context.WithValue(t.Context(), t, Header{Kill: true})
	if err := r.db.QueryRowContext(ctx, `SELECT 1`).Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	if token.Load() != 42 {
		t.Errorf("token %d, want 42", token.Load())
	}
}

// A stream that idles ends, its transaction is rolled back, and Serve is content.
func TestIdleLimit(t *testing.T) {
	_, direct := testdb.SQLite(t)
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- Serve(t.Context(), server, direct, ServeOptions{}) }()
		c := newConn(client, Options{})
		if _, err := c.BeginTx(t.Context(), driver.TxOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleLimit + time.Second) // virtual
		if err := <-served; err != nil {
			t.Errorf("Serve returns %v", err)
		}
		wantErr(t, c.Ping(t.Context()), driver.ErrBadConn)
		c.Close()
		direct.Close() // its goroutine belongs to the bubble
	})
}

// A link that takes nothing more does not hold a cancelled caller.
func TestCancelOnStalledLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe() // nobody reads the other end
		defer server.Close()
		c := newConn(client, Options{})
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.ExecContext(ctx, `SELECT 1`, nil)
		wantErr(t, err, context.DeadlineExceeded)
		if c.IsValid() {
			t.Error("the connection counts as valid")
		}
	})
}
