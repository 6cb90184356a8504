package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
)

// snapWrites writes on a snap whose database has many writers. A write is a plain statement on a connection of
// the pool; the notes that its triggers leave say whose it is, and a pass makes a batch of them (N1).
type snapWrites struct {
	c *Cluster
	s *snapSide
}

// conn takes a connection whose handed-out keys are this node's and whose notes will tell the
// transaction that is to begin, or the statements that are to run by themselves.
func (w *snapWrites) conn(ctx context.Context, transaction bool) (write.Conn, error) {
	c, err := w.s.own.Conn(ctx, w.s.f.node.DB, w.s.numberOfNode.Load())
	mark := w.s.batcher.transactions.Mark(transaction)
	if err != nil || mark == "" || !transaction && c.Single {
		return c, err
	}
	if _, err := c.ExecContext(ctx, mark); err != nil {
		store.Drop(c.Conn)
		return write.Conn{}, err
	}
	c.Single = !transaction
	return c, nil
}

// admit refuses a write where the queue is full. How long it is can be told when there is a batch of every write.
func (w *snapWrites) admit(ctx context.Context) error {
	if w.s.filledUp() {
		if err := w.s.pass(ctx); err != nil {
			return err
		}
	}
	return w.s.admit()
}

// turn waits for the turn of a write. An entry that it has waited for may have left tables that must not be written to.
func (w *snapWrites) turn(ctx context.Context) (done func(), err error) {
	if err := w.admit(ctx); err != nil {
		return nil, err
	}
	if done, err = w.s.turns.write(ctx); err != nil {
		return nil, err
	}
	switch {
	case !w.s.readable():
		err = fmt.Errorf("%w: a snapshot from the master has begun to replace the data of snap %s; try again when it is loaded", ErrBusy, w.s.f.node.ID)
	case w.s.halfway.Load():
		err = fmt.Errorf("%w: snap %s has run a schema statement of the master by half; try again when its state is not failed", ErrBusy, w.s.f.node.ID)
	default:
		return done, nil
	}
	done()
	return nil, err
}

func (w *snapWrites) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	done, err := w.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	spelt := sqlclass.SpellsRows(w.c.class, query)
	c, err := w.conn(ctx, !spelt)
	if err != nil {
		return nil, err
	}
	release, err := w.c.killOn(ctx, w.s.f.node.DB, c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	defer giveBack(c.Conn, release)
	if spelt {
		defer w.s.noted() // even after an error it may stand
		return c.Exec(ctx, query, args)
	}
	if w.c.leaves(query) {
		defer store.Drop(c.Conn)
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	t := &snapTx{w: w, ctx: ctx, conn: c.Conn, tx: tx, done: func() {}}
	res, err := c.Exec(ctx, query, args) // ctx ends the transaction and the statement: it cannot come after it
	if err != nil {
		return res, errors.Join(err, t.rollback())
	}
	t.count(res)
	return res, t.commit()
}

func (w *snapWrites) query(ctx context.Context, query string, args []any) (driver.Rows, error) {
	return queryAlone(ctx, w, query, args)
}

func (w *snapWrites) schema(_ context.Context, _ *sql.Conn, query string, _ []any) (sql.Result, error) {
	return nil, w.c.notMaster(query)
}

func (w *snapWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	done, err := w.turn(ctx)
	if err != nil {
		return nil, err
	}
	c, err := w.conn(ctx, true)
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

func (t *snapTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if t.w.c.isSchema(query) {
		return nil, t.w.c.notMaster(query)
	}
	t.left = t.left || t.w.c.leaves(query)
	res, err := t.tx.ExecContext(ctx, query, args...)
	if err == nil {
		t.count(res)
	}
	return res, err
}

func (t *snapTx) count(res sql.Result) {
	n, _ := res.RowsAffected()
	t.changed += n
}

func (t *snapTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	t.left = t.left || t.w.c.leaves(query)
	if !t.w.c.isRead(query) {
		t.changed += unweighedRows
	}
	return t.tx.QueryContext(ctx, query, args...)
}

func (t *snapTx) commit() error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	defer t.done()
	if t.changed >= unweighedRows {
		if err := t.w.s.weigh(context.WithoutCancel(t.ctx), t.conn); err != nil {
			return errors.Join(err, t.tx.Rollback())
		}
	}
	defer t.w.s.noted() // even after an error it may stand
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

// weigh refuses a transaction that is too large for a batch before it is committed.
func (s *snapSide) weigh(ctx context.Context, c *sql.Conn) error {
	noted, err := s.f.node.Engine.Noted(ctx, c, s.f.node.Tables.Load().Replicated())
	b := new(batch.Batch)
	for _, t := range noted {
		if err == nil {
			_, err = s.f.node.Engine.CollectImages(ctx, c, t, func(r dialect.Row) error {
				if b.Outgrows(r, s.mostBatch()) {
					return fmt.Errorf("%w: one transaction of this snap may change at most %d MiB of rows; split it, or raise max_allowed_packet", ErrNotReplicable, s.mostBatch()>>20)
				}
				return b.Add(s.f.node, t, r)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("ddb: node %s: weigh transaction: %w", s.f.node.ID, err)
	}
	return nil
}
