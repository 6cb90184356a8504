package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// keyNumber is the writer's hook of a snap.
func (s *snapSide) keyNumber() int64 { return s.numberOfNode.Load() }

// keyNumber is the writer's hook of a master.
func (m *master) keyNumber() int64 {
	if !m.seq.SharesKeys() {
		return 0
	}
	return keys.FirstSnap - 1
}

// keyNumber returns the number of this node if its triggers move rows, or 0.
func (c *Cluster) keyNumber() int64 {
	switch {
	case c.texts.Class != sqlclass.SQLite || c.node == nil:
		return 0
	case c.m != nil:
		return c.m.keyNumber()
	case c.snap != nil:
		return c.snap.keyNumber()
	}
	return 0
}

// keyed reports whether a statement may insert rows that this node's triggers move.
func (c *Cluster) keyed(query string) bool {
	return c.keyNumber() != 0 && c.texts.Kind(query) == sqlclass.Write && sqlclass.HasInsert(query)
}

// keyedTx is a transaction that puts the keys right that rows tell.
type keyedTx interface {
	keyedRows(ctx context.Context, query string, args []any, lasting bool) (driver.Rows, error)
}

// execPinned runs a statement on a connection of the program's own, or in a transaction there, which conn is then: once that
// is over, what the connection is given would commit by itself.
func (c *Cluster) execPinned(ctx context.Context, conn dialect.Querier, query string, args []any) (r sql.Result, err error) {
	keyed := c.keyed(query)
	if keyed && c.texts.SpansTx(query) {
		return c.oneByOne(query, args, keys.AmongTx, func(s string) (sql.Result, error) { return c.execPinned(ctx, conn, s, nil) })
	}
	if keyed {
		hidden, err := keys.HidesInsert(ctx, c.node, conn, query)
		if err != nil {
			return nil, err
		}
		keyed = !hidden
	}
	if !keyed {
		return conn.ExecContext(ctx, query, args...)
	}
	err = keys.PinnedRun(ctx, c.node, conn, query, func() error {
		r, err = keys.Exec(ctx, c.node, conn, c.keyNumber(), query, args)
		return err
	})
	return r, err
}

// rowsPinned is execPinned for a statement whose rows are asked for.
func (c *Cluster) rowsPinned(ctx context.Context, conn dialect.Querier, query string, args []any) (rows driver.Rows, err error) {
	hidden, err := keys.HidesInsert(ctx, c.node, conn, query)
	if err != nil {
		return nil, err
	}
	if hidden {
		return bufferQuery(ctx, conn, query, args)
	}
	err = keys.PinnedRun(ctx, c.node, conn, query, func() error {
		rows, err = rowsKeyed(ctx, c.node, conn, c.node.Tables.Load().Replicated(), c.keyNumber(), query, args, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// installKeys makes the snap's tables hand out its own keys.
func (s *snapSide) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	return keys.Install(ctx, s.node, q, tables, s.numberOfNode.Load())
}

// sharesKeys reports whether this node hands out one part of the keys.
func (c *Cluster) sharesKeys() bool {
	return c.m != nil && c.m.seq.SharesKeys() || c.snap != nil && c.snap.keyNumber() != 0
}
