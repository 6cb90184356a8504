package ddb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// QueueStats tells how much waits in a pending queue.
type QueueStats struct {
	Length int64 // entries or batches
	Bytes  int64
	Age    time.Duration // of the oldest; 0 for an empty queue
}

// PendingQueue is what a follower has not acknowledged, in order. For a replica it
// is a view of its master's journal; for a snap, the batches that its master has not yet
// accepted. An implementation must pass [github.com/ddb-project/ddb/ddbtest.PendingQueue].
type PendingQueue interface {
	// Next returns parts that follow those acknowledged, as many whole entries as fit in limit
	// bytes but at least one part; none if the queue is empty. Asking does not remove.
	Next(ctx context.Context, limit int) ([]Part, error)
	// Ack removes the entries up to and including lsn. An LSN that is acknowledged
	// already is ignored; one beyond the queue's end is an error and removes nothing.
	Ack(ctx context.Context, lsn LSN) error
	// Stats tells how much waits.
	Stats(ctx context.Context) (QueueStats, error)
}

// NewPendingQueue returns the pending queue of a follower that has acknowledged
// everything up to and including acked: a view of the journal.
func NewPendingQueue(j Journal, acked LSN) PendingQueue {
	q := &journalQueue{journal: j, acked: new(atomic.Uint64)}
	q.acked.Store(uint64(acked))
	return q
}

type journalQueue struct {
	journal Journal
	acked   *atomic.Uint64
	end     atomic.Uint64 // an LSN that the journal is known to have reached
}

func (q *journalQueue) Next(ctx context.Context, limit int) ([]Part, error) {
	return q.journal.Read(ctx, LSN(q.acked.Load()), 1<<partBits-1, limit)
}

func (q *journalQueue) Ack(ctx context.Context, lsn LSN) error {
	if uint64(lsn) > q.end.Load() {
		_, last, err := q.journal.Bounds(ctx)
		if err != nil {
			return err
		}
		if lsn > last.LSN {
			return fmt.Errorf("%w: entry %d was acknowledged, the journal ends at %d", ErrGap, lsn, last.LSN)
		}
		q.end.Store(uint64(last.LSN))
	}
	for {
		have := q.acked.Load()
		if uint64(lsn) <= have || q.acked.CompareAndSwap(have, uint64(lsn)) {
			return nil
		}
	}
}

func (q *journalQueue) Stats(ctx context.Context) (QueueStats, error) {
	acked := LSN(q.acked.Load())
	if s, ok := q.journal.(journalSizer); ok {
		n, bytes, oldest, err := s.Size(ctx, acked)
		if err != nil || n == 0 {
			return QueueStats{}, err
		}
		return QueueStats{Length: n, Bytes: bytes, Age: max(0, time.Since(oldest))}, nil
	}
	_, last, err := q.journal.Bounds(ctx)
	if err != nil || last.LSN <= acked {
		return QueueStats{}, err
	}
	stats := QueueStats{Length: int64(last.LSN - acked)}
	if parts, err := q.Next(ctx, 1); err == nil && len(parts) > 0 {
		stats.Age = max(0, time.Since(parts[0].Time()))
	}
	return stats, nil
}

// memJournal is a Journal in memory: the twin of the default one, for tests.
type memJournal struct {
	mu    sync.Mutex
	parts []Part
}

// NewMemoryJournal returns a Journal that is lost with the process. It suits tests; a
// node that uses it must take a new snapshot after each start.
func NewMemoryJournal() Journal { return new(memJournal) }

func (j *memJournal) Append(ctx context.Context, parts ...Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range parts {
		if p.Anchor() {
			j.parts = nil
		}
		j.parts = append(j.parts, p)
	}
	return nil
}

// whole returns the parts of finished entries; the caller holds mu.
func (j *memJournal) whole() []Part {
	n := len(j.parts)
	for n > 0 && !j.parts[n-1].Final {
		n--
	}
	return j.parts[:n]
}

func (j *memJournal) Read(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Part
	size := 0
	for _, p := range j.whole() {
		if sequence(p.LSN, p.Index) <= sequence(lsn, index) {
			continue
		}
		if len(out) == 0 && (p.LSN > lsn+1 || p.LSN == lsn+1 && p.Index != 0) {
			return nil, fmt.Errorf("%w: entry %d is gone, the first is %d", ErrTrimmed, lsn+1, p.LSN)
		}
		if size += len(p.Payload) + partOverhead; len(out) > 0 && size > limit {
			break
		}
		out = append(out, p)
	}
	return out, nil
}

func (j *memJournal) Bounds(ctx context.Context) (first, last Position, err error) {
	if err := ctx.Err(); err != nil {
		return first, last, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.whole() {
		if p.Final && first.LSN == 0 {
			first = p.Position()
		}
		if p.Final {
			last = p.Position()
		}
	}
	return first, last, nil
}

func (j *memJournal) Trim(ctx context.Context, through LSN) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	whole := j.whole()
	if len(whole) == 0 {
		return nil
	}
	last := whole[len(whole)-1].LSN
	var kept []Part
	for _, p := range j.parts {
		if p.LSN > through || p.LSN >= last {
			kept = append(kept, p)
		}
	}
	j.parts = kept
	return nil
}
