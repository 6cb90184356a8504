package settle

import (
	"errors"
	"testing"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
)

// seed encodes a value for a corpus.
func seed(f *testing.F, v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// refusedWell fails the test if a decoder's error does not say that the peer or the disk has damaged something.
func refusedWell(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, fault.ErrDamaged) {
		t.Errorf("%v does not wrap ErrDamaged", err)
	}
	return err != nil
}

// rowsOf counts the rows that each emits, which cannot be more than there are bytes.
func rowsOf(t *testing.T, bytes int, each func(func(dialect.Row) error) error, columns, key int) (list []dialect.Row) {
	t.Helper()
	err := each(func(r dialect.Row) error {
		for _, image := range [][]any{r.Base, r.Values} {
			if image != nil && len(image) != columns {
				t.Fatalf("a row of %d values for %d columns", len(image), columns)
			}
		}
		if len(r.Key) != key || len(list) >= bytes {
			t.Fatalf("a key of %d values for %d, or row %d in %d bytes", len(r.Key), key, len(list), bytes)
		}
		list = append(list, r)
		return nil
	})
	refusedWell(t, err)
	return list
}

// A batch that a hostile snap sends is refused, or settles without a panic whatever its rows are.
func FuzzBatch(f *testing.F) {
	c := &batch.Change{Table: "t", Columns: []string{"id", "v", "w"}, Key: []int{0, 2}}
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Values: []any{int64(1), nil, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}, Values: []any{int64(1), 1.5, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}})
	f.Add(seed(f, &batch.Batch{Clock: 1, Seen: 2, Changes: []*batch.Change{c}, Wall: 3, Heard: 4}))
	f.Add(seed(f, &batch.Batch{Changes: []*batch.Change{nil}}))
	f.Add(seed(f, &batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{-1}, Count: 1 << 62}}}))
	f.Add(seed(f, &batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{0}, Count: -1}}}))
	f.Add(seed(f, &batch.Batch{Clock: -1 << 63, Wall: 1<<63 - 1, Heard: 1<<63 - 1}))
	t := &dialect.Table{Name: "t", Stored: []string{"v", "w", "id", "new"}, Key: []int{2, 1}, ExactKey: true}
	f.Fuzz(func(tt *testing.T, payload []byte) {
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if refusedWell(tt, err) {
			return
		}
		corrected(b.MadeAt(), b.Clock, time.Now().UnixNano())
		for _, c := range b.Changes {
			list := rowsOf(tt, len(payload), c.Each, len(c.Columns), len(c.Key))
			sh, why := new(settlement).shapeOf(c, t)
			if why != "" {
				continue
			}
			for _, r := range list {
				base, local, why, err := sh.fit(&settlement{s: &Settler{node: &store.Store{}}}, r, make([]any, 4))
				if why == "" && err == nil && (base != nil && len(base) != 4 || local != nil && len(local) != 4) {
					tt.Fatalf("%v became %v and %v", r, base, local)
				}
				_, _ = parseRow(rowJSON(t.Stored, local))
				state := &rowState{values: base}
				state.set(&outcome{values: local, base: base})
			}
		}
	})
}

// A row of the conflicts table, which anybody may have edited, is read or refused; what was read is written so that it reads back.
func FuzzConflictRow(f *testing.F) {
	for _, s := range []string{`{"id":1,"v":"text","b":{"$bytes":"AQI="},"f":1.5,"n":null}`, `{"$left out":"7 bytes"}`, "[1,2]", "5", "", `{"a":{"$float":"NaN"}}`, `{"a":{"$text":"/w=="}}`, `{"a":`, `{"a":[]}`, `{"a":true}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		row, err := parseRow(s)
		if err != nil {
			return
		}
		var names []string
		values := []any{}
		for _, field := range row {
			if _, list := field.value.([]any); list || !wire.IsValue(field.value) {
				t.Fatalf("%q was read as %#v", s, field.value)
			}
			names, values = append(names, field.name), append(values, field.value)
		}
		again, err := parseRow(rowJSON(names, values))
		if err != nil || len(again) != len(row) {
			t.Fatalf("%q was read as %v, and then as %v (%v)", s, row, again, err)
		}
	})
}
