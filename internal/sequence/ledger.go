package sequence

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
)

// Ledger is what the sequencer knows of the batches of snaps. How far each snap's have come
// stands in the table received; an entry lists what has changed there since the last one.
type Ledger struct {
	// commits is raised before a transaction that changes received commits, so that a snapshot that
	// sees it is known to, and again after, so that one that does not is followed by another.
	commits atomic.Uint64
	// committing counts such transactions from the first of the two to the second: a snapshot that is opened meanwhile
	// may see one that another, which counts as listed, did not.
	committing atomic.Int64
}

// listed is what a turn knows of the ledger.
type listed struct {
	before uint64            // commits before the pass's snapshot was opened
	done   uint64            // commits that are listed
	known  map[string]uint64 // the numbers that are listed; empty after a start, so that all are listed once
}

// unlisted reports whether received may have changed since the last entry.
func (turn *Turn) unlisted() bool {
	l := &turn.s.Ledger
	return l.committing.Load() > 0 || l.commits.Load() != turn.listed.done
}

// list finds the numbers that the entry must list.
func (turn *Turn) list(ctx context.Context, res *Made) error {
	res.mark = turn.listed.before
	if turn.node.SingleWriter() {
		res.mark = turn.s.Ledger.commits.Load()
	}
	if !turn.unlisted() {
		return nil
	}
	rows, err := turn.quick().QueryContext(ctx, "SELECT snap, number FROM "+turn.node.Engine.Own("received"))
	if err != nil {
		return fmt.Errorf("pass: read received batches: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var number int64
		if err := rows.Scan(&id, &number); err != nil {
			return fmt.Errorf("pass: read received batches: %w", err)
		}
		if turn.listed.known[id] < uint64(number) {
			if res.batches == nil {
				res.batches = make(map[string]uint64)
			}
			res.batches[id] = uint64(number)
		}
	}
	return rows.Err()
}

// noteListed notes that an entry is committed.
func (turn *Turn) noteListed(r *Made) {
	turn.listed.done = max(turn.listed.done, r.mark)
	if len(r.batches) > 0 {
		if turn.listed.known == nil {
			turn.listed.known = make(map[string]uint64)
		}
		maps.Copy(turn.listed.known, r.batches)
	}
}

// Raise makes the next entry list what received says: it is about to change in a transaction that makes the entry too.
func (l *Ledger) Raise() { l.commits.Add(1) }

// Open is Raise for a transaction that others do not wait for; Close follows when that has committed, or perhaps has.
func (l *Ledger) Open() {
	l.commits.Add(1)
	l.committing.Add(1)
}

// Close ends what Open began.
func (l *Ledger) Close() {
	l.commits.Add(1)
	l.committing.Add(-1)
}

// Relist makes the next entry list the numbers of these snaps again, or of all where none is named, for those who may not have heard
// them.
func (turn *Turn) Relist(queues ...string) {
	for _, id := range queues {
		delete(turn.listed.known, id)
	}
	if len(queues) == 0 {
		clear(turn.listed.known)
	}
	turn.s.Ledger.Raise()
}
