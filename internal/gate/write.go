package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// writePath takes a Cluster's writes to where they belong. There is one for each place that can be.
type writePath interface {
	// exec runs one statement and returns when it is durable there.
	exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error)
	// query runs a statement that writes and returns rows, or reads what only the writer can tell.
	query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error)
	// begin opens a transaction that may write.
	begin(ctx context.Context, opts *sql.TxOptions) (txn, error)
	// own takes a connection where writes go, for one caller's use. What its statements write is seen by their
	// notes, like that of clients that bypass ddb, but the keys that they hand out are the node's.
	own(ctx context.Context) (*sql.Conn, error)
	// beginOn opens a transaction on such a connection.
	beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error)
	// schema runs a schema statement: on the program's own connection on, where it has one, or on any if that is nil.
	schema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) (sql.Result, error)
}

// txn is an open transaction. It is used by one goroutine at a time.
type txn interface {
	exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error)
	query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error)
	commit() error
	rollback() error
	// killable returns the transaction of a database of this process that it stands for, with the pool that a KILL can
	// be sent through; nil for another kind.
	killable() (*sql.Tx, *sql.DB)
}

// pooledWrites writes on a master whose database has many writers. The sequencer finds
// what was written by its notes.
type pooledWrites struct {
	gate *Gate
}

// noted counts a write of this master, which may have failed half-way, and remembers that this Cluster's reads must see it.
// A follower hears of it by the link.
func (g *Gate) noted() uint64 {
	if g.master.Sequencer == nil {
		if g.node == nil {
			g.route.Session.WroteNow()
		}
		return 0
	}
	n := g.master.Sequencer.Count()
	g.route.Session.Wrote(n)
	g.master.Sequencer.WakeUp()
	return n
}

// wrote is noted, and waits for as many replicas as were asked for.
func (g *Gate) wrote(ctx context.Context) error {
	n := g.noted()
	if g.config.WaitReplicas == 0 || g.master.Sequencer == nil {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, g.config.WaitTimeout)
	defer cancel()
	pos, err := g.master.Sequencer.Covers(limit, n)
	if err != nil {
		return g.master.Replicas.NotConfirmed(ctx, "the write is durable on the master but in no entry")
	}
	return g.master.Replicas.Confirmed(ctx, pos.LSN, g.config.WaitReplicas)
}

// conn takes a connection for one statement. It goes back by giveBack, with release.
func (p *pooledWrites) conn(ctx context.Context) (c write.Conn, release func() (killed bool), err error) {
	if c, err = p.gate.master.Conn(ctx); err != nil {
		return c, nil, err
	}
	if release, err = p.gate.killOn(ctx, p.gate.node.DB, c); err != nil {
		return c, nil, errors.Join(err, c.Close())
	}
	return c, release, nil
}

func (p *pooledWrites) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	c, release, err := p.conn(ctx)
	if err != nil {
		return nil, err
	}
	res, err := c.Exec(ctx, stmt.SQL, args)
	if err == nil {
		err = p.gate.leftOpen(ctx, c.Conn, stmt)
	}
	p.gate.giveBack(c.Conn, release, stmt) // nobody may miss it while this one waits
	if err != nil {
		p.gate.noted()
		return res, err
	}
	return res, p.gate.wrote(ctx)
}

func (p *pooledWrites) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	c, release, err := p.conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := streamRows(c.QueryContext(ctx, stmt.SQL, args...))
	if err != nil {
		p.gate.noted()
		return nil, errors.Join(err, p.gate.giveBack(c.Conn, release, stmt))
	}
	// The server commits the statement when it has sent the last row.
	rows.(*streamedRows).after = func() error {
		return errors.Join(p.gate.leftOpen(ctx, c.Conn, stmt), p.gate.giveBack(c.Conn, release, stmt), p.gate.wrote(ctx))
	}
	return rows, nil
}

func (p *pooledWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	c, err := p.gate.master.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := c.BeginTx(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &poolTx{conn: c.Conn, tx: tx, ctx: ctx, opts: opts, p: p}, nil
}

func (p *pooledWrites) own(ctx context.Context) (*sql.Conn, error) {
	c, err := p.gate.master.Conn(ctx)
	return c.Conn, err
}

func (p *pooledWrites) beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &poolTx{conn: conn, pinned: true, tx: tx, ctx: ctx, opts: opts, p: p}, nil
}

func (p *pooledWrites) schema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) (sql.Result, error) {
	return noResult{}, p.gate.changeSchema(ctx, on, stmt, args)
}

// poolTx is a transaction of pooledWrites.
type poolTx struct {
	conn *sql.Conn
	tx   *sql.Tx
	ctx  context.Context
	opts *sql.TxOptions
	p    *pooledWrites

	pinned bool // conn is the program's own
	left   bool // conn may hold temporary tables of the transaction, or settings
}

func (t *poolTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if stmt.IsSchema() {
		return t.schema(ctx, stmt, args)
	}
	t.left = t.left || stmt.Leaves()
	return t.tx.ExecContext(ctx, stmt.SQL, args...)
}

func (t *poolTx) query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error) {
	t.left = t.left || stmt.Leaves()
	return t.tx.QueryContext(ctx, stmt.SQL, args...)
}

func (t *poolTx) killable() (*sql.Tx, *sql.DB) { return t.tx, t.p.gate.main }

func (t *poolTx) commit() error {
	err := t.tx.Commit()
	t.leave() // nobody may miss it while this one waits for replicas
	if err != nil {
		t.p.gate.noted() // it may stand all the same
		return err
	}
	return t.p.gate.wrote(context.WithoutCancel(t.ctx))
}

func (t *poolTx) rollback() error {
	defer t.leave()
	return t.tx.Rollback()
}

// leave gives the connection back, unless its next user would meet what the transaction has left there.
func (t *poolTx) leave() {
	if t.pinned {
		return
	}
	if t.left {
		store.Drop(t.conn)
	}
	t.conn.Close()
}

// groupedWrites writes on a database with one writer.
type groupedWrites struct {
	gate   *Gate
	w      *write.Group
	wrote  func(ctx context.Context, pos journal.Position) error // after each commit
	change func(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) error
	// settle ships schema statements that a transaction has run, before its commit.
	settle func(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() journal.Position, error)
}

func (g *groupedWrites) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	res, pos, err := g.w.Exec(ctx, stmt.SQL, args)
	if err != nil {
		return nil, err
	}
	return res, g.wrote(ctx, pos)
}

func (g *groupedWrites) own(ctx context.Context) (*sql.Conn, error) { return g.gate.main.Conn(ctx) }

func (g *groupedWrites) beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	return g.gate.beginPinned(ctx, conn, opts)
}

func (g *groupedWrites) schema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) (sql.Result, error) {
	if on != nil {
		hidden, err := schema.Hides(ctx, g.w.Node, on, stmt.SQL)
		if err != nil {
			return nil, err
		}
		if hidden {
			return on.ExecContext(ctx, stmt.SQL, args...)
		}
		if g.settle != nil { // it will not be refused anyway, as elsewhere than on a master
			if err := schema.RefuseOpen(ctx, g.w.Node, on, stmt.SQL); err != nil {
				return nil, err
			}
		}
	}
	return noResult{}, g.change(ctx, on, stmt, args)
}

func (g *groupedWrites) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	return g.gate.queryAlone(ctx, stmt, args)
}

// queryAlone runs the statement in a transaction of its own. Its rows are read into memory
// before they are given out, so that a caller who writes while reading does not wait for itself.
func (g *Gate) queryAlone(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	t, err := g.writes.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	release := func() bool { return false }
	if tx, db := t.killable(); tx != nil {
		if release, err = g.killOn(ctx, db, tx); err != nil {
			return nil, errors.Join(err, t.rollback())
		}
	}
	var buffered driver.Rows
	if k, ok := t.(keyedTx); ok && g.keyed(stmt) {
		buffered, err = k.keyedRows(ctx, stmt, args, false)
	} else if rows, e := t.query(ctx, stmt, args); e == nil {
		buffered, err = bufferRows(rows)
	} else {
		err = e
	}
	if release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, t.rollback())
	}
	return buffered, t.commit()
}

func (g *groupedWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	t := &leaseTx{g: g, ctx: ctx, end: make(chan func(c *sql.Conn) error, 1), ended: make(chan error, 1)}
	ready := make(chan *sql.Conn, 1)
	finished := make(chan error, 1)
	t.tasks.Go(func() {
		finished <- g.w.With(ctx, func(c *sql.Conn) error {
			if err := g.w.Begin(ctx); err != nil {
				return err
			}
			ready <- c
			err := t.serve(c)
			t.ended <- err
			return err
		})
	})
	select {
	case t.conn = <-ready:
		return t, nil
	case err := <-finished:
		t.tasks.Wait()
		if err == nil {
			err = fault.ErrClosed
		}
		return nil, err
	}
}

// serve waits for the transaction's end. When the node closes, a transaction that does
// not end by itself soon is rolled back: nobody else may wait for it for ever.
func (t *leaseTx) serve(c *sql.Conn) error {
	select {
	case end := <-t.end:
		return end(c)
	case <-t.g.w.Closing:
	}
	patience := endTimeout
	if errors.Is(context.Cause(t.ctx), fault.ErrClosed) {
		patience = 0 // Close has waited for it before
	}
	grace := time.NewTimer(patience)
	defer grace.Stop()
	select {
	case end := <-t.end:
		return end(c)
	case <-grace.C:
		return errors.Join(fmt.Errorf("%w: the transaction was rolled back", fault.ErrClosed), t.g.w.Node.Rollback(c))
	}
}

// leaseTx is a transaction that has leased the write connection. Its goroutine, which
// lives as long as the transaction, is waited for by commit and rollback.
type leaseTx struct {
	g      *groupedWrites
	ctx    context.Context
	conn   *sql.Conn
	end    chan func(c *sql.Conn) error
	ended  chan error
	tasks  sync.WaitGroup
	schema []dialect.Statement
	dirty  bool
	over   bool
	lost   error // why the database has given the transaction up
}

// check notes that the database has given up the whole transaction (OR ROLLBACK, an interrupt, a
// COMMIT in a text): what followed would commit by itself, statement by statement.
func (t *leaseTx) check(err error) error {
	if t.lost == nil && !t.g.w.InTransaction() {
		t.lost = errors.Join(fmt.Errorf("%w: the database has ended the transaction; roll it back and begin again", sql.ErrTxDone), err)
	}
	return t.lost
}

func (t *leaseTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	if stmt.Temporary() {
		return nil, fmt.Errorf("%w: a temporary object would be one of all that write here; create it on a connection got from Cluster.Conn, and begin the transaction there", fault.ErrNotReplicable)
	}
	if stmt.IsSchema() && t.g.settle == nil {
		return nil, t.g.gate.notMaster(stmt)
	}
	if stmt.IsSchema() {
		if len(args) > 0 {
			return nil, fmt.Errorf("%w: a schema statement takes no arguments", fault.ErrNotReplicable)
		}
		s := dialect.Statement{SQL: stmt.SQL}
		if err := t.g.w.Node.Engine.Run(ctx, t.conn, &s); err != nil {
			return nil, err
		}
		t.schema = append(t.schema, s)
		return noResult{}, nil
	}
	if err := t.refuseState(stmt); err != nil {
		return nil, err
	}
	if stmt.EndsTx() {
		return nil, fmt.Errorf("%w: %s in a transaction; use its Commit or Rollback", fault.ErrNotReplicable, stmt)
	}
	t.dirty = true
	var res sql.Result
	var err error
	if number := t.g.w.Number(); number != 0 {
		res, err = keys.Exec(ctx, t.g.w.Node, t.conn, number, stmt.SQL, args)
	} else {
		res, err = t.conn.ExecContext(ctx, stmt.SQL, args...)
	}
	if err != nil || stmt.Kind == sqlclass.TxControl || stmt.Several() {
		if lost := t.check(err); lost != nil && err == nil {
			return nil, lost
		}
	}
	return res, err
}

// refuseState refuses what would change the connection that all write through. What ends with the transaction may be set.
func (t *leaseTx) refuseState(stmt *route.Statement) error {
	if state := stmt.State; state&sqlclass.Sets == 0 || state&sqlclass.Transient != 0 {
		return nil
	}
	return fmt.Errorf("%w: all that write here use the connection of the transaction: set it on a connection got from Cluster.Conn, and begin the transaction there: %s",
		fault.ErrNotReplicable, stmt)
}

func (t *leaseTx) query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	if err := t.refuseState(stmt); err != nil {
		return nil, err
	}
	rows, err := t.conn.QueryContext(ctx, stmt.SQL, args...)
	if err != nil {
		t.check(err)
	}
	return rows, err
}

// keyedRows is query for a statement that may insert rows and tell their keys. lasting is rowsKeyed's.
func (t *leaseTx) keyedRows(ctx context.Context, stmt *route.Statement, args []any, lasting bool) (driver.Rows, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	if err := t.refuseState(stmt); err != nil {
		return nil, err
	}
	w := t.g.w
	var tables []*dialect.Table
	if len(t.schema) == 0 {
		tables = w.Node.Tables.Load().Replicated()
	}
	rows, err := rowsKeyed(ctx, w.Node, t.conn, tables, w.Number(), stmt.SQL, args, lasting)
	if err != nil {
		t.check(err)
	}
	return rows, err
}

// killable returns nothing: the only writer is nobody's to kill.
func (t *leaseTx) killable() (*sql.Tx, *sql.DB) { return nil, nil }

func (t *leaseTx) commit() error {
	var pos journal.Position
	err := t.finish(func(c *sql.Conn) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), commitTimeout)
		defer cancel()
		committed := func() journal.Position { return journal.Position{} }
		err := t.check(nil)
		switch {
		case err != nil:
		case len(t.schema) > 0:
			committed, err = t.g.settle(ctx, c, t.schema)
		case t.g.w.Hooks.Commit != nil:
			if t.g.w.Hooks.Each != nil {
				err = t.g.w.Hooks.Each(ctx, c, dialect.Program{})
			}
			if err == nil {
				committed, err = t.g.w.Hooks.Commit(ctx, c)
			}
		}
		if err == nil {
			err = t.g.w.Node.Engine.Commit(ctx, c, dialect.Write)
		}
		if err != nil {
			return errors.Join(err, t.g.w.Node.Rollback(c))
		}
		pos = committed()
		return nil
	})
	if err != nil {
		return err
	}
	return t.g.wrote(context.WithoutCancel(t.ctx), pos)
}

func (t *leaseTx) rollback() error {
	return t.finish(func(c *sql.Conn) error { return t.g.w.Node.Rollback(c) })
}

func (t *leaseTx) finish(f func(c *sql.Conn) error) error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	t.end <- f
	t.tasks.Wait()
	return <-t.ended
}

// noResult is what a schema statement returns.
type noResult struct{}

func (noResult) LastInsertId() (int64, error) { return 0, nil }
func (noResult) RowsAffected() (int64, error) { return 0, nil }
