package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// keyed reports whether a statement may insert rows that this node's triggers move.
func (g *Gate) keyed(stmt *route.Statement) bool {
	return g.keyNumber() != 0 && stmt.Kind == sqlclass.Write && stmt.HasInsert()
}

// keyedTx is a transaction that puts the keys right that rows tell.
type keyedTx interface {
	keyedRows(ctx context.Context, stmt *route.Statement, args []any, lasting bool) (driver.Rows, error)
}

// execPinned runs a statement on a connection of the program's own, or in a transaction there, which conn is then: once that
// is over, what the connection is given would commit by itself.
func (g *Gate) execPinned(ctx context.Context, conn dialect.Querier, stmt *route.Statement, args []any) (r sql.Result, err error) {
	keyed := g.keyed(stmt)
	if keyed && stmt.SpansTx() {
		return g.oneByOne(stmt, args, keys.AmongTx, func(s *route.Statement) (sql.Result, error) { return g.execPinned(ctx, conn, s, nil) })
	}
	if keyed {
		hidden, err := keys.HidesInsert(ctx, g.node, conn, stmt.SQL)
		if err != nil {
			return nil, err
		}
		keyed = !hidden
	}
	if !keyed {
		return conn.ExecContext(ctx, stmt.SQL, args...)
	}
	err = keys.PinnedRun(ctx, g.node, conn, stmt.SQL, func() error {
		r, err = keys.Exec(ctx, g.node, conn, g.keyNumber(), stmt.SQL, args)
		return err
	})
	return r, err
}

// rowsPinned is execPinned for a statement whose rows are asked for.
func (g *Gate) rowsPinned(ctx context.Context, conn dialect.Querier, stmt *route.Statement, args []any) (rows driver.Rows, err error) {
	hidden, err := keys.HidesInsert(ctx, g.node, conn, stmt.SQL)
	if err != nil {
		return nil, err
	}
	if hidden {
		return bufferQuery(ctx, conn, stmt.SQL, args)
	}
	err = keys.PinnedRun(ctx, g.node, conn, stmt.SQL, func() error {
		rows, err = rowsKeyed(ctx, g.node, conn, g.node.Tables.Load().Replicated(), g.keyNumber(), stmt.SQL, args, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}
