package ddb

import (
	"math"
	"slices"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
)

// What comes from another node is checked once, where it is decoded; what is behind that relies on it. A row is
// an exception: rows are many, and each is checked when it is taken out (Change.each, batchChange.each).

const (
	// maxLSN is the highest that the journal has a number for.
	maxLSN = LSN(math.MaxInt64 >> partBits)
	// maxNumber is the highest that a batch can have in the queue, less than can be added to it in a lifetime.
	maxNumber = math.MaxInt64 >> 1
	// maxEvery bounds the interval of another node's heartbeats: a silent one must be noticed some day.
	maxEvery = 24 * time.Hour
)

func (p Position) Check() error {
	if p.LSN > maxLSN || p.Epoch > math.MaxInt64 {
		return fault.Damaged("position %v", p)
	}
	return nil
}

func (p *Part) Check() error {
	if p.LSN == 0 || p.LSN > maxLSN || p.Epoch > math.MaxInt64 || p.Index < 0 || p.Index >= lastPart || p.Records < 0 {
		return fault.Damaged("entry %d of epoch %d, part %d, with %d records", p.LSN, p.Epoch, p.Index, p.Records)
	}
	return nil
}

func (b *body) Check() error {
	for queue, number := range b.Batches {
		if queue == "" || number > maxNumber {
			return fault.Damaged("batch %d of snap %q", number, queue)
		}
	}
	return checkChanges(b.Changes)
}

func checkChanges(list []*Change) error {
	for _, c := range list {
		if c == nil {
			return fault.Damaged("changes of no table")
		}
		if err := c.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check leaves the rows to each, but sees to it that they end: every row takes a byte at least.
func (c *Change) Check() error {
	if c.Present < 0 || c.Present > len(c.Rows) || c.Absent < 0 || c.Absent > len(c.Keys) {
		return fault.Damaged("table %s: %d rows in %d bytes, %d keys in %d bytes", c.Table, c.Present, len(c.Rows), c.Absent, len(c.Keys))
	}
	return checkKey(c.Table, c.Key, c.Columns)
}

// checkKey checks which columns of a table are its key.
func checkKey(table string, key []int, columns []string) error {
	if len(key) == 0 || len(key) > len(columns) || slices.ContainsFunc(key, func(k int) bool { return k < 0 || k >= len(columns) }) {
		return fault.Damaged("table %s with the key %v of %d columns", table, key, len(columns))
	}
	return nil
}

func (h *snapshotHead) Check() error {
	if h.Resume && (h.File || len(h.Objects) > 0) {
		return fault.Damaged("a snapshot goes on and begins anew")
	}
	return h.Base.Check()
}

func (r *snapshotRows) Check() error {
	if r.Change == nil {
		return fault.Damaged("rows of no table")
	}
	if err := r.Change.Check(); err != nil {
		return err
	}
	if r.Change.Absent > 0 || len(r.After) != len(r.Change.Key) {
		return fault.Damaged("rows of table %s: %d keys, a last key of %d values", r.Change.Table, r.Change.Absent, len(r.After))
	}
	return nil
}

func (e *snapshotEnd) Check() error {
	if e.Through > maxLSN {
		return fault.Damaged("a snapshot through entry %d", e.Through)
	}
	return nil
}

func (b *beat) Check() error {
	if b.Every < 0 || b.Every > int64(maxEvery) || b.Pending < 0 {
		return fault.Damaged("a heartbeat every %v with %d batches pending", time.Duration(b.Every), b.Pending)
	}
	return b.Position.Check()
}

func (b *batches) Check() error {
	if b.First > maxNumber || len(b.Bodies) > settleBatches {
		return fault.Damaged("%d batches from number %d on", len(b.Bodies), b.First)
	}
	return nil
}

func (v *verdict) Check() error {
	if v.Through > maxNumber {
		return fault.Damaged("a verdict on batch %d", v.Through)
	}
	return nil
}

func (h *hello) Check() error {
	if h.Number > maxNumber {
		return fault.Damaged("batch %d has left the queue", h.Number)
	}
	return h.Position.Check()
}

func (w *welcome) Check() error {
	if w.Number > maxNumber || w.Node < 0 {
		return fault.Damaged("batch %d of snap number %d", w.Number, w.Node)
	}
	return nil
}
