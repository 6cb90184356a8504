package ddb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/wire"
)

// settler decides what becomes of the batches of snaps. One goroutine uses it.
type settler struct {
	*master
	conn    *sql.Conn // where the database has many writers
	forced  error     // why the only batch of the next attempt is refused
	built   map[string]*refusedRow
	history history
	stamped int // rows stamped since the stamps were counted; at the start all may be there already
}

// refusedRow is what a snap's row would be if its batch had not been refused.
type refusedRow struct {
	number uint64
	values []any
}

// maxBuilt limits how many refused rows are remembered, to tell batches that were built on them.
const maxBuilt = 100_000

// errOneByOne asks for the batches to be settled one at a time.
var errOneByOne = errors.New("ddb: batches must be settled one by one")

// try settles the batches together if it can: one that the database refuses
// takes no other with it, since each half is then tried by itself.
func (s *settler) try(ctx context.Context, c *sql.Conn, list []*arrived) error {
	if len(list) == 0 {
		return nil
	}
	forced := s.forced
	if forced == nil {
		err := savepoint(ctx, c, "ddb_settle", func() error { return s.attempt(ctx, c, list, nil) })
		switch {
		case err == nil || !refusable(err):
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

// savepoint runs f so that nothing is left of it if it fails.
func savepoint(ctx context.Context, c *sql.Conn, name string, f func() error) error {
	if _, err := c.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	err := f()
	if err != nil {
		if _, rerr := c.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+name); rerr != nil {
			return fmt.Errorf("%w: %w", ErrClosed, errors.Join(err, rerr)) // the transaction is over
		}
	}
	if _, rerr := c.ExecContext(ctx, "RELEASE SAVEPOINT "+name); rerr != nil {
		return errors.Join(err, rerr)
	}
	return err
}

// settlement is one attempt to settle some batches.
type settlement struct {
	*settler
	ctx       context.Context
	c         *sql.Conn
	cat       *catalogue
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
}

// attempt judges the batches in order and writes the outcome. With forced, the only batch is refused.
func (s *settler) attempt(ctx context.Context, c *sql.Conn, list []*arrived, forced error) error {
	st := &settlement{settler: s, ctx: ctx, c: c, cat: s.tables.Load(), alone: len(list) == 1,
		tables: make(map[*dialect.Table]*tableStates), stamps: make(map[string]stamp)}
	if err := st.lookup(list); err != nil {
		return err
	}
	for _, a := range list {
		if err := st.judge(a, forced); err != nil {
			return err
		}
	}
	if err := st.write(); err != nil {
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
			t := st.cat.byName[tableName{c.Database, c.Table}]
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
			err := c.each(func(r dialect.Row) error {
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
		return st.engine.Lookup(st.ctx, st.c, t, keys, func(r dialect.Row) error {
			buf = wire.AppendRow(buf[:0], r.Key)
			if state := states.rows[string(buf)]; state != nil {
				state.was = cloneValues(r.Values)
				state.values = state.was
			}
			return nil
		})
	}
	for _, state := range states.order { // one by one: the key that comes back may be written in another way
		err := st.engine.Lookup(st.ctx, st.c, t, [][]any{state.key}, func(r dialect.Row) error {
			state.was = cloneValues(r.Values)
			state.values = state.was
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// outcome is what becomes of one row of a batch.
type outcome struct {
	t      *dialect.Table
	state  *rowState
	values []any // to be stored
	stamp  bool  // remember when it was made
	base   []any
	local  []any

	conflict *conflictRow // nil if there is none
	// met is a conflict if the batch has more to change: under master wins, another transaction has brought
	// the row to where this one wants it, so that this one would be applied by half.
	met *conflictRow
}

// judge decides on one batch.
func (st *settlement) judge(a *arrived, forced error) error {
	a.refused, a.reason = false, ""
	if forced != nil {
		a.refused, a.reason = true, reasonOf(forced)
	}
	var list []*outcome
	for _, c := range a.batch.Changes {
		name := tableName{c.Database, c.Table}
		sh, why := st.shapeOf(c, st.cat.byName[name])
		if why != "" {
			a.refused, a.reason = true, why
		}
		err := c.each(func(r dialect.Row) error {
			o, err := st.outcome(a, name, sh, c, r)
			if err != nil {
				return err
			}
			list = append(list, o)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !a.refused {
		a.refused = half(list)
	}
	if a.refused {
		st.refuse(a, list)
		return nil
	}
	for _, o := range list {
		o.state.values = o.values
		if o.conflict != nil {
			st.conflicts = append(st.conflicts, o.conflict)
		}
		if o.stamp {
			st.stamps[st.stampKey(o.t, o.state.key)] = stamp{At: a.at, Node: a.snap, Sum: st.sum(o.values)}
		}
	}
	return nil
}

// half reports whether a batch would be applied by half, and makes conflicts of the rows that
// others have brought to where it wants them.
func half(list []*outcome) bool {
	changes, met := false, false
	for _, o := range list {
		changes = changes || !equalRows(o.values, o.state.values)
		met = met || o.met != nil
	}
	if !changes || !met {
		return false
	}
	for _, o := range list {
		if o.met != nil {
			o.conflict = o.met
		}
	}
	return true
}

// outcome decides on one row, and may refuse the whole batch.
func (st *settlement) outcome(a *arrived, name tableName, sh *shape, c *batchChange, r dialect.Row) (*outcome, error) {
	o := &outcome{t: sh.t}
	cr := &conflictRow{a: a, table: name, columns: c.Columns, key: r.Key, keyAt: c.Key, base: r.Base, local: r.Values, outcome: "refused"}
	if sh.t == nil {
		o.conflict = cr
		return o, nil
	}
	o.state = st.tables[sh.t].rows[string(wire.AppendRow(nil, r.Key))]
	remote := o.state.values
	base, local, why, err := sh.fit(st, r, remote)
	if err != nil {
		return nil, err
	}
	o.base, o.local, o.values = base, local, remote
	cr.theirs, cr.columns, cr.keyAt, cr.remote, cr.base, cr.local = sh.t.Stored, sh.t.Stored, sh.t.Key, remote, base, local
	if why == "" && !st.opts.Snaps[a.snap].allows(name, opOf(base, local)) {
		why = fmt.Sprintf("snap %s may not do this to table %s (Options.Snaps of the master)", a.snap, name)
	}
	switch {
	case why != "":
		a.refused, a.reason = true, why
		cr.base, cr.local, cr.columns, cr.keyAt = r.Base, r.Values, c.Columns, c.Key
		o.conflict = cr
	case equalRows(remote, local):
		if p := st.opts.policy(name); p.is(MasterWins) && !sh.t.Own && !equalRows(remote, base) {
			cr.policy, cr.outcome, cr.reason = p.String(), "master", clashReason(base, local, remote)+" in the same way"
			o.met = cr
		}
	case equalRows(remote, base):
		o.values = local
		o.stamp = st.opts.policy(name).is(NewestWins)
	case sh.t.Own:
		if remote != nil {
			o.values = local // a person has settled it
		}
	default:
		o.conflict = cr
		if err := st.clash(a, o, cr); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func opOf(base, local []any) Ops {
	switch {
	case base == nil:
		return Insert
	case local == nil:
		return Delete
	}
	return Update
}

// clash settles a row that both sides have changed.
func (st *settlement) clash(a *arrived, o *outcome, cr *conflictRow) error {
	p := st.opts.policy(cr.table)
	cr.policy = p.String()
	cr.reason = clashReason(cr.base, cr.local, cr.remote)
	if b := st.built[st.builtKey(a, cr)]; b != nil && equalRows(b.values, cr.base) {
		cr.reason = fmt.Sprintf("built on batch %d, which was refused; %s", b.number, cr.reason)
	}
	switch {
	case p.resolve != nil:
		return st.ask(a, o, cr, p)
	case p.is(SnapWins):
		o.values, cr.outcome = o.local, "snap"
	case p.is(NewestWins):
		at, node, err := st.changedAt(a, o)
		if err != nil {
			return err
		}
		if a.at > at || a.at == at && a.snap > node {
			o.values, o.stamp, cr.outcome = o.local, true, "snap"
		} else {
			cr.outcome = "master"
		}
	case p.is(MergeColumns):
		st.merge(o, cr)
	default:
		a.refused = true
		cr.outcome = "master"
	}
	return nil
}

// clashReason says in words what each side did.
func clashReason(base, local, remote []any) string {
	did := func(row []any) string {
		switch {
		case row == nil:
			return "deleted"
		case base == nil:
			return "inserted"
		}
		return "changed"
	}
	if base != nil && remote != nil || base == nil {
		return fmt.Sprintf("the snap %s the row, which had been %s on the master", did(local), did(remote))
	}
	return fmt.Sprintf("the snap %s the row, which the master does not have any more", did(local))
}

// merge takes each column from the side that changed it.
func (st *settlement) merge(o *outcome, cr *conflictRow) {
	remote := o.state.values
	if o.base == nil || o.local == nil || remote == nil {
		cr.outcome = "master"
		return
	}
	merged := slices.Clone(remote)
	var both []string
	for i := range merged {
		switch {
		case equalValues(o.local[i], o.base[i]) || equalValues(o.local[i], remote[i]):
		case equalValues(remote[i], o.base[i]):
			merged[i] = o.local[i]
		default:
			both = append(both, o.t.Stored[i])
		}
	}
	o.values, cr.outcome = merged, "merged"
	if len(both) == 0 {
		o.conflict = nil
		return
	}
	cr.reason = "both changed " + strings.Join(both, ", ") + "; the master's value stands"
}

// ask lets the program's function settle the row.
func (st *settlement) ask(a *arrived, o *outcome, cr *conflictRow, p Policy) error {
	row, err := p.resolve(Collision{Database: cr.table.database, Table: cr.table.table, Base: rowMap(o.t, o.base),
		Local: rowMap(o.t, o.local), Remote: rowMap(o.t, o.state.values), Origin: a.snap, At: time.Unix(0, a.at)})
	var values []any
	if err == nil {
		values, err = rowValues(o.t, row, o.state.key)
	}
	if err != nil {
		a.refused, cr.reason = true, fmt.Sprintf("the function %q: %v", p.name, err)
		return nil
	}
	o.values, cr.outcome = values, "function"
	return nil
}

func rowMap(t *dialect.Table, values []any) map[string]any {
	if values == nil {
		return nil
	}
	m := make(map[string]any, len(values))
	for i, name := range t.Stored {
		m[name] = values[i]
	}
	return m
}

// rowValues is the inverse of rowMap, with mistakes told.
func rowValues(t *dialect.Table, m map[string]any, key []any) ([]any, error) {
	if m == nil {
		return nil, nil
	}
	values := make([]any, len(t.Stored))
	for i, name := range t.Stored {
		v, ok := m[name]
		switch n := v.(type) {
		case int:
			v = int64(n)
		case bool:
			v = int64(0)
			if n {
				v = int64(1)
			}
		}
		if !ok || !wire.IsValue(v) {
			return nil, fmt.Errorf("column %s is missing or of type %T", name, v)
		}
		values[i] = v
	}
	if !equalRows(pick(values, t.Key), key) {
		return nil, errors.New("it changed the key")
	}
	return values, nil
}

// refuse keeps every row of a refused batch as a conflict (nothing is dropped).
func (st *settlement) refuse(a *arrived, list []*outcome) {
	if a.reason == "" {
		a.reason = "another row of the same transaction lost"
	}
	if len(st.built) > maxBuilt {
		clear(st.built)
	}
	for _, o := range list {
		if o.t != nil && o.t.Own {
			continue
		}
		cr := o.conflict
		if cr == nil {
			cr = &conflictRow{a: a, table: st.name(o.t), columns: o.t.Stored, theirs: o.t.Stored, key: o.state.key, keyAt: o.t.Key, base: o.base, local: o.local, remote: o.state.values}
		}
		cr.outcome = "refused"
		if cr.policy == "" {
			cr.policy = st.opts.policy(cr.table).String()
		}
		if cr.reason == "" {
			cr.reason = a.reason
		}
		st.conflicts = append(st.conflicts, cr)
		st.built[st.builtKey(a, cr)] = &refusedRow{number: a.number, values: cr.local}
	}
}

func (st *settlement) builtKey(a *arrived, cr *conflictRow) string {
	return string(wire.AppendRow([]byte(a.snap+"\x00"+cr.table.String()+"\x00"), cr.key))
}

// reasonOf makes an error of the database a reason.
func reasonOf(err error) string {
	return strings.TrimPrefix(err.Error(), "ddb: ")
}

// write stores the rows. The order in which foreign keys and unique values let them pass
// differs, so the usual ones are tried in turn.
func (st *settlement) write() error {
	var present, absent []tableWrite
	for _, t := range st.cat.list {
		states := st.tables[t]
		if states == nil {
			continue
		}
		var up, del []dialect.Row
		var touch [][]any
		for _, r := range states.order {
			switch {
			case equalRows(r.was, r.values):
				touch = append(touch, r.key)
			case r.values == nil:
				del = append(del, dialect.Row{Key: r.key})
			default:
				up = append(up, dialect.Row{Key: pick(r.values, t.Key), Values: r.values})
			}
		}
		if len(touch) > 0 {
			if err := st.engine.Touch(st.ctx, st.c, t, touch); err != nil {
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
		err = savepoint(st.ctx, st.c, "ddb_write", func() error { return st.apply(order) })
		if err == nil || !refusable(err) {
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
		if err := st.engine.Apply(st.ctx, st.c, w.t, w.rows, dialect.Strict); err != nil {
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
			err := savepoint(st.ctx, st.c, "ddb_write", func() error { return st.apply([]tableWrite{w}) })
			if err != nil && !refusable(err) {
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
	t := st.cat.byName[tableName{ownDatabase, "conflicts"}]
	if t == nil || t.Refusal != "" {
		return fmt.Errorf("ddb: node %s has no table of conflicts", st.opts.ID)
	}
	rows := make([]dialect.Row, len(st.conflicts))
	for i, c := range st.conflicts {
		values := c.values(t, rand.Text(), time.Now().UnixNano())
		rows[i] = dialect.Row{Key: pick(values, t.Key), Values: values}
	}
	return st.engine.Apply(st.ctx, st.c, t, rows, dialect.Strict)
}
