package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// sequencer turns noted keys into entries. Invariants:
//
//	S1  Passes are serial: whoever makes one has the turn, which there is once.
//	S2  A pass reads notes and rows in one snapshot, and an entry holds exactly what it read.
//	S3  The entry is in the journal no later than its notes are cleared (J2): by default
//	    both are one transaction.
//	S4  state.covered never exceeds the number of writes whose commit the last snapshot saw.
//	S5  An entry is made only at the end of the journal that this master has written: one by another hand stops it.
type sequencer struct {
	cfg   sequencing
	node  *store.Store
	epoch uint64
	// exclusive runs f alone, on the connection that passes use (S1); see do.
	exclusive func(ctx context.Context, f func(c *sql.Conn) error) error

	written atomic.Uint64 // writes whose entry is not made with them, counted after their commit
	wake    chan struct{} // capacity 1: a wake-up is never waited for
	hurry   chan struct{} // capacity 1: somebody waits for a pass, so that it must not be put off
	state   watch.Value[sequenced]
	recent  journal.Recent
	entries atomic.Uint64
	ledger  ledger
	turn    Turn
	// shared is set when the first snap comes: from then on the keys that the master
	// hands out are its own ones. Until then they are what they would be without ddb.
	// A transaction of MariaDB's that is open at that moment may still hand out any key.
	shared atomic.Bool
}

// sequencing is how often a sequencer works.
type sequencing struct {
	// PollInterval is how often it looks for the changes of clients that bypass ddb.
	PollInterval time.Duration
	// Heartbeat bounds the pause after a pass that has failed.
	Heartbeat time.Duration
	// Followed reports whether any follower is connected: while none is, passes are rarer under load.
	Followed func() bool
}

// sequenced is how far the sequencer has come.
type sequenced struct {
	pos     Position
	covered uint64    // writes up to this number are in pos
	at      time.Time // when the snapshot of pos was taken
	err     error     // why passes fail at present; nil when they do not
}

// newSequencer returns a sequencer that has yet to be told how it is alone, where history stands, and how often it works.
func newSequencer(n *store.Store) *sequencer {
	s := &sequencer{node: n, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	s.turn = Turn{s: s, node: n}
	s.ledger.raise() // so that the first pass looks
	return s
}

// Turn is the right to make entries, with the connection that they are made on. There is one, and whoever has it is alone with what it
// holds. It ends with the function that was given it.
type Turn struct {
	s    *sequencer
	node *store.Store
	conn *sql.Conn

	looked   time.Time  // when the schema version was last read
	unsure   []Position // of entries that were made and may stand, though nobody was told
	lockSeen uint64     // of store.Lock.Again, when the journal's end was last known to be ours
	over     error      // why there is no pass any more, nil while there is
	listed   listed
}

// do runs f when the turn is its (S1).
func (s *sequencer) do(ctx context.Context, f func(*Turn) error) error {
	return s.exclusive(ctx, func(c *sql.Conn) error { return f(s.within(c)) })
}

// within returns the turn to who has it without do: the writer's hooks, which run inside exclusive on its connection.
func (s *sequencer) within(c *sql.Conn) *Turn {
	s.turn.conn = c
	return &s.turn
}

// quick is the turn's connection for statements that come again and again.
func (turn *Turn) quick() dialect.Querier { return turn.node.Quick(turn.conn) }

// lookSoon makes the next pass look for changed tables.
func (turn *Turn) lookSoon() { turn.looked = time.Time{} }

// wakeUp asks for a pass. It never blocks.
func (s *sequencer) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// run makes passes until ctx ends: when woken, and every PollInterval for
// the sake of clients that bypass ddb.
func (s *sequencer) run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
		start := time.Now()
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			s.fail(err)
			if watch.Sleep(ctx, min(s.cfg.Heartbeat, time.Second)) != nil {
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
func (s *sequencer) rest(ctx context.Context, took time.Duration) {
	if len(s.wake) == 0 {
		return
	}
	rest := min(4*took, mostRest)
	switch {
	case !s.cfg.Followed():
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
func (s *sequencer) fail(err error) {
	s.state.Update(func(st sequenced) sequenced {
		if st.err == nil || st.err.Error() != err.Error() {
			s.node.Log.Error("writes are kept but not replicated at present", "lsn", st.pos.LSN, "error", err)
		}
		st.err = err
		return st
	})
}

// pass makes the next entry if anything was noted.
func (s *sequencer) pass(ctx context.Context) error {
	return s.do(ctx, func(turn *Turn) error {
		if err := turn.look(ctx); err != nil {
			return err
		}
		return turn.pass(ctx)
	})
}

// lookAgain is a pass that looks for changed tables too, however short ago that was done last.
func (s *sequencer) lookAgain(ctx context.Context) error {
	return s.do(ctx, func(turn *Turn) error { return turn.lookAgain(ctx) })
}

// lookAgain makes an entry of what was noted, and looks for changed tables before, however short ago that was done last.
func (turn *Turn) lookAgain(ctx context.Context) error {
	turn.lookSoon()
	if err := turn.look(ctx); err != nil {
		return err
	}
	return turn.pass(ctx)
}

// pass makes the next entry if anything was noted.
func (turn *Turn) pass(ctx context.Context) error {
	if err := turn.recall(ctx); err != nil {
		return err
	}
	before := turn.s.written.Load()
	if st := turn.s.state.Load(); st.covered >= before && st.err == nil && !turn.unlisted() {
		// Nothing is known to have been written: a glance is cheaper than a transaction.
		noted, err := turn.node.Engine.Noted(ctx, turn.quick(), turn.node.Tables.Load().Replicated())
		if err != nil {
			return fmt.Errorf("ddb: pass: look for notes: %w", err)
		}
		if len(noted) == 0 {
			return nil
		}
		before = turn.s.written.Load()
	}
	turn.listed.before = turn.s.ledger.commits.Load()
	var done *passResult
	err := turn.node.TxOn(ctx, turn.conn, dialect.Pass, func() (err error) {
		done, err = turn.collectTx(ctx)
		return err
	})
	if err != nil {
		turn.lookSoon() // a changed table is a likely cause
		return err
	}
	turn.publish(done, before)
	return nil
}

// collectTx is collect for a transaction in which another client may have changed tables: where that is
// part of what the transaction sees, it is part of the entry too.
func (turn *Turn) collectTx(ctx context.Context) (*passResult, error) {
	if !turn.node.Engine.Transactional() {
		return turn.collect(ctx, nil)
	}
	version, err := turn.node.Engine.Version(ctx, turn.quick())
	if err != nil {
		return nil, fmt.Errorf("ddb: pass: schema version: %w", err)
	}
	if version == turn.node.Tables.Load().Version {
		return turn.collect(ctx, nil)
	}
	turn.node.Log.Info("the schema has changed outside ddb; followers are brought level", "lsn", turn.s.state.Load().pos.LSN)
	res, err := turn.settleSchema(ctx, nil, true)
	if err != nil {
		turn.unsettle()
	}
	return res, err
}

// look notices what another client did to tables, now and then.
func (turn *Turn) look(ctx context.Context) error {
	if err := turn.recall(ctx); err != nil {
		return err // before anything is done to the triggers
	}
	now := time.Now()
	if now.Sub(turn.looked) < store.LookEvery {
		return nil
	}
	version, err := turn.node.Engine.Version(ctx, turn.conn)
	if err != nil {
		return fmt.Errorf("ddb: pass: schema version: %w", err)
	}
	if version != turn.node.Tables.Load().Version {
		if err := turn.reconcile(ctx); err != nil {
			return err
		}
	}
	turn.looked = now
	return nil
}

// passResult is an entry that stands in a transaction not yet committed.
type passResult struct {
	pos   Position
	at    time.Time
	parts []Part // nil if the entry was too large to keep
	any   bool

	batches map[string]uint64 // of snaps, listed in the entry
	mark    uint64            // see ledger
}

// extra is what an entry holds beside noted rows.
type extra struct {
	schema   []dialect.Statement
	rebuild  []*dialect.Table // tables whose every row the entry brings
	replaces bool             // followers have some of them, with rows
	first    bool             // the entry that starts the history may be empty
	counters bool             // those of all tables may have been set
}

// collect builds the next entry from the notes that it sees, appends it to the
// journal and clears the notes, all in the transaction that the turn's connection is in (S2, S3).
func (turn *Turn) collect(ctx context.Context, x *extra) (*passResult, error) {
	if err := turn.recall(ctx); err != nil {
		return nil, err
	}
	q := turn.quick()
	cat := turn.node.Tables.Load()
	last := turn.s.state.Load().pos
	res := &passResult{pos: last, at: time.Now()}
	noted, err := turn.node.Engine.Noted(ctx, q, cat.Replicated())
	if err != nil {
		return nil, fmt.Errorf("ddb: pass: look for notes: %w", err)
	}
	var kept int
	var external []Part
	b := journal.Begin(turn.node.Name, last, turn.s.epoch, res.at, func(p Part) error {
		if p.Final {
			turn.mayStand(p.Position())
		}
		if kept += len(p.Payload); kept <= journal.MaxRecent {
			res.parts = append(res.parts, p)
		} else {
			res.parts = nil
		}
		if j, ok := turn.node.Journal.(journal.Transactional); ok {
			return j.AppendIn(ctx, q, p)
		}
		external = append(external, p)
		return nil
	})
	if err := turn.list(ctx, res); err != nil {
		return nil, err
	}
	b.Body.Batches = res.batches
	if err := turn.addExtra(ctx, b, x); err != nil {
		return nil, err
	}
	if err := turn.addCounters(ctx, b, noted, x); err != nil {
		return nil, err
	}
	for _, t := range noted {
		emit := func(r dialect.Row) error { return b.Add(t, r) }
		if x != nil && slices.Contains(x.rebuild, t) {
			emit = func(dialect.Row) error { return nil } // its rows are in the entry already
		}
		notes, err := turn.node.Engine.Collect(ctx, q, t, emit)
		if err != nil {
			return nil, fmt.Errorf("ddb: pass: read table %s: %w", t.Name, err)
		}
		if err := turn.node.Engine.Clear(ctx, q, notes); err != nil {
			return nil, fmt.Errorf("ddb: pass: clear notes of table %s: %w", t.Name, err)
		}
	}
	if b.Empty() && (x == nil || !x.first) {
		return res, nil
	}
	if res.pos, err = b.Finish(); err != nil {
		return nil, err
	}
	if len(external) > 0 {
		if err := turn.node.Journal.Append(ctx, external...); err != nil {
			return nil, err
		}
	}
	res.any = true
	return res, nil
}

// maxUnsure is how many entries of one LSN may be in doubt: one for each commit that failed.
const maxUnsure = 64

// mayStand notes an entry whose transaction is about to be committed.
func (turn *Turn) mayStand(pos Position) {
	if len(turn.unsure) == maxUnsure {
		turn.unsure = slices.Delete(turn.unsure, 0, 1)
	}
	turn.unsure = append(turn.unsure, pos)
}

// recall finds out what became of an entry whose transaction did not end well: a commit that
// failed for its caller may have taken place all the same, and then its LSN is taken. An entry that is not ours is
// another master's, which had the database while this one had lost its lock: this one is over (S5).
func (turn *Turn) recall(ctx context.Context) error {
	if turn.over != nil {
		return turn.over
	}
	if err := turn.node.HoldsLock(ctx); err != nil {
		return err
	}
	again := turn.node.Lock.Again.Load()
	if len(turn.unsure) == 0 && again == turn.lockSeen {
		return nil
	}
	_, last, err := turn.node.Journal.Bounds(ctx)
	if err != nil {
		return err
	}
	pos := turn.s.state.Load().pos
	switch {
	case slices.Contains(turn.unsure, last):
		turn.node.Log.Warn("an entry stands although its commit had failed", "lsn", last.LSN)
		turn.unsure = nil
		turn.s.recent.Add(nil, last)
		turn.s.state.Update(func(st sequenced) sequenced { st.pos, st.at = last, time.Now(); return st })
	case last.LSN > pos.LSN || again != turn.lockSeen && last != pos:
		turn.over = fmt.Errorf("%w: node %s has made the entries up to %v, and the journal ends with %v by another hand; "+
			"its writes are kept: close this node and open the one that is to be the master", ErrSecondMaster, turn.node.ID, pos, last)
		return turn.over
	}
	turn.lockSeen = again
	return nil
}

// addExtra adds statements and whole tables.
func (turn *Turn) addExtra(ctx context.Context, b *journal.Entry, x *extra) error {
	if x == nil {
		return nil
	}
	b.Body.Schema, b.Body.Rebuild = x.schema, x.replaces
	for _, t := range x.rebuild {
		if err := turn.addWhole(ctx, t, b); err != nil {
			return err
		}
	}
	return nil
}

// addWhole adds every row of the table.
func (turn *Turn) addWhole(ctx context.Context, t *dialect.Table, b *journal.Entry) error {
	var after []any
	for more := true; more; {
		var err error
		more, err = turn.node.Engine.Scan(ctx, turn.quick(), t, after, journal.ApplyRows, func(values []any) error {
			after = journal.Pick(values, t.Key)
			return b.Add(t, dialect.Row{Key: after, Values: values})
		})
		if err != nil {
			return fmt.Errorf("ddb: pass: read table %s: %w", t.Name, err)
		}
	}
	return nil
}

// publish tells everyone of an entry whose transaction has committed. covered is
// the number of writes that were committed before its snapshot was opened.
func (turn *Turn) publish(r *passResult, covered uint64) {
	turn.noteListed(r)
	if r.any {
		turn.unsure = nil
		turn.s.recent.Add(r.parts, r.pos)
		turn.s.entries.Add(1)
	}
	turn.s.state.Update(func(st sequenced) sequenced {
		st.covered, st.err = max(st.covered, covered), nil
		if r.any {
			st.pos, st.at = r.pos, r.at
		}
		return st
	})
}

// covers waits until the write of that number is in an entry, and returns the entry's position or a later one.
func (s *sequencer) covers(ctx context.Context, write uint64) (Position, error) {
	for {
		st, changed := s.state.Watch()
		if st.covered >= write {
			return st.pos, nil
		}
		s.wakeUp()
		watch.Signal(s.hurry)
		select {
		case <-changed:
		case <-ctx.Done():
			return st.pos, ctx.Err()
		}
	}
}

// installKeys keeps the master's keys out of the ranges of the snaps.
func (turn *Turn) installKeys(ctx context.Context, tables []*dialect.Table) error {
	if !turn.s.sharesKeys() {
		return keys.Install(ctx, turn.node, turn.conn, nil, 0)
	}
	return keys.Install(ctx, turn.node, turn.conn, tables, keys.FirstSnap-1)
}

// sharesKeys reports whether the master's handed-out keys must keep clear of those of snaps.
func (s *sequencer) sharesKeys() bool { return s.shared.Load() }
