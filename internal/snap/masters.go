package snap

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// What the master has of rows that are pending shows when their batch is settled: it touches every row, refused or
// not. Only schema statements need it before, and in a table that is renamed no touch comes for it any more.

// masters returns the row as the master has it, as far as that is known; nil if it has none.
func (s *Snap) masters(t *dialect.Table, key string, pending dialect.Row) []any {
	master, known := s.queue.master(s.node.Name(t), key)
	if known && (master == nil || len(master) == len(t.Stored)) {
		return master
	}
	return pending.Base
}

// mentioned reports whether one of the statements may be about a table of the name.
func mentioned(name string, statements []dialect.Statement) bool {
	return slices.ContainsFunc(statements, func(st dialect.Statement) bool {
		return strings.ContainsAny(name, "\"'`]") || strings.Contains(strings.ToLower(st.SQL), strings.ToLower(name))
	})
}

// afresh notes what schema statements have made of the master's rows, which schemaRuns had put in the place of
// pending ones. The entry's own rows, of a table that is made anew, are yet to come.
func (st *stay) afresh(ctx context.Context, c *sql.Conn) error {
	s := st.s
	cat := s.node.Tables.Load()
	for _, name := range st.mentioned {
		now := make(map[string][]any)
		if t := cat.ByName[name]; t != nil && t.Refusal == "" {
			pending, order, err := s.pendingRows(ctx, c, t)
			if err != nil {
				return err
			}
			keys := make([][]any, len(order))
			for i, key := range order {
				keys[i] = pending[key].Key
			}
			n := 0
			err = s.node.Engine.Lookup(ctx, c, t, keys, func(r dialect.Row) error {
				now[order[n]] = journal.CloneValues(r.Values)
				n++
				return nil
			})
			if err != nil {
				return fmt.Errorf("node %s: read table %s: %w", s.node.ID, s.node.Name(t), err)
			}
		}
		s.queue.withhold(&st.change, name, now)
	}
	return nil
}

// recallBytes is how much of the journal recall reads at a time.
const recallBytes = 4 << 20

// recall reads in the journal what the master has of rows that another process has left pending.
func (s *Snap) recall(ctx context.Context, c *sql.Conn) error {
	if s.found == 0 {
		return nil
	}
	var left int64
	if err := dialect.ScanOne(ctx, c, []any{&left}, "SELECT COUNT(*) FROM "+s.queue.table+" WHERE id <= ?", s.found); err != nil {
		return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	first, _, err := s.node.Journal.Bounds(ctx)
	if err != nil {
		return err
	}
	states := make(map[journal.TableName]map[string][]any)
	for at, index := first.LSN, -1; left > 0; {
		parts, err := s.node.Journal.Read(ctx, at, index, recallBytes)
		if err != nil {
			return err
		}
		if len(parts) == 0 {
			break
		}
		for i := range parts {
			if err := s.queue.recallPart(&parts[i], states); err != nil {
				return err
			}
			at, index = parts[i].LSN, parts[i].Index
		}
	}
	s.queue.recalled(states)
	s.found = 0
	return nil
}

// recallPart adds to states what a part of the journal says of pending rows.
func (u *queue) recallPart(p *journal.Part, states map[journal.TableName]map[string][]any) error {
	if p.Anchor() {
		return nil
	}
	b, err := journal.Decode(p)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range b.Schema {
		u.recallSchema(&b.Schema[i], states)
	}
	cat := u.node.Tables.Load()
	for _, c := range b.Changes {
		name := journal.TableName{Database: c.Database, Table: c.Table}
		t, pending := cat.ByName[name], u.keys[name]
		if t == nil || len(pending) == 0 || c.SameColumns(t) != nil {
			continue
		}
		if states[name] == nil {
			states[name] = make(map[string][]any)
		}
		err := c.Each(func(r dialect.Row) error {
			if key := wire.AppendRow(nil, r.Key); pending[string(key)] != 0 {
				states[name][string(key)] = journal.CloneValues(r.Values)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recallSchema adds to states what a schema statement says of pending rows: a table that has been made or emptied holds
// what has come since, and of one that had another name nothing is known.
func (u *queue) recallSchema(st *dialect.Statement, states map[journal.TableName]map[string][]any) {
	info, err := sqlclass.ParseSchema(u.node.Dialect.Language(), st.SQL)
	if err != nil || info.Object != "TABLE" || info.IfNotExists {
		return
	}
	for name, pending := range u.keys {
		is := func(o sqlclass.Name) bool {
			database := st.Database
			if o.Database != "" && u.node.Primary != "" {
				database = u.node.Logical(o.Database)
			}
			return strings.EqualFold(o.Name, name.Table) && database == name.Database
		}
		first, more := is(sqlclass.Name{Database: info.Database, Name: info.Name}), slices.ContainsFunc(info.More, is)
		switch {
		case (info.Verb == "RENAME" || info.Verb == "ALTER") && more:
			delete(states, name)
		case info.Verb != "ALTER" && (first || more):
			states[name] = make(map[string][]any)
			for key := range pending {
				states[name][key] = nil
			}
		}
	}
}
