package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
)

// pooledWrites writes on a master whose database has many writers. The sequencer finds
// what was written by its notes.
type pooledWrites struct {
	gate *Gate
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
