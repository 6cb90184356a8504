package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
)

type killKey struct{}

// WithKill returns a context whose end also ends the statement inside a server, by a KILL on another connection.
func WithKill(ctx context.Context) context.Context { return context.WithValue(ctx, killKey{}, true) }

// ended says that ctx has ended, where the server was quicker to end the connection by a KILL than the driver to notice.
func ended(ctx context.Context, err error) error {
	if err == nil || !wantsKill(ctx) || ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return errors.Join(ctx.Err(), err)
}

func wantsKill(ctx context.Context) bool { return ctx.Value(killKey{}) != nil }

// killOn prepares a KILL for the statement that is to run on q if ctx asks for it. release is never nil
// without an error.
func (g *Gate) killOn(ctx context.Context, db *sql.DB, q dialect.Querier) (release func() (killed bool), err error) {
	if !g.kills(ctx, db) {
		return func() bool { return false }, nil
	}
	id, err := g.killer.ConnectionID(ctx, q)
	if err != nil {
		return nil, err
	}
	return g.killer.Kill(ctx, db, id), nil
}

// kills reports whether a statement on db is to be killed from here. A remote node does so by itself.
func (g *Gate) kills(ctx context.Context, db *sql.DB) bool {
	remote := db != nil && db == g.remote
	return g.killer != nil && ctx.Done() != nil && wantsKill(ctx) && !remote
}

// giveBack is the function giveBack for a connection on which the statement has run. It is dropped if that may have left it another.
func (g *Gate) giveBack(conn *sql.Conn, release func() bool, stmt *route.Statement) error {
	if stmt.Leaves() {
		defer store.Drop(conn)
		release()
		return nil
	}
	return giveBack(conn, release)
}

// giveBack ends what killOn has begun on a connection of a pool, and returns the connection.
func giveBack(c *sql.Conn, release func() bool) error {
	if release() {
		store.Drop(c) // the next user must not meet the KILL
		return nil
	}
	return c.Close()
}

// readGuarded is read for a context that asks for a KILL or limits the answer, if the node's database is this process's own. ok is false for
// other reads, which are read's.
func (g *Gate) readGuarded(ctx context.Context, query string, args []any) (rows driver.Rows, ok bool, err error) {
	if !g.guards(ctx) {
		return nil, false, nil
	}
	m, err := g.route.Choose(route.RuleOf(ctx), nil)
	if err != nil {
		return nil, true, err
	}
	if !m.Local && g.node != nil {
		return nil, false, nil
	}
	conn, err := m.DB.Conn(ctx)
	if err != nil {
		return nil, true, err
	}
	release, err := g.guardOn(ctx, m.DB, conn, query)
	if err != nil {
		return nil, true, errors.Join(err, conn.Close())
	}
	m.Reads.Add(1)
	route.Answered(ctx, m.ID)
	rows, err = streamRows(conn.QueryContext(ctx, query, args...))
	if err != nil {
		err = errors.Join(err, giveBack(conn, release))
		if !m.Local && ctx.Err() == nil && g.route.NodeFailed(err) {
			g.route.Failed(m, err)
			return nil, false, nil
		}
		if ctx.Err() == nil && route.RuleOf(ctx).Node == "" && g.route.Knows(m, err) != nil {
			return nil, false, nil
		}
		return nil, true, err
	}
	rows.(*streamedRows).ctx, rows.(*streamedRows).after = ctx, func() error { return giveBack(conn, release) }
	return rows, true, nil
}

// bound is what a routed connection is bound to, with the server's number of the connection below.
type bound struct {
	to dialect.Querier
	id uint64
}

// killBound is killOn for the transaction or connection that a routed connection is bound to. It asks for the number
// only once, so that statements still see what the one before has left. Whatever is killed is lost to its
// owner, and to nobody else.
func (rc *routedConn) killBound(ctx context.Context) (release func() bool, err error) {
	var to dialect.Querier
	var db *sql.DB
	switch {
	case rc.tx != nil:
		var tx *sql.Tx
		if tx, db = rc.tx.killable(); tx != nil {
			to = tx
		}
	case rc.pinned != nil:
		to, db = rc.pinned, rc.gate.main
	}
	if to == nil || !rc.gate.kills(ctx, db) {
		return func() bool { return false }, nil
	}
	if rc.bound.to != to {
		id, err := rc.gate.killer.ConnectionID(ctx, to)
		if err != nil {
			return nil, err
		}
		rc.bound = bound{to, id}
	}
	return rc.gate.killer.Kill(ctx, db, rc.bound.id), nil
}

// boundRows runs a query on what the routed connection is bound to.
func (rc *routedConn) boundRows(ctx context.Context, query func() (*sql.Rows, error)) (driver.Rows, error) {
	release, err := rc.killBound(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := streamRows(query())
	if err != nil {
		release()
		return nil, err
	}
	rows.(*streamedRows).ctx, rows.(*streamedRows).after = ctx, func() error { release(); return nil }
	return rows, nil
}

// PassGuards carries what a context asks for to the node that answers.
func PassGuards(ctx context.Context) remote.Header {
	return remote.Header{Kill: wantsKill(ctx), MaxBytes: maxBytesOf(ctx)}
}

// takeGuards asks on this node for what the context of the one that sent the statement asked for.
func takeGuards(ctx context.Context, h remote.Header) context.Context {
	if h.Kill {
		ctx = WithKill(ctx)
	}
	return WithMaxBytes(ctx, h.MaxBytes)
}

// GuardLocal is the guard by which a follower heeds what [PassGuards] has carried to it, for a statement on its own database.
func (g *Gate) GuardLocal(ctx context.Context, h remote.Header, query string, conn *sql.Conn) (context.Context, func() bool, error) {
	ctx, limit := g.limitAnswer(takeGuards(ctx, h))
	release, err := g.guardOn(ctx, g.node.DB, conn, query)
	if err != nil {
		limit.end()
		return nil, nil, err
	}
	return ctx, func() bool { defer limit.end(); return release() }, nil
}

// GuardRouted is the guard by which a master heeds what [PassGuards] has carried to it: the statements run on its Cluster, which
// does the rest.
func GuardRouted(ctx context.Context, h remote.Header, _ string, _ *sql.Conn) (context.Context, func() bool, error) {
	return takeGuards(ctx, h), func() bool { return false }, nil
}
