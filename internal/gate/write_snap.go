package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
)

// snapWrites writes on a snap whose database has many writers. A write is a plain statement on a connection of
// the pool; the notes that its triggers leave say whose it is, and a pass makes a batch of them (N1).
type snapWrites struct {
	gate *Gate
	s    ManyWriters
}

// ManyWriters is a snap whose database has many writers.
type ManyWriters interface {
	// Turn waits for the turn of a write, which ends with done. It refuses one where there is no room or nothing to write to.
	Turn(ctx context.Context) (done func(), err error)
	// Conn takes a connection whose handed-out keys are this node's and whose notes will tell the
	// transaction that is to begin, or the statements that are to run by themselves.
	Conn(ctx context.Context, transaction bool) (write.Conn, error)
	// Mark returns the statement that a connection got by Conn runs before another transaction of its own; "" if there is no need.
	Mark() string
	// Weigh refuses a transaction that is too large for a batch before it is committed.
	Weigh(ctx context.Context, c *sql.Conn) error
	// Noted counts a local write that may have been committed, and asks for a batch of it.
	Noted()
}

func (w *snapWrites) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	done, err := w.s.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	spelt := sqlclass.SpellsRows(w.gate.texts.Class, stmt.SQL)
	c, err := w.s.Conn(ctx, !spelt)
	if err != nil {
		return nil, err
	}
	release, err := w.gate.killOn(ctx, w.gate.node.DB, c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	defer giveBack(c.Conn, release)
	if spelt {
		defer w.s.Noted() // even after an error it may stand
		return c.Exec(ctx, stmt.SQL, args)
	}
	if stmt.Leaves() {
		defer store.Drop(c.Conn)
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	t := &snapTx{w: w, ctx: ctx, conn: c.Conn, tx: tx, done: func() {}}
	res, err := c.Exec(ctx, stmt.SQL, args) // ctx ends the transaction and the statement: it cannot come after it
	if err != nil {
		return res, errors.Join(err, t.rollback())
	}
	t.count(res)
	return res, t.commit()
}

func (w *snapWrites) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	return w.gate.queryAlone(ctx, stmt, args)
}

func (w *snapWrites) own(ctx context.Context) (*sql.Conn, error) {
	c, err := w.s.Conn(ctx, true)
	return c.Conn, err
}

func (w *snapWrites) beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	if _, err := conn.ExecContext(ctx, w.s.Mark()); err != nil {
		return nil, err
	}
	return w.gate.beginPinned(ctx, conn, opts)
}

func (w *snapWrites) schema(_ context.Context, _ *sql.Conn, stmt *route.Statement, _ []any) (sql.Result, error) {
	return nil, w.gate.notMaster(stmt)
}

func (w *snapWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	done, err := w.s.Turn(ctx)
	if err != nil {
		return nil, err
	}
	c, err := w.s.Conn(ctx, true)
	if err != nil {
		done()
		return nil, err
	}
	tx, err := c.BeginTx(ctx, opts)
	if err != nil {
		done()
		return nil, errors.Join(err, c.Close())
	}
	t := &snapTx{w: w, ctx: ctx, conn: c.Conn, tx: tx}
	t.done = func() {
		if t.left {
			store.Drop(c.Conn)
		}
		c.Close()
		done()
	}
	return t, nil
}

// snapTx is a transaction of snapWrites.
type snapTx struct {
	w       *snapWrites
	ctx     context.Context
	conn    *sql.Conn
	tx      *sql.Tx
	done    func()
	changed int64 // rows, at least unweighedRows where that is not known
	over    bool
	left    bool // conn may be other than it was
}

// unweighedRows is how many rows a transaction may change without a look at what they hold before its commit.
const unweighedRows = 100

func (t *snapTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if stmt.IsSchema() {
		return nil, t.w.gate.notMaster(stmt)
	}
	t.left = t.left || stmt.Leaves()
	res, err := t.tx.ExecContext(ctx, stmt.SQL, args...)
	if err == nil {
		t.count(res)
	}
	return res, err
}

func (t *snapTx) count(res sql.Result) {
	n, _ := res.RowsAffected()
	t.changed += n
}

func (t *snapTx) query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error) {
	t.left = t.left || stmt.Leaves()
	if !stmt.IsRead() {
		t.changed += unweighedRows
	}
	return t.tx.QueryContext(ctx, stmt.SQL, args...)
}

func (t *snapTx) killable() (*sql.Tx, *sql.DB) { return t.tx, t.w.gate.main }

func (t *snapTx) commit() error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	defer t.done()
	if t.changed >= unweighedRows {
		if err := t.w.s.Weigh(context.WithoutCancel(t.ctx), t.conn); err != nil {
			return errors.Join(err, t.tx.Rollback())
		}
	}
	defer t.w.s.Noted() // even after an error it may stand
	return t.tx.Commit()
}

func (t *snapTx) rollback() error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	defer t.done()
	return t.tx.Rollback()
}
