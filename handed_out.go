package ddb

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Keys that the master has handed out are not handed out again by a node that takes its place, also when their rows were
// gone before any entry showed them. An entry names every key that was used, if only as absent, and the dialect's Apply
// sees to the rest. Only a column that is in no key needs more: entries bring the counter of its table.

// counting is an engine whose tables have counters of their own, which rows that are gone have raised.
type counting interface {
	// NextKey returns the value that the table's AUTO_INCREMENT column has next.
	NextKey(ctx context.Context, q dialect.Querier, t *dialect.Table) (uint64, error)
	// Remember notes, in q's transaction, that the values up to highest have been handed out.
	Remember(ctx context.Context, q dialect.Querier, t *dialect.Table, highest uint64) error
	// RaiseCounters makes the tables' counters know what was noted. It ends a transaction that q is in.
	RaiseCounters(ctx context.Context, q dialect.Querier) error
}

// hidesKeys reports whether entries, which name rows by their keys, do not tell which values the table has handed out.
func hidesKeys(t *dialect.Table) bool {
	column := keys.AutoIncrement(t)
	for _, k := range t.Key {
		if t.Stored[k] == column {
			return false
		}
	}
	return column != ""
}

// addCounters adds the counters of tables, asked for after the snapshot of their rows was opened: none of these has a higher value.
func (s *sequencer) addCounters(ctx context.Context, q dialect.Querier, b *journal.Entry, noted []*dialect.Table, x *extra) error {
	e, ok := s.node.Engine.(counting)
	if !ok {
		return nil
	}
	tables := noted
	all := x != nil && x.counters
	if all {
		tables = s.node.Tables.Load().Replicated()
	}
	for _, t := range tables {
		if !hidesKeys(t) && !(all && keys.AutoIncrement(t) != "") {
			continue
		}
		next, err := e.NextKey(ctx, q, t)
		if err != nil {
			return fmt.Errorf("ddb: pass: read table %s: %w", t.Name, err)
		}
		b.Change(t).Next = next
	}
	return nil
}

// rememberNext notes what the change says of the table's counter, in the transaction of its rows.
func (a *applier) rememberNext(ctx context.Context, t *dialect.Table, c *Change) error {
	e, ok := a.node.Engine.(counting)
	if !ok || c.Next < 2 {
		return nil
	}
	if err := e.Remember(ctx, a.conn, t, c.Next-1); err != nil {
		return fmt.Errorf("ddb: node %s: apply: %w", a.node.ID, err)
	}
	return nil
}

// settleCounters is raiseCounters for a database that ddb is about to leave.
func settleCounters(ctx context.Context, n *store.Store) error {
	c, err := n.Engine.Conn(ctx, dialect.Pass)
	if err != nil {
		return fmt.Errorf("ddb: node %s: %w", n.ID, err)
	}
	defer n.Engine.Release(c)
	return raiseCountersOf(ctx, n, c)
}

// raiseCounters is RaiseCounters where there is something to raise.
func raiseCountersOf(ctx context.Context, n *store.Store, q dialect.Querier) error {
	e, ok := n.Engine.(counting)
	if !ok {
		return nil
	}
	if err := e.RaiseCounters(ctx, q); err != nil {
		return fmt.Errorf("ddb: node %s: %w", n.ID, err)
	}
	return nil
}
