package ddb

import (
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/journal"
)

// What comes from another node is checked once, where it is decoded; what is behind that relies on it. A row is
// an exception: rows are many, and each is checked when it is taken out (Change.each, batchChange.each).

const (
	// maxEvery bounds the interval of another node's heartbeats: a silent one must be noticed some day.
	maxEvery = 24 * time.Hour
)

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
	if e.Through > journal.MaxLSN {
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
	if b.First > journal.MaxBatch || len(b.Bodies) > settleBatches {
		return fault.Damaged("%d batches from number %d on", len(b.Bodies), b.First)
	}
	return nil
}

func (v *verdict) Check() error {
	if v.Through > journal.MaxBatch {
		return fault.Damaged("a verdict on batch %d", v.Through)
	}
	return nil
}

func (h *hello) Check() error {
	if h.Number > journal.MaxBatch {
		return fault.Damaged("batch %d has left the queue", h.Number)
	}
	return h.Position.Check()
}

func (w *welcome) Check() error {
	if w.Number > journal.MaxBatch || w.Node < 0 {
		return fault.Damaged("batch %d of snap number %d", w.Number, w.Node)
	}
	return nil
}
