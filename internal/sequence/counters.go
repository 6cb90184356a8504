package sequence

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/journal"
)

// addCounters adds the counters of tables, asked for after the snapshot of their rows was opened: none of these has a higher value.
func (turn *Turn) addCounters(ctx context.Context, b *journal.Entry, noted []*dialect.Table, x *extra) error {
	e, ok := turn.node.Engine.(dialect.CounterKeeper)
	if !ok {
		return nil
	}
	tables := noted
	all := x != nil && x.counters
	if all {
		tables = turn.node.Tables.Load().Replicated()
	}
	for _, t := range tables {
		if !keys.Hidden(t) && !(all && keys.AutoIncrement(t) != "") {
			continue
		}
		next, err := e.NextKey(ctx, turn.quick(), t)
		if err != nil {
			return fmt.Errorf("pass: read table %s: %w", t.Name, err)
		}
		b.Change(t).Next = next
	}
	return nil
}
