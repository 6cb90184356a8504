package ddb

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ddb-project/ddb/internal/wire"
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

// checked is what tells of itself what no node sends.
type checked interface{ check() error }

// decodeMessage decodes what another node has sent, and checks it. Its errors wrap ErrDamaged.
func decodeMessage[T any](payload []byte) (T, error) {
	var v T
	return v, decodeInto(payload, &v)
}

// decodeInto is decodeMessage for a variable.
func decodeInto(payload []byte, into any) error { return decodeBy(wire.Unmarshal, payload, into) }

// decodeBy is decodeInto with a decoder.
func decodeBy(unmarshal func(payload []byte, into any) error, payload []byte, into any) error {
	err := unmarshal(payload, into)
	if c, ok := into.(checked); ok && err == nil {
		err = c.check()
	}
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

func (p Position) check() error {
	if p.LSN > maxLSN || p.Epoch > math.MaxInt64 {
		return damaged("position %v", p)
	}
	return nil
}

func (p *Part) check() error {
	if p.LSN == 0 || p.LSN > maxLSN || p.Epoch > math.MaxInt64 || p.Index < 0 || p.Index >= lastPart || p.Records < 0 {
		return damaged("entry %d of epoch %d, part %d, with %d records", p.LSN, p.Epoch, p.Index, p.Records)
	}
	return nil
}

func (b *body) check() error {
	for queue, number := range b.Batches {
		if queue == "" || number > maxNumber {
			return damaged("batch %d of snap %q", number, queue)
		}
	}
	return checkChanges(b.Changes)
}

func checkChanges(list []*Change) error {
	for _, c := range list {
		if c == nil {
			return damaged("changes of no table")
		}
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

// check leaves the rows to each, but sees to it that they end: every row takes a byte at least.
func (c *Change) check() error {
	if c.Present < 0 || c.Present > len(c.Rows) || c.Absent < 0 || c.Absent > len(c.Keys) {
		return damaged("table %s: %d rows in %d bytes, %d keys in %d bytes", c.Table, c.Present, len(c.Rows), c.Absent, len(c.Keys))
	}
	return checkKey(c.Table, c.Key, c.Columns)
}

// checkKey checks which columns of a table are its key.
func checkKey(table string, key []int, columns []string) error {
	if len(key) == 0 || len(key) > len(columns) || slices.ContainsFunc(key, func(k int) bool { return k < 0 || k >= len(columns) }) {
		return damaged("table %s with the key %v of %d columns", table, key, len(columns))
	}
	return nil
}

func (h *snapshotHead) check() error {
	if h.Resume && (h.File || len(h.Objects) > 0) {
		return damaged("a snapshot goes on and begins anew")
	}
	return h.Base.check()
}

func (r *snapshotRows) check() error {
	if r.Change == nil {
		return damaged("rows of no table")
	}
	if err := r.Change.check(); err != nil {
		return err
	}
	if r.Change.Absent > 0 || len(r.After) != len(r.Change.Key) {
		return damaged("rows of table %s: %d keys, a last key of %d values", r.Change.Table, r.Change.Absent, len(r.After))
	}
	return nil
}

func (e *snapshotEnd) check() error {
	if e.Through > maxLSN {
		return damaged("a snapshot through entry %d", e.Through)
	}
	return nil
}

func (b *beat) check() error {
	if b.Every < 0 || b.Every > int64(maxEvery) || b.Pending < 0 {
		return damaged("a heartbeat every %v with %d batches pending", time.Duration(b.Every), b.Pending)
	}
	return b.Position.check()
}

func (b *batches) check() error {
	if b.First > maxNumber || len(b.Bodies) > settleBatches {
		return damaged("%d batches from number %d on", len(b.Bodies), b.First)
	}
	return nil
}

func (v *verdict) check() error {
	if v.Through > maxNumber {
		return damaged("a verdict on batch %d", v.Through)
	}
	return nil
}

func (h *hello) check() error {
	if h.Number > maxNumber {
		return damaged("batch %d has left the queue", h.Number)
	}
	return h.Position.check()
}

func (w *welcome) check() error {
	if w.Number > maxNumber || w.Node < 0 {
		return damaged("batch %d of snap number %d", w.Number, w.Node)
	}
	return nil
}
