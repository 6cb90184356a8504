package sequence

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Turn is the right to make entries, with the connection that they are made on. There is one, and whoever has it is alone with what it
// holds. It ends with the function that was given it.
type Turn struct {
	s    *Sequencer
	node *store.Store
	Conn *sql.Conn

	looked   time.Time          // when the schema version was last read
	unsure   []journal.Position // of entries that were made and may stand, though nobody was told
	lockSeen uint64             // of store.Lock.Again, when the journal's end was last known to be ours
	over     error              // why there is no pass any more, nil while there is
	listed   listed
	known    *schema.State // as the last entry about the schema has told it; its catalogue is the node's, unless others have read that since
	quiet    string        // see changes: when it was so, nothing was noted
}

// Do runs f when the turn is its (S1).
func (s *Sequencer) Do(ctx context.Context, f func(*Turn) error) error {
	return s.Exclusive(ctx, func(c *sql.Conn) error { return f(s.within(c)) })
}

// within returns the turn to who has it without Do: the writer's hooks, which run on its connection while it has the turn.
func (s *Sequencer) within(c *sql.Conn) *Turn {
	s.turn.Conn = c
	return &s.turn
}

// quick is the turn's connection for statements that come again and again.
func (turn *Turn) quick() dialect.Querier { return turn.node.Quick(turn.Conn) }

// LookSoon makes the next pass look for changed tables.
func (turn *Turn) LookSoon() { turn.looked = time.Time{} }

// LookAgain makes an entry of what was noted, and looks for changed tables before, however short ago that was done last.
func (turn *Turn) LookAgain(ctx context.Context) error {
	turn.LookSoon()
	if err := turn.Look(ctx); err != nil {
		return err
	}
	return turn.Pass(ctx)
}

// Pass makes the next entry if anything was noted.
func (turn *Turn) Pass(ctx context.Context) error {
	if err := turn.recall(ctx); err != nil {
		return err
	}
	before := turn.s.Written.Load()
	if st := turn.s.State.Load(); st.Covered >= before && st.Err == nil && !turn.unlisted() {
		// Nothing is known to have been written: a glance is cheaper than a transaction.
		noted, err := turn.noted(ctx)
		if err != nil || len(noted) == 0 {
			return err
		}
		before = turn.s.Written.Load()
	}
	turn.listed.before = turn.s.Ledger.commits.Load()
	var done *Made
	err := turn.node.TxOn(ctx, turn.Conn, dialect.Pass, func() (err error) {
		done, err = turn.collectTx(ctx)
		return err
	})
	if err != nil {
		turn.LookSoon() // a changed table is a likely cause
		return err
	}
	turn.Publish(done, before)
	return nil
}

// noted lists the tables that have notes. While no row has changed since there were none, it need not look.
func (turn *Turn) noted(ctx context.Context) ([]*dialect.Table, error) {
	now, err := turn.changes(ctx)
	if err != nil || now != "" && now == turn.quiet {
		return nil, err
	}
	noted, err := turn.node.Engine.Noted(ctx, turn.quick(), turn.node.Tables.Load().Replicated())
	if err != nil {
		return nil, fmt.Errorf("pass: look for notes: %w", err)
	}
	if len(noted) == 0 {
		turn.quiet = now
	}
	return noted, nil
}

// changes returns a text that stays the same while no row changes; "" where the engine cannot tell.
func (turn *Turn) changes(ctx context.Context) (string, error) {
	e, ok := turn.node.Engine.(dialect.ChangeCounter)
	if !ok {
		return "", nil
	}
	now, err := e.Changes(ctx, turn.Conn)
	if err != nil {
		return "", fmt.Errorf("pass: look for changes: %w", err)
	}
	return now, nil
}

// collectTx is Collect for a transaction in which another client may have changed tables: where that is
// part of what the transaction sees, it is part of the entry too.
func (turn *Turn) collectTx(ctx context.Context) (*Made, error) {
	if !turn.node.Engine.Transactional() {
		return turn.Collect(ctx)
	}
	version, err := turn.node.Engine.Version(ctx, turn.quick())
	if err != nil {
		return nil, fmt.Errorf("pass: schema version: %w", err)
	}
	if version == turn.node.Tables.Load().Version {
		return turn.Collect(ctx)
	}
	turn.node.Log.Info("the schema has changed outside ddb; followers are brought level", "lsn", turn.s.State.Load().Pos.LSN)
	res, err := turn.settleSchema(ctx, nil, true)
	if err != nil {
		turn.unsettle()
	}
	return res, err
}

// Look notices what another client did to tables, now and then.
func (turn *Turn) Look(ctx context.Context) error {
	if err := turn.recall(ctx); err != nil {
		return err // before anything is done to the triggers
	}
	now := time.Now()
	if now.Sub(turn.looked) < store.LookEvery {
		return nil
	}
	version, err := turn.node.Engine.Version(ctx, turn.Conn)
	if err != nil {
		return fmt.Errorf("pass: schema version: %w", err)
	}
	if version != turn.node.Tables.Load().Version {
		if err := turn.reconcile(ctx); err != nil {
			return err
		}
	}
	turn.looked = now
	return nil
}

// Made is an entry that stands in a transaction not yet committed.
type Made struct {
	pos   journal.Position
	at    time.Time
	parts []journal.Part // nil if the entry was too large to keep
	any   bool

	batches map[string]uint64 // of snaps, listed in the entry
	mark    uint64            // see turn.listed

	schema *schema.State // that the entry tells of, if it is about that
	quiet  string        // see Turn.quiet; "" if that is not known
}

// extra is what an entry holds beside noted rows.
type extra struct {
	schema   []dialect.Statement
	rebuild  []*dialect.Table // tables whose every row the entry brings
	replaces bool             // followers have some of them, with rows
	first    bool             // the entry that starts the history may be empty
	counters bool             // those of all tables may have been set
	noted    []*dialect.Table // no other tables have notes; nil if any may
}

// Collect builds the next entry from the notes that it sees, appends it to the
// journal and clears the notes, all in the transaction that the turn's connection is in (S2, S3).
func (turn *Turn) Collect(ctx context.Context) (*Made, error) { return turn.collect(ctx, nil) }

// collect is Collect of an entry that also holds x, which may be nil.
func (turn *Turn) collect(ctx context.Context, x *extra) (*Made, error) {
	if err := turn.recall(ctx); err != nil {
		return nil, err
	}
	q := turn.quick()
	cat := turn.node.Tables.Load()
	last := turn.s.State.Load().Pos
	res := &Made{pos: last, at: time.Now()}
	among := cat.Replicated()
	if x != nil && x.noted != nil {
		among = x.noted
	}
	noted, err := turn.node.Engine.Noted(ctx, q, among)
	if err != nil {
		return nil, fmt.Errorf("pass: look for notes: %w", err)
	}
	var kept int
	var external []journal.Part
	b := journal.Begin(turn.node.Name, last, turn.s.Epoch, res.at, func(p journal.Part) error {
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
			return nil, fmt.Errorf("pass: read table %s: %w", t.Name, err)
		}
		if err := turn.node.Engine.Clear(ctx, q, notes); err != nil {
			return nil, fmt.Errorf("pass: clear notes of table %s: %w", t.Name, err)
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
func (turn *Turn) mayStand(pos journal.Position) {
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
	pos := turn.s.State.Load().Pos
	switch {
	case slices.Contains(turn.unsure, last):
		turn.node.Log.Warn("an entry stands although its commit had failed", "lsn", last.LSN)
		turn.unsure = nil
		turn.s.Recent.Add(nil, last)
		turn.s.State.Update(func(st State) State { st.Pos, st.At = last, time.Now(); return st })
	case last.LSN > pos.LSN || again != turn.lockSeen && last != pos:
		turn.over = fmt.Errorf("%w: node %s has made the entries up to %v, and the journal ends with %v by another hand; "+
			"its writes are kept: close this node and open the one that is to be the master", fault.ErrSecondMaster, turn.node.ID, pos, last)
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
			return fmt.Errorf("pass: read table %s: %w", t.Name, err)
		}
	}
	return nil
}

// Publish tells everyone of an entry whose transaction has committed. covered is
// the number of writes that were committed before its snapshot was opened.
func (turn *Turn) Publish(r *Made, covered uint64) {
	turn.noteListed(r)
	if r.schema != nil {
		turn.known = r.schema
	}
	if r.quiet != "" {
		turn.quiet = r.quiet
	}
	if r.any {
		turn.unsure = nil
		turn.s.Recent.Add(r.parts, r.pos)
	}
	turn.s.State.Update(func(st State) State {
		st.Covered, st.Err = max(st.Covered, covered), nil
		if r.any {
			st.Pos, st.At = r.pos, r.at
		}
		return st
	})
}

// InstallKeys keeps the master's keys out of the ranges of the snaps.
func (turn *Turn) InstallKeys(ctx context.Context, tables []*dialect.Table) error {
	if !turn.s.SharesKeys() {
		return keys.Install(ctx, turn.node, turn.Conn, nil, 0)
	}
	return keys.Install(ctx, turn.node, turn.Conn, tables, keys.FirstSnap-1)
}

// BeforeCommit makes the entry of the writer's transaction part of it (write.Hooks.Commit); what it returns is called after the commit.
func (s *Sequencer) BeforeCommit(ctx context.Context, c *sql.Conn) (func() journal.Position, error) {
	turn := s.within(c)
	return turn.afterCommit(func() (*Made, error) { return turn.collectTx(ctx) })
}

// BeforeSchemaCommit is BeforeCommit for a transaction of the program's own that has run schema statements.
func (s *Sequencer) BeforeSchemaCommit(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() journal.Position, error) {
	turn := s.within(c)
	after, err := turn.afterCommit(func() (*Made, error) { return turn.settleSchema(ctx, statements, true) })
	if err != nil {
		turn.unsettle()
	}
	return after, err
}

// afterCommit makes an entry, and returns what publishes it.
func (turn *Turn) afterCommit(entry func() (*Made, error)) (func() journal.Position, error) {
	covered := turn.s.Written.Load() // before anything is read (S4)
	made, err := entry()
	if err != nil {
		return nil, err
	}
	return func() journal.Position {
		turn.Publish(made, covered)
		return turn.s.State.Load().Pos
	}, nil
}
