package settle

import (
	"testing"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/testfuzz"
	"github.com/ddb-project/ddb/internal/wire"
)

// A batch that a hostile snap sends is refused, or settles without a panic whatever its rows are.
func FuzzBatch(f *testing.F) {
	c := &batch.Change{Table: "t", Columns: []string{"id", "v", "w"}, Key: []int{0, 2}}
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Values: []any{int64(1), nil, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}, Values: []any{int64(1), 1.5, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}})
	f.Add(testfuzz.Seed(f, &batch.Batch{Clock: 1, Seen: 2, Changes: []*batch.Change{c}, Wall: 3, Heard: 4}))
	f.Add(testfuzz.Seed(f, &batch.Batch{Changes: []*batch.Change{nil}}))
	f.Add(testfuzz.Seed(f, &batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{-1}, Count: 1 << 62}}}))
	f.Add(testfuzz.Seed(f, &batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{0}, Count: -1}}}))
	f.Add(testfuzz.Seed(f, &batch.Batch{Clock: -1 << 63, Wall: 1<<63 - 1, Heard: 1<<63 - 1}))
	t := &dialect.Table{Name: "t", Stored: []string{"v", "w", "id", "new"}, Key: []int{2, 1}, ExactKey: true}
	f.Fuzz(func(tt *testing.T, payload []byte) {
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if testfuzz.RefusedWell(tt, err) {
			return
		}
		corrected(b.MadeAt(), b.Clock, time.Now().UnixNano())
		for _, c := range b.Changes {
			list := testfuzz.RowsOf(tt, len(payload), c.Each, len(c.Columns), len(c.Key))
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
