// Package settle decides on a master what becomes of the batches that snaps send: each is written whole, or met by a policy where the
// master's rows are no longer those that the snap had changed, or refused and kept as conflicts. A [Settler] is the intake of the
// fleet; it settles in transactions of its own, together with the number up to which each queue is settled, so that a batch
// counts once. The package also reads the table of conflicts, and writes the losing rows again when a person asks for it.
package settle

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// Settler decides what becomes of the batches of snaps. It is the intake of a master's fleet.
type Settler struct {
	node  *store.Store
	seq   *sequence.Sequencer
	cfg   Config
	jobs  chan *job // messages with batches, which wait to be settled
	tasks sync.WaitGroup

	// Run's own:
	conn    *sql.Conn // where the database has many writers
	forced  error     // why the only batch of the next attempt is refused
	failing time.Time // since when commits of what is to be settled have failed; zero if none has
	built   map[string]refusedRow
	began   journal.LSN // the master's end when it began to settle: what snaps had seen then may have been refused before
	recalls bool        // what was refused before that is yet to be read
	history history
	stamped int // rows stamped since the stamps were counted; at the start all may be there already
}

// Config is what a settler is told.
type Config struct {
	Policies  conflict.Policies
	Heartbeat time.Duration // bounds the pauses between attempts
	// MayWrite reports whether a snap's batches may do that to the table.
	MayWrite func(snap string, t journal.TableName, op access.Ops) bool
	// Heard is the time of the entry with which the journal ended when this node became the master, as [store.Store.EntryTime] tells it.
	Heard int64
	// MaxStamps is how many stamps are kept. A row without one counts as changed when its entry was made. Default 100,000.
	MaxStamps int
	// CommitPatience is how long a commit that fails is tried again before a batch is looked for that makes it fail. Default 30 s.
	CommitPatience time.Duration
}

// New returns a settler that takes batches before it runs.
func New(n *store.Store, s *sequence.Sequencer, cfg Config) *Settler {
	if cfg.MaxStamps == 0 {
		cfg.MaxStamps = 100_000
	}
	if cfg.CommitPatience == 0 {
		cfg.CommitPatience = 30 * time.Second
	}
	return &Settler{node: n, seq: s, cfg: cfg, jobs: make(chan *job, maxJobs), built: make(map[string]refusedRow), recalls: true}
}

// errOneByOne asks for the batches to be settled one at a time.
var errOneByOne = errors.New("batches must be settled one by one")

// try settles the batches together if it can: one that the database refuses
// takes no other with it, since each half is then tried by itself.
func (s *Settler) try(ctx context.Context, c *sql.Conn, list []*arrived) error {
	if len(list) == 0 {
		return nil
	}
	forced := s.forced
	if forced == nil {
		err := store.Savepoint(ctx, c, "ddb_settle", func() error { return s.attempt(ctx, c, list, nil) })
		switch {
		case err == nil || !s.node.Refusable(err):
			return err
		case len(list) > 1:
			if err := s.try(ctx, c, list[:len(list)/2]); err != nil {
				return err
			}
			return s.try(ctx, c, list[len(list)/2:])
		}
		forced = err
	}
	return s.attempt(ctx, c, list, forced)
}

// settlement is one attempt to settle some batches.
type settlement struct {
	s         *Settler
	ctx       context.Context
	c         *sql.Conn
	cat       *store.Catalogue
	alone     bool // one batch only
	tables    map[*dialect.Table]*tableStates
	conflicts []*conflictRow
	stamps    map[string]stamp
}

// tableStates holds the rows of a table as they are after the batches judged so far.
type tableStates struct {
	rows  map[string]*rowState
	order []*rowState
}

type rowState struct {
	key    []any
	was    []any // in the database
	values []any // now
	given  []bool
}

// set makes the outcome the row's state. A value that the row has on the master, or that it had when the snap changed it, is none
// that anybody chose here: what has come to forbid such a value since must not refuse the change of another.
func (s *rowState) set(o *outcome) {
	if o.values == nil {
		s.values, s.given = nil, nil
		return
	}
	if s.given == nil {
		s.given = make([]bool, len(o.values))
	}
	for i, v := range o.values {
		if s.values == nil || !batch.EqualValues(v, s.values[i]) { // else an earlier batch may have chosen it
			s.given[i] = o.base == nil || !batch.EqualValues(v, o.base[i])
		}
	}
	s.values = o.values
}

// attempt judges the batches in order and writes the outcome. With forced, the only batch is refused.
func (s *Settler) attempt(ctx context.Context, c *sql.Conn, list []*arrived, forced error) error {
	st := &settlement{s: s, ctx: ctx, c: c, cat: s.node.Tables.Load(), alone: len(list) == 1,
		tables: make(map[*dialect.Table]*tableStates), stamps: make(map[string]stamp)}
	if err := st.lookup(list); err != nil {
		return err
	}
	for _, a := range list {
		if err := st.judge(a, forced); err != nil {
			return err
		}
	}
	if forced != nil {
		for _, cr := range st.conflicts { // those that have a reason of their own have lost for this one
			if why := reasonOf(forced); cr.reason != why {
				cr.reason += "; " + why
			}
		}
	}
	if err := st.writeExactly(); err != nil {
		return err
	}
	if err := st.written(); err != nil {
		return err
	}
	if err := st.record(); err != nil {
		return err
	}
	return st.stamp()
}

// lookup reads and locks the rows that the batches are about.
func (st *settlement) lookup(list []*arrived) error {
	keys := make(map[*dialect.Table][][]any)
	var order []*dialect.Table
	var buf []byte
	for _, a := range list {
		for _, c := range a.batch.Changes {
			t := st.cat.ByName[journal.TableName{Database: c.Database, Table: c.Table}]
			if t == nil || t.Refusal != "" {
				continue
			}
			if !t.ExactKey && !st.alone {
				return errOneByOne
			}
			states := st.tables[t]
			if states == nil {
				states = &tableStates{rows: make(map[string]*rowState)}
				st.tables[t] = states
				order = append(order, t)
			}
			if len(c.Key) != len(t.Key) {
				continue
			}
			err := c.Each(func(r dialect.Row) error {
				buf = wire.AppendRow(buf[:0], r.Key)
				if states.rows[string(buf)] == nil {
					state := &rowState{key: r.Key}
					states.rows[string(buf)] = state
					states.order = append(states.order, state)
					keys[t] = append(keys[t], r.Key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	for _, t := range order {
		if err := st.lookupTable(t, keys[t]); err != nil {
			return err
		}
	}
	return nil
}

func (st *settlement) lookupTable(t *dialect.Table, keys [][]any) error {
	states := st.tables[t]
	if t.ExactKey {
		var buf []byte
		return st.s.node.Engine.Lookup(st.ctx, st.c, t, keys, func(r dialect.Row) error {
			buf = wire.AppendRow(buf[:0], r.Key)
			if state := states.rows[string(buf)]; state != nil {
				state.was = journal.CloneValues(r.Values)
				state.values = state.was
			}
			return nil
		})
	}
	for _, state := range states.order { // one by one: the key that comes back may be written in another way
		err := st.s.node.Engine.Lookup(st.ctx, st.c, t, [][]any{state.key}, func(r dialect.Row) error {
			state.was = journal.CloneValues(r.Values)
			state.values = state.was
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write stores the rows. The order in which foreign keys and unique values let them pass
// differs, so the usual ones are tried in turn.
func (st *settlement) write() error {
	var present, absent []tableWrite
	for _, t := range st.cat.List {
		states := st.tables[t]
		if states == nil {
			continue
		}
		var up, del []dialect.Row
		var touch [][]any
		for _, r := range states.order {
			switch {
			case batch.EqualRows(r.was, r.values):
				touch = append(touch, r.key)
			case r.values == nil:
				del = append(del, dialect.Row{Key: r.key})
			default:
				up = append(up, dialect.Row{Key: journal.Pick(r.values, t.Key), Values: r.values, Given: r.given})
			}
		}
		if len(touch) > 0 {
			if err := st.s.node.Engine.Touch(st.ctx, st.c, t, touch); err != nil {
				return err
			}
		}
		if len(up) > 0 {
			present = append(present, tableWrite{t, up})
		}
		if len(del) > 0 {
			absent = append(absent, tableWrite{t, del})
		}
	}
	slices.Reverse(absent) // children before parents
	orders := [][]tableWrite{slices.Concat(present, absent)}
	if len(absent) > 0 && len(present) > 0 {
		orders = append(orders, slices.Concat(absent, present))
	}
	var err error
	for i, order := range orders {
		if i == len(orders)-1 && !st.alone {
			return st.apply(order) // the caller undoes it
		}
		err = store.Savepoint(st.ctx, st.c, "ddb_write", func() error { return st.apply(order) })
		if err == nil || !st.s.node.Refusable(err) {
			return err
		}
	}
	if patient := st.rowByRow(orders[len(orders)-1]); patient != nil {
		return err // the first error is the clearer one
	}
	return nil
}

type tableWrite struct {
	t    *dialect.Table
	rows []dialect.Row
}

func (st *settlement) apply(list []tableWrite) error {
	for _, w := range list {
		if err := st.s.node.Engine.Apply(st.ctx, st.c, w.t, w.rows, dialect.Strict); err != nil {
			return err
		}
	}
	return nil
}

// rowByRow writes the rows one at a time, again and again as long as that helps: rows
// of one table may refer to each other.
func (st *settlement) rowByRow(list []tableWrite) error {
	var left []tableWrite
	for _, w := range list {
		for i := range w.rows {
			left = append(left, tableWrite{w.t, w.rows[i : i+1]})
		}
	}
	for len(left) > 0 {
		var still []tableWrite
		var last error
		for _, w := range left {
			err := store.Savepoint(st.ctx, st.c, "ddb_write", func() error { return st.apply([]tableWrite{w}) })
			if err != nil && !st.s.node.Refusable(err) {
				return err
			}
			if err != nil {
				still, last = append(still, w), err
			}
		}
		if len(still) == len(left) {
			return last
		}
		left = still
	}
	return nil
}

// record stores the conflicts.
func (st *settlement) record() error {
	if len(st.conflicts) == 0 {
		return nil
	}
	t := st.cat.ByName[journal.TableName{Database: store.OwnDatabase, Table: "conflicts"}]
	if t == nil || t.Refusal != "" {
		return fmt.Errorf("node %s has no table of conflicts", st.s.node.ID)
	}
	most := journal.MostValue(st.s.node.Engine)
	rows := make([]dialect.Row, len(st.conflicts))
	for i, c := range st.conflicts {
		values, err := c.values(t, rand.Text(), time.Now().UnixNano(), most)
		if err != nil {
			return err
		}
		rows[i] = dialect.Row{Key: journal.Pick(values, t.Key), Values: values}
	}
	return st.s.node.Engine.Apply(st.ctx, st.c, t, rows, dialect.Strict)
}

// errCommit: the rows of a settlement could be written, but it could not be made an entry or be committed.
var errCommit = errors.New("commit")

// passing reports whether the error is that of a commit, or of the journal, which as a rule has nothing to do with what the
// batches hold, and may not come back.
func (s *Settler) passing(err error) bool {
	if !errors.Is(err, errCommit) || s.aboutRows(err) {
		return false
	}
	if s.failing.IsZero() {
		s.failing = time.Now()
	}
	return time.Since(s.failing) < s.cfg.CommitPatience
}

// aboutRows reports whether a database that judges some of a transaction only when that ends has found only then that rows are too large,
// or break a constraint. One with many writers judges each row as it is written.
func (s *Settler) aboutRows(err error) bool {
	return s.node.SingleWriter() && s.node.Fault(err).Is(dialect.TooLarge|dialect.Constraint)
}
