package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
)

// forwardedWrites sends writes to the master over the transport.
type forwardedWrites struct {
	gate *Gate
	db   *sql.DB // connections are streams to the master
}

func (f *forwardedWrites) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	return f.db.ExecContext(ctx, stmt.SQL, args...)
}

func (f *forwardedWrites) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	return streamRows(f.db.QueryContext(ctx, stmt.SQL, args...))
}

func (f *forwardedWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	tx, err := f.db.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &plainTx{gate: f.gate, tx: tx}, nil
}

func (f *forwardedWrites) own(ctx context.Context) (*sql.Conn, error) { return f.db.Conn(ctx) }

func (f *forwardedWrites) beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	return f.gate.beginPinned(ctx, conn, opts)
}

func (f *forwardedWrites) schema(_ context.Context, _ *sql.Conn, stmt *route.Statement, _ []any) (sql.Result, error) {
	return nil, f.gate.notMaster(stmt)
}

// plainTx is a transaction that ddb adds nothing to: a remote one, or a read-only one.
type plainTx struct {
	gate     *Gate
	tx       *sql.Tx
	db       *sql.DB // that it is on; nil for a remote one
	readOnly bool

	// Of a transaction that only reads:
	on    *route.Member
	begin func(*route.Member) (*sql.Tx, error)
	used  bool // it has read
}

func (t *plainTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if t.readOnly && !stmt.IsRead() {
		return nil, fmt.Errorf("%w: the transaction was opened with ReadOnly", fault.ErrReadOnly)
	}
	if stmt.ChangesSchema() {
		return nil, t.gate.notMaster(stmt)
	}
	return t.tx.ExecContext(ctx, stmt.SQL, args...)
}

func (t *plainTx) query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error) {
	if t.readOnly && !stmt.IsRead() {
		return nil, fmt.Errorf("%w: the transaction was opened with ReadOnly", fault.ErrReadOnly)
	}
	rows, err := t.tx.QueryContext(ctx, stmt.SQL, args...)
	if t.on == nil || t.gate.route.Knows(t.on, err) == nil || ctx.Err() != nil || route.RuleOf(ctx).Node != "" {
		t.used = true
		return rows, err
	}
	// The table may be one that is not replicated. A transaction that has read nothing yet moves to the master.
	if t.used || t.gate.kills(ctx, t.db) {
		return nil, fmt.Errorf("%w; if it is not replicated, read it in a transaction on the master: begin it WithConsistency(ctx, Strong)", err)
	}
	if moveErr := t.move(t.gate.route.Knows(t.on, err)); moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	return t.query(ctx, stmt, args)
}

// move begins the transaction again on the master.
func (t *plainTx) move(master *route.Member) error {
	tx, err := t.begin(master)
	if err != nil {
		return err
	}
	if err := t.tx.Rollback(); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	t.tx, t.on, t.db = tx, master, nil
	if master.Local || t.gate.node == nil {
		t.db = master.DB
	}
	return nil
}

// killable returns the transaction if it is on a database of this process. A remote node kills by itself.
func (t *plainTx) killable() (*sql.Tx, *sql.DB) {
	if t.db == nil {
		return nil, nil
	}
	return t.tx, t.db
}

func (t *plainTx) commit() error   { return t.tx.Commit() }
func (t *plainTx) rollback() error { return t.tx.Rollback() }

// externalWrites writes to a master that somebody else replicates.
type externalWrites struct {
	gate *Gate
	db   *sql.DB
}

func (e *externalWrites) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	defer e.gate.route.Session.WroteNow() // after it: replicas cannot show it sooner
	if !e.gate.kills(ctx, e.db) && !stmt.Leaves() {
		return e.db.ExecContext(ctx, stmt.SQL, args...)
	}
	c, release, err := e.conn(ctx)
	if err != nil {
		return nil, err
	}
	defer e.gate.giveBack(c, release, stmt)
	res, err := c.ExecContext(ctx, stmt.SQL, args...)
	if err == nil {
		err = e.gate.leftOpen(ctx, c, stmt)
	}
	return res, err
}

// conn takes a connection for a statement that is to be killed. It goes back by giveBack, with release.
func (e *externalWrites) conn(ctx context.Context) (c *sql.Conn, release func() (killed bool), err error) {
	if c, err = e.db.Conn(ctx); err != nil {
		return nil, nil, err
	}
	if release, err = e.gate.killOn(ctx, e.db, c); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, release, nil
}

func (e *externalWrites) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	defer e.gate.route.Session.WroteNow()
	run, back := e.db.QueryContext, func() error { return nil }
	if e.gate.kills(ctx, e.db) || stmt.Leaves() {
		c, release, err := e.conn(ctx)
		if err != nil {
			return nil, err
		}
		run, back = c.QueryContext, func() error {
			return errors.Join(e.gate.leftOpen(ctx, c, stmt), e.gate.giveBack(c, release, stmt))
		}
	}
	rows, err := streamRows(run(ctx, stmt.SQL, args...))
	if err != nil {
		return nil, errors.Join(err, back())
	}
	// The server commits the statement when it has sent the last row.
	rows.(*streamedRows).after = func() error { e.gate.route.Session.WroteNow(); return back() }
	return rows, nil
}

func (e *externalWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	e.gate.route.Session.WroteNow()
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &externalTx{gate: e.gate, conn: conn, tx: tx}, nil
}

func (e *externalWrites) own(ctx context.Context) (*sql.Conn, error) { return e.db.Conn(ctx) }

func (e *externalWrites) beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	return e.gate.beginPinned(ctx, conn, opts)
}

func (e *externalWrites) schema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) (sql.Result, error) {
	if on != nil {
		defer e.gate.route.Session.WroteNow()
		return on.ExecContext(ctx, stmt.SQL, args...)
	}
	return e.exec(ctx, stmt, args)
}

type externalTx struct {
	gate *Gate
	conn *sql.Conn
	tx   *sql.Tx
	left bool // conn may be other than it was
}

func (t *externalTx) leave() {
	if t.left {
		store.Drop(t.conn)
	}
	t.conn.Close()
}

func (t *externalTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	t.left = t.left || stmt.Leaves()
	return t.tx.ExecContext(ctx, stmt.SQL, args...)
}

func (t *externalTx) query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error) {
	t.left = t.left || stmt.Leaves()
	return t.tx.QueryContext(ctx, stmt.SQL, args...)
}

func (t *externalTx) killable() (*sql.Tx, *sql.DB) { return t.tx, t.gate.main }

func (t *externalTx) commit() error {
	defer t.gate.route.Session.WroteNow()
	defer t.leave()
	return t.tx.Commit()
}

func (t *externalTx) rollback() error {
	defer t.leave()
	return t.tx.Rollback()
}
