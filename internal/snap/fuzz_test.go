package snap

import (
	"errors"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
)

// No batch of the queue panics when it is read again: the disk may have damaged it.
func FuzzQueuedBatch(f *testing.F) {
	add := func(b *batch.Batch) {
		payload, err := wire.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	c := &batch.Change{Table: "t", Columns: []string{"id", "v", "w"}, Key: []int{0, 2}}
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Values: []any{int64(1), nil, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}, Values: []any{int64(1), 1.5, "x"}})
	c.Add(dialect.Row{Key: []any{int64(1), "x"}, Base: []any{int64(1), nil, "x"}})
	add(&batch.Batch{Clock: 1, Seen: 2, Changes: []*batch.Change{c}, Wall: 3, Heard: 4})
	add(&batch.Batch{Changes: []*batch.Change{nil}})
	add(&batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{-1}, Count: 1 << 62}}})
	add(&batch.Batch{Changes: []*batch.Change{{Table: "t", Columns: []string{"id"}, Key: []int{0}, Count: -1}}})
	add(&batch.Batch{Clock: -1 << 63, Wall: 1<<63 - 1, Heard: 1<<63 - 1})
	f.Fuzz(func(tt *testing.T, payload []byte) {
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if err != nil {
			if !errors.Is(err, fault.ErrDamaged) {
				tt.Errorf("%v does not wrap ErrDamaged", err)
			}
			return
		}
		if err := make(pendingKeys).add(&b, 1); err != nil {
			tt.Fatal(err) // it has been checked
		}
	})
}
