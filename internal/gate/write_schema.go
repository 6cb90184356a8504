package gate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
)

// changeSchema runs a schema statement on the master: on the program's connection on, or if that is nil on any. Like a
// write it is seen by the reads of this process from then on, and waits for as many replicas as were asked for.
func (g *Gate) changeSchema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) error {
	err := g.master.Schema.RunSchema(ctx, on, stmt.SQL, args)
	pos := g.master.Sequencer.End()
	g.route.Session.Sees(uint64(pos.LSN)) // part of it may stand even after an error
	if err != nil || g.config.WaitReplicas == 0 {
		return err
	}
	return g.master.Replicas.Confirmed(ctx, pos.LSN, g.config.WaitReplicas)
}

// schema runs a schema statement on a transaction's connection as the server would: what it can read it commits the
// transaction for, before and after; what it cannot read leaves the transaction open.
func (t *poolTx) schema(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	m := t.p.gate.master.Schema
	if stmt.Temporary() {
		return t.inPlace(ctx, stmt, args)
	}
	if err := m.PlainSchema(ctx, stmt.SQL, args); err != nil {
		return nil, err
	}
	if err := m.InReplicated(ctx, t.conn, stmt.SQL); err != nil {
		return nil, err
	}
	if info, err := stmt.Schema(); err == nil {
		if err := t.p.gate.node.RefuseDatabase(info); err != nil {
			return nil, err
		}
	}
	prepared, err := t.conn.PrepareContext(ctx, stmt.SQL)
	if err != nil && !t.p.gate.fault(err).Is(dialect.Unpreparable) {
		return t.inPlace(ctx, stmt, nil)
	}
	if err == nil {
		prepared.Close()
	}
	if err := t.tx.Commit(); err != nil {
		t.p.gate.noted() // it may stand all the same
		return nil, err
	}
	if err = t.p.gate.wrote(context.WithoutCancel(t.ctx)); err == nil {
		err = t.p.gate.changeSchema(ctx, t.conn, stmt, nil)
		if errors.Is(err, fault.ErrNotReplicable) {
			err = fmt.Errorf("%w; what the transaction had done before it stands, as the server commits at a schema statement", err)
		}
	}
	return noResult{}, errors.Join(err, t.again())
}

// inPlace runs a statement of which only the server can tell whether it commits the transaction: a savepoint is gone then.
func (t *poolTx) inPlace(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	const savepoint = "SAVEPOINT ddb_schema"
	if _, err := t.tx.ExecContext(ctx, savepoint); err != nil {
		return nil, err
	}
	t.left = true
	res, err := t.tx.ExecContext(ctx, stmt.SQL, args...)
	if _, gone := t.tx.ExecContext(context.WithoutCancel(ctx), "RELEASE "+savepoint); gone == nil {
		return res, err
	}
	if e := t.tx.Commit(); e != nil {
		t.p.gate.noted()
		return res, errors.Join(err, e)
	}
	err = errors.Join(err, t.p.gate.wrote(context.WithoutCancel(t.ctx)))
	if err == nil {
		err = t.p.gate.master.Sequencer.LookAgain(ctx) // it may have changed what it seemed not to be able to
	}
	return res, errors.Join(err, t.again())
}

// again begins the transaction that follows one that a schema statement has committed.
func (t *poolTx) again() error {
	tx, err := t.conn.BeginTx(t.ctx, t.opts)
	if err == nil {
		t.tx = tx
	}
	return err
}
