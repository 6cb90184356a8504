// Package batch has a snap's batch, which is a local transaction as rows before and after, what a node notes of such rows, and the
// hybrid clock that tells when. A batch is made on a snap and settled on the master; both read and compare its rows here.
package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// Batch is a local transaction of a snap: for each row its key, the row before and the row after.
type Batch struct {
	Clock   int64       `cbor:"1,keyasint"` // hybrid logical clock, nanoseconds
	Seen    journal.LSN `cbor:"2,keyasint"` // the snap's position when it was made
	Changes []*Change   `cbor:"3,keyasint"`
	Wall    int64       `cbor:"4,keyasint,omitempty"` // what the clock on the wall showed, nanoseconds
	Heard   int64       `cbor:"5,keyasint,omitempty"` // when entry Seen was made, by the master's clock: the batch is later

	// While it is made:
	table   *dialect.Table // of the last change
	records int
	size    int
}

// Change holds a batch's rows of one table, one after another: the key, which of the two
// images follow, and the images.
type Change struct {
	Database string   `cbor:"1,keyasint,omitempty"`
	Table    string   `cbor:"2,keyasint"`
	Columns  []string `cbor:"3,keyasint"`
	Key      []int    `cbor:"4,keyasint"`
	Count    int      `cbor:"5,keyasint"`
	Rows     []byte   `cbor:"6,keyasint"`
}

// Records returns how many rows were added to a batch that is being made.
func (b *Batch) Records() int { return b.records }

// Size returns how many bytes the rows take that were added to a batch that is being made.
func (b *Batch) Size() int { return b.size }

// MaxBytes limits one transaction of a snap: a batch travels in one message. Tests set it lower.
var MaxBytes = link.FrameBytes / 2

const (
	hasBase = 1 << iota
	hasNew
)

// Add appends a row.
func (c *Change) Add(r dialect.Row) {
	c.Count++
	flags := int64(0)
	if r.Base != nil {
		flags |= hasBase
	}
	if r.Values != nil {
		flags |= hasNew
	}
	c.Rows = wire.AppendRow(c.Rows, r.Key)
	c.Rows = wire.AppendRow(c.Rows, []any{flags})
	c.Rows = wire.AppendRow(c.Rows, r.Base)
	c.Rows = wire.AppendRow(c.Rows, r.Values)
}

// Each calls f for every row. The row's slices are f's to keep.
func (c *Change) Each(f func(dialect.Row) error) error {
	rest := c.Rows
	read := func(n int) (values []any, err error) {
		values = make([]any, n)
		rest, err = wire.DecodeRow(rest, n, values)
		return values, err
	}
	for range c.Count {
		var r dialect.Row
		var flags []any
		var err error
		if r.Key, err = read(len(c.Key)); err == nil {
			flags, err = read(1)
		}
		if err == nil {
			bits, ok := flags[0].(int64)
			if !ok || bits&(hasBase|hasNew) == 0 || bits&^(hasBase|hasNew) != 0 {
				return fault.Damaged("batch: rows of %s: a change from %v", c.Table, flags[0])
			}
			if bits&hasBase != 0 {
				r.Base, err = read(len(c.Columns))
			}
			if bits&hasNew != 0 && err == nil {
				r.Values, err = read(len(c.Columns))
			}
		}
		if err != nil {
			return fmt.Errorf("%w: batch: rows of %s: %w", fault.ErrDamaged, c.Table, err)
		}
		if err := f(r); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fault.Damaged("batch: %d bytes too many in the rows of %s", len(rest), c.Table)
	}
	return nil
}

// MadeAt returns when the batch was made by the snap's clock. The hybrid clock does not go back when the one on the wall,
// which was far ahead once, is put right.
func (b *Batch) MadeAt() int64 {
	if b.Wall != 0 && b.Clock-b.Wall > ClockSkew {
		return b.Wall
	}
	return b.Clock
}

// Check finds what no snap sends: one malformed batch must not stop those of others that are settled with it.
func (b *Batch) Check() error {
	for _, c := range b.Changes {
		if c == nil || c.Count < 0 {
			return fault.Damaged("batch: changes of no table, or fewer than none")
		}
		if err := journal.CheckKey(c.Table, c.Key, c.Columns); err != nil {
			return err
		}
		if err := c.Each(func(dialect.Row) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Add appends a row, unless it was changed and changed back.
func (b *Batch) Add(n *store.Store, t *dialect.Table, r dialect.Row) error {
	if EqualRows(r.Base, r.Values) {
		return nil
	}
	if b.table != t {
		name := n.Name(t)
		b.table = t
		b.Changes = append(b.Changes, &Change{Database: name.Database, Table: name.Table, Columns: t.Stored, Key: t.Key})
	}
	c := b.Changes[len(b.Changes)-1]
	before := len(c.Rows)
	c.Add(r)
	b.records++
	b.size += len(c.Rows) - before
	switch {
	case b.size <= MaxBytes:
	case b.records == 1:
		return fmt.Errorf("%w: a change of one row of table %s, with what it was before, takes more than %d MiB; make the row smaller, or delete it, "+
			"and nothing has to be exchanged of what it was meanwhile", fault.ErrNotReplicable, n.Name(t), MaxBytes>>20)
	default:
		return fmt.Errorf("%w: one transaction of a snap may change at most %d MiB of rows; split it", fault.ErrNotReplicable, MaxBytes>>20)
	}
	return nil
}

// Outgrows reports whether the batch, which holds rows, would be larger than most with another.
func (b *Batch) Outgrows(r dialect.Row, most int) bool {
	return b.size+sizeOf(r.Key)+sizeOf(r.Base)+sizeOf(r.Values) > most
}

// sizeOf is about how many bytes a row's values take.
func sizeOf(values []any) int {
	n := 16 * len(values)
	for _, v := range values {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}

// Gather reads what the connection's transaction has noted, and clears the notes.
func Gather(ctx context.Context, n *store.Store, q dialect.Querier, add func(*dialect.Table, dialect.Row) error) error {
	noted, err := n.Engine.Noted(ctx, q, n.Tables.Load().Replicated())
	for _, t := range noted {
		if err == nil {
			err = GatherTable(ctx, n, q, t, add)
		}
	}
	return err
}

// GatherTable is Gather for one table.
func GatherTable(ctx context.Context, n *store.Store, q dialect.Querier, t *dialect.Table, add func(*dialect.Table, dialect.Row) error) error {
	notes, err := n.Engine.CollectImages(ctx, q, t, func(r dialect.Row) error { return add(t, r) })
	if err != nil {
		return fmt.Errorf("read changes of table %s: %w", n.Name(t), err)
	}
	return ClearNotes(ctx, n, q, notes)
}

// ClearNotes forgets what was noted of a table and has been read.
func ClearNotes(ctx context.Context, n *store.Store, q dialect.Querier, notes dialect.Notes) error {
	if err := n.Engine.Clear(ctx, q, notes); err != nil {
		return fmt.Errorf("clear notes of table %s: %w", n.Name(notes.Table), err)
	}
	return nil
}

// EqualRows compares two rows exactly; nil is a row that does not exist.
func EqualRows(a, b []any) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !EqualValues(a[i], b[i]) {
			return false
		}
	}
	return true
}

// EqualValues compares two values exactly: 1 is not 1.0, and NaN is itself.
func EqualValues(a, b any) bool {
	switch x := a.(type) {
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	case float64:
		y, ok := b.(float64)
		return ok && math.Float64bits(x) == math.Float64bits(y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

// Clock is a hybrid logical clock: wall time that never goes back and never falls behind what was heard
// (Kulkarni et al., "Logical Physical Clocks", 2014). What a snap hears from others are entries; it tells the master of
// the last one (Batch.Heard), whose clock they are by, rather than have its own follow one that may be years off.
type Clock struct{ last int64 }

// Next returns the time of what happens now.
func (h *Clock) Next(now time.Time) int64 {
	h.last = max(h.last+1, now.UnixNano())
	return h.last
}

// Heard tells the clock of a time that another has given.
func (h *Clock) Heard(at int64) { h.last = max(h.last, at) }

// ClockSkew is how far a snap's clock may be from the master's before its times are shifted.
const ClockSkew = int64(5 * time.Second)

// Sum returns the sum of a batch as it travels.
func Sum(payload []byte) []byte {
	h := sha256.Sum256(payload)
	return h[:16]
}
