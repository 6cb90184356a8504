package settle

import (
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// A foreign key that acts takes along whatever refers to a row that a batch deletes, or whose key it changes: also what the
// snap did not know of when it did that. Nobody has asked for that, and no conflict would tell of it, so a
// batch is refused if rows change with it that it does not account for.

// maxTaken is how many rows that a batch does not account for are looked at before it is refused for their number.
const maxTaken = 10_000

// takenRow is a row that foreign keys may have changed.
type takenRow struct {
	t           *dialect.Table
	key, values []any // values as they are afterwards
}

// writeExactly writes the outcome, and fails if foreign keys would change more than that.
func (st *settlement) writeExactly() error {
	e, ok := st.s.node.Engine.(dialect.Cascader)
	if !ok || !st.replaces() {
		return st.write()
	}
	cascaded, err := e.Cascaded(st.ctx, st.c, st.cat.List)
	if err != nil || cascaded == nil {
		if err == nil {
			err = st.write()
		}
		return err
	}
	var taken []takenRow
	err = store.Savepoint(st.ctx, st.c, "ddb_exact", func() error {
		if err := st.write(); err != nil {
			return err
		}
		err := cascaded(func(t *dialect.Table, r dialect.Row) error {
			if st.accounted(t, r) {
				return nil
			}
			if taken = append(taken, takenRow{t, journal.CloneValues(r.Key), journal.CloneValues(r.Values)}); len(taken) > maxTaken {
				return st.takes(t)
			}
			return nil
		})
		if err == nil && len(taken) > 0 {
			err = st.takes(taken[0].t) // for now: it is undone, to see
		}
		return err
	})
	if err == nil || len(taken) == 0 || len(taken) > maxTaken {
		return err
	}
	// A row may have been noted though it has stayed as it is, where values go round among rows that others refer to.
	for _, row := range taken {
		same := false
		err := st.s.node.Engine.Lookup(st.ctx, st.c, row.t, [][]any{row.key}, func(r dialect.Row) error {
			same = batch.EqualRows(r.Values, row.values)
			return nil
		})
		if err != nil {
			return err
		}
		if !same {
			return st.takes(row.t)
		}
	}
	return st.write()
}

func (st *settlement) takes(t *dialect.Table) error {
	return fmt.Errorf("a foreign key would take along rows of table %s that the snap did not have when it deleted or changed what they refer to", st.s.node.Name(t))
}

// replaces reports whether a row that is there is deleted or changed.
func (st *settlement) replaces() bool {
	for _, states := range st.tables {
		if slices.ContainsFunc(states.order, func(r *rowState) bool { return r.was != nil && !batch.EqualRows(r.was, r.values) }) {
			return true
		}
	}
	return false
}

// accounted reports whether a row that has been noted is one that was to be written, and has not been lost thereafter.
func (st *settlement) accounted(t *dialect.Table, r dialect.Row) bool {
	states := st.tables[t]
	if states == nil {
		return false
	}
	state := states.rows[string(wire.AppendRow(nil, r.Key))]
	if state == nil && !t.ExactKey { // the snap may have written it in another way
		is := func(values []any) bool { return values != nil && batch.EqualRows(journal.Pick(values, t.Key), r.Key) }
		if i := slices.IndexFunc(states.order, func(s *rowState) bool { return is(s.was) || is(s.values) }); i >= 0 {
			state = states.order[i]
		}
	}
	if state == nil || state.values == nil {
		return state != nil
	}
	if r.Values == nil {
		return false
	}
	for i, v := range r.Values {
		if v == nil && state.values[i] != nil {
			return false // SET NULL
		}
	}
	return true
}
