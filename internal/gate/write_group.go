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
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

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
