package link

import (
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/journal"
)

// What comes from another node is checked once, where it is decoded; what is behind that relies on it. A row is
// an exception: rows are many, and each is checked when it is taken out (journal.Change.Each, batch.Change.Each).

const (
	// MaxBatches is how many batches of a snap share a transaction, and a message.
	MaxBatches = 4096
	// maxEvery bounds the interval of another node's heartbeats: a silent one must be noticed some day.
	maxEvery = 24 * time.Hour
)

// Check refuses a snapshot that goes on and begins anew at once.
func (h *SnapshotHead) Check() error {
	if h.Resume && (h.File || len(h.Objects) > 0) {
		return fault.Damaged("a snapshot goes on and begins anew")
	}
	return h.Base.Check()
}

// Check refuses rows of no table, and a last key that is none.
func (r *SnapshotRows) Check() error {
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

// Check refuses an end that no journal reaches.
func (e *SnapshotEnd) Check() error {
	if e.Through > journal.MaxLSN {
		return fault.Damaged("a snapshot through entry %d", e.Through)
	}
	return nil
}

// Check refuses an interval by which nobody would notice a silent node.
func (b *Beat) Check() error {
	if b.Every < 0 || b.Every > int64(maxEvery) || b.Pending < 0 {
		return fault.Damaged("a heartbeat every %v with %d batches pending", time.Duration(b.Every), b.Pending)
	}
	return b.Position.Check()
}

// Check refuses more batches than are settled at once.
func (b *Batches) Check() error {
	if b.First > journal.MaxBatch || len(b.Bodies) > MaxBatches {
		return fault.Damaged("%d batches from number %d on", len(b.Bodies), b.First)
	}
	return nil
}

// Check refuses a verdict on what no queue holds.
func (v *Verdict) Check() error {
	if v.Through > journal.MaxBatch {
		return fault.Damaged("a verdict on batch %d", v.Through)
	}
	return nil
}

// Check refuses positions and numbers that no node has.
func (h *Hello) Check() error {
	if h.Number > journal.MaxBatch {
		return fault.Damaged("batch %d has left the queue", h.Number)
	}
	return h.Position.Check()
}

// Check refuses numbers that no master gives.
func (w *Welcome) Check() error {
	if w.Number > journal.MaxBatch || w.Node < 0 {
		return fault.Damaged("batch %d of snap number %d", w.Number, w.Node)
	}
	return nil
}
