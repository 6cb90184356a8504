package ddb

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// ledger is what the sequencer knows of the batches of snaps. How far each snap's have come
// stands in the table received; an entry lists what has changed there since the last one.
type ledger struct {
	// commits is raised before a transaction that changes received commits, so that a snapshot that
	// sees it is known to, and again after, so that one that does not is followed by another.
	commits atomic.Uint64
	// committing counts such transactions from the first of the two to the second: a snapshot that is opened meanwhile
	// may see one that another, which counts as listed, did not.
	committing atomic.Int64
	// Owned by exclusive:
	before uint64            // commits before the pass's snapshot was opened
	done   uint64            // commits that are listed
	known  map[string]uint64 // the numbers that are listed; empty after a start, so that all are listed once
}

// unlisted reports whether received may have changed since the last entry.
func (l *ledger) unlisted() bool {
	return l.committing.Load() > 0 || l.commits.Load() != l.done
}

// look notes what a snapshot that is about to be opened will see.
func (l *ledger) look() { l.before = l.commits.Load() }

// list finds the numbers that the entry must list.
func (s *sequencer) list(ctx context.Context, q dialect.Querier, res *passResult) error {
	res.mark = s.ledger.before
	if s.node.SingleWriter() {
		res.mark = s.ledger.commits.Load()
	}
	if !s.ledger.unlisted() {
		return nil
	}
	rows, err := q.QueryContext(ctx, "SELECT snap, number FROM "+s.node.Engine.Own("received"))
	if err != nil {
		return fmt.Errorf("ddb: pass: read received batches: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var number int64
		if err := rows.Scan(&id, &number); err != nil {
			return fmt.Errorf("ddb: pass: read received batches: %w", err)
		}
		if s.ledger.known[id] < uint64(number) {
			if res.batches == nil {
				res.batches = make(map[string]uint64)
			}
			res.batches[id] = uint64(number)
		}
	}
	return rows.Err()
}

// listed notes that an entry is committed.
func (s *sequencer) listed(r *passResult) {
	s.ledger.done = max(s.ledger.done, r.mark)
	if len(r.batches) > 0 {
		if s.ledger.known == nil {
			s.ledger.known = make(map[string]uint64)
		}
		maps.Copy(s.ledger.known, r.batches)
	}
}

// raise makes the next entry list what received says: it is about to change in a transaction that makes the entry too.
func (l *ledger) raise() { l.commits.Add(1) }

// open is raise for a transaction that others do not wait for; close follows it when it has committed, or perhaps has.
func (l *ledger) open() {
	l.commits.Add(1)
	l.committing.Add(1)
}

func (l *ledger) close() {
	l.commits.Add(1)
	l.committing.Add(-1)
}

// relist makes the next entry list the numbers of these snaps again, or of all where none is named, for those who may not have heard
// them. The caller is inside exclusive.
func (l *ledger) relist(queues ...string) {
	for _, id := range queues {
		delete(l.known, id)
	}
	if len(queues) == 0 {
		clear(l.known)
	}
	l.commits.Add(1)
}
