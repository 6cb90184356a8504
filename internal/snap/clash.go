package snap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// Where a row of the master and a pending local one want the same unique value, the master's gets
// it: the local change is bound to be refused. Until then its row shows as the master has it, for a row that is
// just missing would let later local transactions be made by half.

// loosely applies rows of entries that may clash with pending ones.
func (s *Snap) loosely(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	if len(rows) == 0 {
		return nil
	}
	err := store.Savepoint(ctx, c, "ddb_loose", func() error { return s.node.Engine.Apply(ctx, c, t, rows, mode) })
	if err == nil && mode == dialect.Strict || err != nil && !s.node.Refusable(err) {
		return err
	}
	if err != nil {
		err = s.node.Engine.Apply(ctx, c, t, rows, dialect.Replace)
	}
	if err != nil {
		return err
	}
	if s.queue.waiting() > putBackMost && mode == dialect.Replace {
		return nil // many rows follow soon, and to look after each of them would take too long
	}
	return s.putBack(ctx, c, t)
}

// putBackMost is how many batches may wait where rows are looked for that nobody knows to be missing.
const putBackMost = 10_000

// show applies rows as far as nothing that is there stands in their way.
func (s *Snap) show(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row) error {
	err := store.Savepoint(ctx, c, "ddb_show", func() error { return s.node.Engine.Apply(ctx, c, t, rows, dialect.Strict) })
	if err == nil || !s.node.Refusable(err) || len(rows) == 1 {
		if err != nil && s.node.Refusable(err) {
			s.node.Log.Warn("a pending change does not show until it is exchanged", "table", s.node.Name(t), "error", err)
			return nil
		}
		return err
	}
	return errors.Join(s.show(ctx, c, t, rows[:len(rows)/2]), s.show(ctx, c, t, rows[len(rows)/2:]))
}

// putBack looks for rows that are pending but have been removed, and shows them as the master has them.
func (s *Snap) putBack(ctx context.Context, c *sql.Conn, t *dialect.Table) error {
	first, order, err := s.pendingRows(ctx, c, t)
	if err != nil || len(order) == 0 {
		return err
	}
	keys := make([][]any, 0, len(order))
	for _, key := range order {
		if first[key].Values != nil {
			keys = append(keys, first[key].Key)
		}
	}
	there := make(map[string]bool)
	var buf []byte
	err = s.node.Engine.Lookup(ctx, c, t, keys, func(r dialect.Row) error {
		buf = wire.AppendRow(buf[:0], r.Key)
		there[string(buf)] = r.Values != nil
		return nil
	})
	if err != nil {
		return err
	}
	var missing []dialect.Row
	for _, key := range order {
		r := first[key]
		master := s.masters(t, key, r)
		if !there[key] && r.Values != nil && master != nil {
			missing = append(missing, dialect.Row{Key: r.Key, Values: master})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return s.show(ctx, c, t, missing)
}

// schemaRuns puts the master's rows in the place of pending ones in the tables that the statements name: it is those
// that the statements have been run on, and local changes may stand in their way. What is still pending of a table
// that keeps its name and columns is shown again after it (Restored); the rest is bound to be refused.
func (st *stay) schemaRuns(ctx context.Context, c *sql.Conn, statements []dialect.Statement) error {
	s := st.s
	s.halfway.Store(!s.node.Engine.Transactional())
	if s.empty.Load() || s.queue.waiting() == 0 && len(st.change.made) == 0 {
		return nil
	}
	if err := s.recall(ctx, c); err != nil {
		return err
	}
	for _, t := range s.node.Tables.Load().Replicated() {
		if t.Own || !mentioned(t.Name, statements) {
			continue
		}
		st.mentioned = append(st.mentioned, s.node.Name(t))
		pending, order, err := s.pendingRows(ctx, c, t)
		if err != nil {
			return err
		}
		rows := make([]dialect.Row, 0, len(order))
		for _, key := range order {
			rows = append(rows, dialect.Row{Key: pending[key].Key, Values: s.masters(t, key, pending[key])})
		}
		if len(rows) == 0 {
			continue
		}
		if err := s.node.Engine.Apply(ctx, c, t, rows, dialect.Replace); err != nil {
			return fmt.Errorf("node %s: take pending changes of table %s back: %w", s.node.ID, s.node.Name(t), err)
		}
	}
	return nil
}

// pendingRows returns the pending rows of a table by key: as they were before the first pending batch, and
// as they are after the last.
func (s *Snap) pendingRows(ctx context.Context, c *sql.Conn, t *dialect.Table) (rows map[string]dialect.Row, order []string, err error) {
	list, err := c.QueryContext(ctx, "SELECT payload FROM "+s.queue.table+" ORDER BY id")
	if err != nil {
		return nil, nil, fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	defer list.Close()
	rows = make(map[string]dialect.Row)
	name := s.node.Name(t)
	var buf []byte
	for list.Next() {
		var payload []byte
		if err := list.Scan(&payload); err != nil {
			return nil, nil, err
		}
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if err != nil {
			return nil, nil, err
		}
		for _, change := range b.Changes {
			same := journal.Change{Table: change.Table, Columns: change.Columns, Key: change.Key}
			if (journal.TableName{Database: change.Database, Table: change.Table}) != name || same.SameColumns(t) != nil {
				continue
			}
			err := change.Each(func(r dialect.Row) error {
				buf = wire.AppendRow(buf[:0], r.Key)
				if was, ok := rows[string(buf)]; ok {
					r.Base = was.Base
				} else {
					order = append(order, string(buf))
				}
				rows[string(buf)] = r
				return nil
			})
			if err != nil {
				return nil, nil, err
			}
		}
	}
	return rows, order, list.Err()
}
