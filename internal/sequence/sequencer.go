// Package sequence makes the entries of the journal on a master, one after another. An entry says three things: what the capture has
// noted, what schema statements have done, and how far the batches of snaps have come. The package owns the end of the history: nothing
// is added to the journal of a master but by a [Turn]. It tells followers nothing; they watch [Sequencer.State].
package sequence

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// Sequencer turns noted keys into entries. Invariants:
//
//	S1  Passes are serial: whoever makes one has the turn, which there is once.
//	S2  A pass reads notes and rows in one snapshot, and an entry holds exactly what it read.
//	S3  The entry is in the journal no later than its notes are cleared (J2): by default
//	    both are one transaction.
//	S4  State.Covered never exceeds the number of writes whose commit the last snapshot saw.
//	S5  An entry is made only at the end of the journal that this master has written: one by another hand stops it.
//
// Config, Exclusive and Epoch are set before it is used.
type Sequencer struct {
	Config Config
	node   *store.Store
	Epoch  uint64 // the number of this master's reign
	// Exclusive runs f alone, on the connection that passes use (S1). Others use Do.
	Exclusive func(ctx context.Context, f func(c *sql.Conn) error) error

	Written atomic.Uint64 // writes whose entry is not made with them, counted after their commit
	wake    chan struct{} // capacity 1: a wake-up is never waited for
	hurry   chan struct{} // capacity 1: somebody waits for a pass, so that it must not be put off
	State   watch.Value[State]
	Recent  journal.Recent // the newest entries, for senders that are level
	Ledger  Ledger
	turn    Turn
	// Shared is set when the first snap comes: from then on the keys that the master
	// hands out are its own ones. Until then they are what they would be without ddb.
	// A transaction of MariaDB's that is open at that moment may still hand out any key.
	Shared atomic.Bool
}

// Config is how often a sequencer works.
type Config struct {
	// PollInterval is how often it looks for the changes of clients that bypass ddb.
	PollInterval time.Duration
	// Heartbeat bounds the pause after a pass that has failed.
	Heartbeat time.Duration
	// Followed reports whether any follower is connected: while none is, passes are rarer under load.
	Followed func() bool
}

// State is how far the sequencer has come.
type State struct {
	Pos     journal.Position
	Covered uint64    // writes up to this number are in entries up to Pos
	At      time.Time // when the snapshot of Pos was taken
	Err     error     // why passes fail at present; nil when they do not
}

// New returns a sequencer that has yet to be told how it is alone, where history stands, and how often it works.
func New(n *store.Store) *Sequencer {
	s := &Sequencer{node: n, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	s.turn = Turn{s: s, node: n}
	s.Ledger.Raise() // so that the first pass looks
	return s
}

// WakeUp asks for a pass. It never blocks.
func (s *Sequencer) WakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// Run makes passes until ctx ends: when woken, and every PollInterval for
// the sake of clients that bypass ddb.
func (s *Sequencer) Run(ctx context.Context) {
	tick := time.NewTicker(s.Config.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
		start := time.Now()
		if err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			s.fail(err)
			if watch.Sleep(ctx, min(s.Config.Heartbeat, time.Second)) != nil {
				return
			}
		}
		s.rest(ctx, time.Since(start))
	}
}

// The longest pauses between two passes under load: while somebody follows, and while nobody does.
const (
	mostRest = 10 * time.Millisecond
	loneRest = 100 * time.Millisecond
)

// rest leaves the database to the writers for a few times as long as a pass took, if there were writes
// meanwhile: fewer passes bring as many rows. At rest, and when somebody waits, there is no pause.
func (s *Sequencer) rest(ctx context.Context, took time.Duration) {
	if len(s.wake) == 0 {
		return
	}
	rest := min(4*took, mostRest)
	switch {
	case !s.Config.Followed():
		rest = loneRest
	case s.node.SingleWriter():
		rest = mostRest // who writes waits for the pass
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.hurry:
	case <-ctx.Done():
	}
}

// fail reports that passes fail, once per change of the reason.
func (s *Sequencer) fail(err error) {
	s.State.Update(func(st State) State {
		if st.Err == nil || st.Err.Error() != err.Error() {
			s.node.Log.Error("writes are kept but not replicated at present", "lsn", st.Pos.LSN, "error", err)
		}
		st.Err = err
		return st
	})
}

// Pass makes the next entry if anything was noted.
func (s *Sequencer) Pass(ctx context.Context) error {
	return s.Do(ctx, func(turn *Turn) error {
		if err := turn.Look(ctx); err != nil {
			return err
		}
		return turn.Pass(ctx)
	})
}

// LookAgain is a pass that looks for changed tables too, however short ago that was done last.
func (s *Sequencer) LookAgain(ctx context.Context) error {
	return s.Do(ctx, func(turn *Turn) error { return turn.LookAgain(ctx) })
}

// Covers waits until the write of that number is in an entry, and returns the entry's position or a later one.
func (s *Sequencer) Covers(ctx context.Context, write uint64) (journal.Position, error) {
	for {
		st, changed := s.State.Watch()
		if st.Covered >= write {
			return st.Pos, nil
		}
		s.WakeUp()
		watch.Signal(s.hurry)
		select {
		case <-changed:
		case <-ctx.Done():
			return st.Pos, ctx.Err()
		}
	}
}

// Count counts a write whose entry is not made with it, after its commit, and returns its number.
func (s *Sequencer) Count() uint64 { return s.Written.Add(1) }

// End returns the last entry.
func (s *Sequencer) End() journal.Position { return s.State.Load().Pos }

// SharesKeys reports whether the master's handed-out keys must keep clear of those of snaps.
func (s *Sequencer) SharesKeys() bool { return s.Shared.Load() }
