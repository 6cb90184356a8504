package settle

import (
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/journal"
)

// shape fits rows of a batch, which may have been made under an older schema, to the table.
type shape struct {
	t       *dialect.Table // nil if there is none, or it has another key
	same    bool
	from    []int // for each stored column its place in the batch, -1 if it is newer
	gone    []int // columns of the batch that the table does not have any more
	columns []string
}

// shapeOf compares a batch's columns with the table's; why says that they have no key in common.
func (st *settlement) shapeOf(c *batch.Change, t *dialect.Table) (sh *shape, why string) {
	name := journal.TableName{Database: c.Database, Table: c.Table}
	switch {
	case t == nil:
		return &shape{}, fmt.Sprintf("the master has no table %s any more", name)
	case t.Refusal != "":
		return &shape{}, fmt.Sprintf("table %s cannot be replicated: %s", name, t.Refusal)
	}
	sh = &shape{t: t, columns: c.Columns}
	if slices.Equal(c.Columns, t.Stored) && slices.Equal(c.Key, t.Key) {
		sh.same = true
		return sh, ""
	}
	names := func(columns []string, key []int) (list []string) {
		for _, k := range key {
			list = append(list, columns[k])
		}
		return list
	}
	if was, is := names(c.Columns, c.Key), names(t.Stored, t.Key); !slices.Equal(was, is) {
		return &shape{}, fmt.Sprintf("the key of table %s was %v when the snap wrote, and is %v now", name, was, is)
	}
	for _, column := range t.Stored {
		sh.from = append(sh.from, slices.Index(c.Columns, column))
	}
	for i, column := range c.Columns {
		if !slices.Contains(t.Stored, column) {
			sh.gone = append(sh.gone, i)
		}
	}
	return sh, ""
}

// fit returns the images of a row in the table's columns. A column that is newer than
// the batch has the master's value in both, or its default in a row that the master lacks.
func (sh *shape) fit(st *settlement, r dialect.Row, remote []any) (base, local []any, why string, err error) {
	if sh.same {
		return r.Base, r.Values, "", nil
	}
	for _, i := range sh.gone {
		if r.Values != nil && (r.Base == nil && r.Values[i] != nil || r.Base != nil && !batch.EqualValues(r.Base[i], r.Values[i])) {
			return nil, nil, fmt.Sprintf("the snap wrote column %s of table %s, which has been dropped since", sh.columns[i], st.s.node.Name(sh.t)), nil
		}
	}
	fill := func(row []any) ([]any, error) {
		if row == nil {
			return nil, nil
		}
		out := make([]any, len(sh.from))
		for i, from := range sh.from {
			switch {
			case from >= 0:
				out[i] = row[from]
			case remote != nil:
				out[i] = remote[i]
			default:
				var err error
				if out[i], err = st.defaultOf(sh.t, sh.t.Stored[i]); err != nil {
					return nil, err
				}
			}
		}
		return out, nil
	}
	if base, err = fill(r.Base); err == nil {
		local, err = fill(r.Values)
	}
	return base, local, "", err
}

// astray says if a row's images are not those of the row that its key names: what a batch may do is judged by the key. Where
// only the database compares keys, it is asked once the row is written (written).
func (sh *shape) astray(st *settlement, c *batch.Change, r dialect.Row) string {
	if !sh.t.ExactKey {
		return ""
	}
	for _, image := range [][]any{r.Base, r.Values} {
		if image != nil && !batch.EqualRows(journal.Pick(image, c.Key), r.Key) {
			return fmt.Sprintf("a row of table %s in the batch has another key than the one that it is filed under", st.s.node.Name(sh.t))
		}
	}
	return ""
}

// written finds out whether rows that spell their key in another way than their batch did have been written where the
// batch said.
func (st *settlement) written() error {
	for t, states := range st.tables {
		for _, s := range states.order {
			if t.ExactKey || s.values == nil {
				continue
			}
			key := journal.Pick(s.values, t.Key)
			if batch.EqualRows(key, s.key) {
				continue
			}
			same := false
			err := st.s.node.Engine.Lookup(st.ctx, st.c, t, [][]any{s.key}, func(r dialect.Row) error {
				same = r.Values != nil && batch.EqualRows(journal.Pick(r.Values, t.Key), key)
				return nil
			})
			if err != nil {
				return err
			}
			if !same {
				return fmt.Errorf("a row of table %s in the batch has another key than the one that it is filed under", st.s.node.Name(t))
			}
		}
	}
	return nil
}

// defaultOf asks the database for the default of a column.
func (st *settlement) defaultOf(t *dialect.Table, column string) (any, error) {
	for _, c := range t.Columns {
		if c.Name != column || c.Default == "" {
			continue
		}
		var v any
		if err := dialect.ScanOne(st.ctx, st.c, []any{&v}, "SELECT "+c.Default); err != nil {
			return nil, fmt.Errorf("default of column %s of table %s: %w", column, st.s.node.Name(t), err)
		}
		if b, ok := v.([]byte); ok && st.s.node.Dialect.Language() == dialect.MySQL {
			return string(b), nil
		}
		return v, nil
	}
	return nil, nil
}
