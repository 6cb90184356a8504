package journal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/watch"
)

// QueueStats tells how much waits in a pending queue.
type QueueStats struct {
	Length int64 // entries or batches
	Bytes  int64
	Age    time.Duration // of the oldest; 0 for an empty queue
}

// PendingQueue is what a follower has not acknowledged of the master's entries, in order: a view of
// the journal by default, so that it needs no store of its own and outlives restarts of either side. The
// master ships what Next returns, ahead of the acknowledgements. An implementation must pass
// [github.com/ddb-project/ddb/ddbtest.PendingQueue] and be safe for concurrent use.
type PendingQueue interface {
	// Next returns the parts that follow part index of entry lsn, in order, as many as fit in limit
	// bytes but at least one; none at the end. A part index beyond the last means the next entry. Asking
	// does not remove. ErrTrimmed if what follows is gone: the follower needs a snapshot.
	Next(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error)
	// Ack removes the entries up to and including lsn. An LSN that is acknowledged
	// already is ignored; one beyond the queue's end is an error and removes nothing.
	Ack(ctx context.Context, lsn LSN) error
	// Stats tells how much is not acknowledged.
	Stats(ctx context.Context) (QueueStats, error)
}

// QueueFunc makes the pending queue of a follower that has acknowledged everything up to and including
// acked. The master calls it when it first lists a follower and whenever one connects; it must not block.
type QueueFunc func(follower string, journal Journal, acked LSN) PendingQueue

// NewQueue returns the pending queue of a follower that has acknowledged
// everything up to and including acked: a view of the journal.
func NewQueue(j Journal, acked LSN) PendingQueue {
	q := &journalQueue{journal: j}
	q.acked.Store(uint64(acked))
	return q
}

// NewRecentQueue is NewPendingQueue for a master, which keeps the journal's end in memory. end tells an LSN that the journal is
// known to have reached, which spares Ack a look at it.
func NewRecentQueue(j Journal, acked LSN, recent *Recent, end func() LSN) PendingQueue {
	q := &journalQueue{journal: j, recent: recent, end: end}
	q.acked.Store(uint64(acked))
	return q
}

type journalQueue struct {
	journal Journal
	acked   atomic.Uint64
	recent  *Recent    // nil elsewhere than on a master
	end     func() LSN // the same

	mu      sync.Mutex // guards what follows
	counted counted
}

func (q *journalQueue) Next(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error) {
	if q.recent != nil && index == LastPart {
		if parts, ok := q.recent.after(lsn, limit); ok {
			return parts, nil
		}
	}
	return q.journal.Read(ctx, lsn, index, limit)
}

func (q *journalQueue) Ack(ctx context.Context, lsn LSN) error {
	if q.end == nil || lsn > q.end() {
		_, last, err := q.journal.Bounds(ctx)
		if err != nil {
			return err
		}
		if lsn > last.LSN {
			return fmt.Errorf("%w: entry %d was acknowledged, the journal ends at %d", fault.ErrGap, lsn, last.LSN)
		}
	}
	watch.Raise(&q.acked, uint64(lsn))
	return nil
}

func (q *journalQueue) Stats(ctx context.Context) (QueueStats, error) {
	acked := LSN(q.acked.Load())
	first, last, err := q.journal.Bounds(ctx)
	if err != nil || last.LSN <= acked {
		return QueueStats{}, err
	}
	s, ok := q.journal.(Sizer)
	if !ok {
		stats := QueueStats{Length: int64(last.LSN - acked)}
		if parts, err := q.Next(ctx, acked, LastPart, 1); err == nil && len(parts) > 0 {
			stats.Age = max(0, time.Since(parts[0].Time()))
		}
		return stats, nil
	}
	// A queue that grows for days is asked once per heartbeat: only what has come since is counted.
	q.mu.Lock()
	c := q.counted
	q.mu.Unlock()
	if c.acked != acked || c.first != first.LSN || c.oldest.IsZero() {
		c = counted{acked: acked, first: first.LSN, through: max(acked, first.LSN-1)}
	}
	n, bytes, oldest, err := s.Size(ctx, c.through)
	if err != nil {
		return QueueStats{}, err
	}
	if c.oldest.IsZero() {
		c.oldest = oldest
	}
	c.through += LSN(n) // LSNs have no gaps (J1)
	c.entries, c.bytes = c.entries+n, c.bytes+bytes
	q.mu.Lock()
	q.counted = c
	q.mu.Unlock()
	if c.entries == 0 {
		return QueueStats{}, nil
	}
	return QueueStats{Length: c.entries, Bytes: c.bytes, Age: max(0, time.Since(c.oldest))}, nil
}

// counted is what a queue was found to hold: the entries after acked, up to and including through.
type counted struct {
	acked, first, through LSN // first: of the journal then
	entries, bytes        int64
	oldest                time.Time
}
