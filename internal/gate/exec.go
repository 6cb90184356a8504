package gate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/remedy"
)

// exec runs a statement on whatever connection is free.
func (g *Gate) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if g.closed.Load() {
		return nil, fault.ErrClosed
	}
	if stmt.Blank {
		return noResult{}, nil
	}
	if err := g.refuseHidden(stmt); err != nil {
		return nil, err
	}
	if err := g.refuseDoubt(ctx, stmt, g.main.QueryContext); err != nil {
		return nil, err
	}
	return g.run(ctx, stmt, args)
}

// run is exec for a statement that refuseHidden and refuseDoubt have let pass.
func (g *Gate) run(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if g.closed.Load() {
		return nil, fault.ErrClosed
	}
	switch stmt.Kind {
	case sqlclass.Schema:
		if stmt.Temporary() {
			return nil, fmt.Errorf("%w: a temporary object belongs to one connection; create it on one got from Cluster.Conn", fault.ErrNotReplicable)
		}
		g.changes.Add(1)
		return g.writes.schema(ctx, nil, stmt, args)
	case sqlclass.TxControl:
		return nil, remedy.New(fault.ErrNotReplicable, stmt.String()+" on a pool of connections has no effect one can rely on", useBegin,
			remedy.Remedy{Action: remedy.OwnConn, Text: "use a connection got from Cluster.Conn"})
	}
	if err := g.refuseState(stmt); err != nil {
		return nil, err
	}
	switch stmt.Kind {
	case sqlclass.Write:
		if err := g.refuseForeignLast(stmt); err != nil {
			return nil, err
		}
		g.changes.Add(1)
		if stmt.Several() {
			return g.execSeveral(ctx, stmt, args)
		}
		return g.writes.exec(ctx, stmt, args)
	case sqlclass.Other, sqlclass.Session:
		return g.main.ExecContext(ctx, stmt.SQL, args...)
	}
	return g.writes.exec(ctx, stmt, args)
}

// useBegin is what keeps a transaction open.
var useBegin = remedy.Remedy{Action: remedy.Begin, Text: "use Begin"}

// refuseHidden refuses, before any of it runs, a text that holds a schema statement elsewhere than on the master, and what
// would change a snap's schema unseen: what a statement prepares or a compound one holds is known to the server only. Every
// statement but a plain read comes by here, so it is also where those on ddb's own tables end.
func (g *Gate) refuseHidden(stmt *route.Statement) error {
	if err := stmt.RefuseOwn(); err != nil {
		return err
	}
	if err := stmt.Unread; err != nil {
		return fmt.Errorf("%w: some of it would be run, and nobody knows what; end what is open, or leave it out: %w: %s", fault.ErrNotReplicable, err, stmt)
	}
	switch {
	case g.node == nil || g.config.Role == health.Master:
	case g.config.Role == health.Snap && stmt.Dynamic():
		return fmt.Errorf("%w: a snap runs no prepared or compound statement in SQL, which may change the schema; send its statements one by one: %s",
			fault.ErrNotReplicable, stmt)
	case stmt.HidesSchema():
		return g.notMaster(stmt)
	}
	return nil
}

// execSeveral runs a text of several statements. Those that change the schema must be
// run one by one, so that each becomes an entry of its own.
func (g *Gate) execSeveral(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	list, err := stmt.Parts()
	if err != nil {
		return g.writes.exec(ctx, stmt, args) // the database words it better
	}
	schema := slices.ContainsFunc(list, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.Schema })
	for _, s := range list {
		if s.Kind == sqlclass.TxControl && (g.texts.Class == sqlclass.SQLite || schema) {
			// It would end the transaction that ddb has put around the statements, and of others with them.
			return nil, remedy.New(fault.ErrNotReplicable, sqlclass.Brief(s.SQL)+" among several statements", useBegin)
		}
	}
	if !schema {
		return g.writes.exec(ctx, stmt, args)
	}
	return g.oneByOne(stmt, args, amongSchema, func(s *route.Statement) (sql.Result, error) { return g.exec(ctx, s, nil) })
}

// amongSchema is why several statements with arguments are refused: each that changes the schema becomes an entry of its own.
const amongSchema = "several statements with a schema statement among them take no arguments"

// oneByOne runs the statements of a text that cannot be run as one. refusal is said if it has arguments.
func (g *Gate) oneByOne(stmt *route.Statement, args []any, refusal string, exec func(*route.Statement) (sql.Result, error)) (sql.Result, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("%w: %s", fault.ErrNotReplicable, refusal)
	}
	list, err := stmt.Parts()
	if err != nil {
		return nil, err
	}
	var res sql.Result = noResult{}
	for i, s := range list {
		if res, err = exec(g.texts.Read(s.SQL)); err != nil {
			return nil, fmt.Errorf("statement %d of %d: %w", i+1, len(list), err)
		}
	}
	return res, nil
}

// beginRead opens a read-only transaction on one node.
func (g *Gate) beginRead(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	rule := route.RuleOf(ctx)
	m, err := g.route.Choose(rule, nil)
	if err != nil {
		return nil, err
	}
	begin := func(m *route.Member) (*sql.Tx, error) {
		if g.texts.Class == sqlclass.SQLite && (m.Local || g.node == nil) {
			return m.DB.BeginTx(ctx, nil) // its driver knows no options; plainTx keeps the promise
		}
		return m.DB.BeginTx(ctx, opts)
	}
	m.Reads.Add(1)
	tx, err := begin(m)
	if err != nil && g.route.NodeFailed(err) && rule.Node == "" {
		g.route.Failed(m, err)
		if m, err = g.route.Choose(rule, m); err == nil {
			tx, err = begin(m)
		}
	}
	if err != nil {
		return nil, err
	}
	t := &plainTx{gate: g, tx: tx, readOnly: true, on: m, begin: begin}
	if m.Local || g.node == nil {
		t.db = m.DB
	}
	return t, nil
}

// explain adds the node and the way out to an error of a database that has none.
func (g *Gate) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, fault.ErrDiskFull):
		return err
	case g.fault(err).Is(dialect.KeysUsedUp) && g.number() != 0:
		return fmt.Errorf("node %s has used up its keys of an AUTO_INCREMENT column, one in %d of those of its type: give it a larger type, or new rows keys of your own: %w", g.config.ID, keys.Step, err)
	case !g.fault(err).Is(dialect.Full):
		return err
	}
	return fmt.Errorf("%w: node %s: make room where its database is, and write again: %w", fault.ErrDiskFull, g.config.ID, err)
}
