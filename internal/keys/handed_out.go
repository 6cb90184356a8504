package keys

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
)

// Keys that the master has handed out are not handed out again by a node that takes its place, also when their rows were
// gone before any entry showed them. An entry names every key that was used, if only as absent, and the dialect's Apply
// sees to the rest. Only a column that is in no key needs more: entries bring the counter of its table.

// Hidden reports whether entries, which name rows by their keys, do not tell which values the table has handed out.
func Hidden(t *dialect.Table) bool {
	column := AutoIncrement(t)
	for _, k := range t.Key {
		if t.Stored[k] == column {
			return false
		}
	}
	return column != ""
}

// RememberNext notes, in q's transaction, that the table has handed out the values below next, where its engine counts
// them. A next below 2 says nothing.
func RememberNext(ctx context.Context, n *store.Store, q dialect.Querier, t *dialect.Table, next uint64) error {
	e, ok := n.Engine.(dialect.CounterKeeper)
	if !ok || next < 2 {
		return nil
	}
	if err := e.Remember(ctx, q, t, next-1); err != nil {
		return fmt.Errorf("node %s: apply: %w", n.ID, err)
	}
	return nil
}

// RaiseCounters makes the tables' counters know what was noted, where their engine counts. It ends a transaction that q is in.
func RaiseCounters(ctx context.Context, n *store.Store, q dialect.Querier) error {
	e, ok := n.Engine.(dialect.CounterKeeper)
	if !ok {
		return nil
	}
	if err := e.RaiseCounters(ctx, q); err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	return nil
}

// SettleCounters is RaiseCounters, on a connection of its own, for a database that ddb is about to leave.
func SettleCounters(ctx context.Context, n *store.Store) error {
	c, err := n.Engine.Conn(ctx, dialect.Pass)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	defer n.Engine.Release(c)
	return RaiseCounters(ctx, n, c)
}
