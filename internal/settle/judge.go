package settle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

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
		name := journal.TableName{Database: c.Database, Table: c.Table}
		sh, why := st.shapeOf(c, st.cat.ByName[name])
		if why != "" {
			a.refused, a.reason = true, why
		}
		err := c.Each(func(r dialect.Row) error {
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
		o.state.set(o)
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
		changes = changes || !batch.EqualRows(o.values, o.state.values)
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
func (st *settlement) outcome(a *arrived, name journal.TableName, sh *shape, c *batch.Change, r dialect.Row) (*outcome, error) {
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
	allowed := sh.t.Own && settles(sh.t, base, local) || !sh.t.Own && st.s.cfg.MayWrite(a.snap, name, opOf(base, local))
	if why == "" {
		why = sh.astray(st, c, r)
	}
	if why == "" && !allowed {
		why = st.mayNot(a, name)
	}
	switch {
	case why != "":
		a.refused, a.reason = true, why
		cr.base, cr.local, cr.columns, cr.keyAt = r.Base, r.Values, c.Columns, c.Key
		o.conflict = cr
	case batch.EqualRows(remote, local):
		if p := st.s.cfg.Policies.Of(name); p.Is(conflict.MasterWins) && !sh.t.Own && !batch.EqualRows(remote, base) {
			cr.policy, cr.outcome, cr.reason = p.String(), "master", clashReason(base, local, remote)+" in the same way"
			o.met = cr
		}
	case batch.EqualRows(remote, base):
		o.values = local
		o.stamp = st.s.cfg.Policies.Of(name).Is(conflict.NewestWins)
	case sh.t.Own:
		if remote != nil { // a person has settled it, and the rest is not the snap's to write
			at := slices.Index(sh.t.Stored, "state")
			o.values = slices.Clone(remote)
			o.values[at] = local[at]
		}
	default:
		o.conflict = cr
		if err := st.clash(a, o, cr); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// settles reports whether a change of a conflict does what a person may do with one on any snap: say that it is settled.
func settles(t *dialect.Table, base, local []any) bool {
	if base == nil || local == nil || !slices.Contains(t.Stored, "state") {
		return false
	}
	for i, column := range t.Stored {
		if column != "state" && !batch.EqualValues(base[i], local[i]) {
			return false
		}
	}
	return true
}

func opOf(base, local []any) access.Ops {
	switch {
	case base == nil:
		return access.Insert
	case local == nil:
		return access.Delete
	}
	return access.Update
}

// clash settles a row that both sides have changed.
func (st *settlement) clash(a *arrived, o *outcome, cr *conflictRow) error {
	p := st.s.cfg.Policies.Of(cr.table)
	cr.policy = p.String()
	cr.reason = clashReason(cr.base, cr.local, cr.remote)
	built, err := st.builtOn(a, cr)
	if err != nil {
		return err
	}
	if built > 0 {
		cr.reason = fmt.Sprintf("built on batch %d, which was refused; %s", built, cr.reason)
	}
	switch {
	case p.Asks():
		return st.ask(a, o, cr, p)
	case p.Is(conflict.SnapWins):
		o.values, cr.outcome = o.local, "snap"
	case p.Is(conflict.NewestWins):
		at, node, err := st.changedAt(a, o)
		if err != nil {
			return err
		}
		if a.at > at || a.at == at && a.snap > node {
			o.values, o.stamp, cr.outcome = o.local, true, "snap"
		} else {
			cr.outcome = "master"
		}
	case p.Is(conflict.MergeColumns):
		st.merge(o, cr)
	default:
		a.refused = true
		cr.outcome = "master"
	}
	if cr.outcome == "snap" && !st.s.cfg.MayWrite(a.snap, cr.table, opOf(cr.remote, o.local)) {
		a.refused = true // an insert that is to win over a row which is there is no mere insert
		cr.reason += "; " + st.mayNot(a, cr.table)
	}
	return nil
}

func (st *settlement) mayNot(a *arrived, t journal.TableName) string {
	return fmt.Sprintf("snap %s may not do this to table %s (Options.Nodes of the master)", a.snap, t)
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
		case batch.EqualValues(o.local[i], o.base[i]) || batch.EqualValues(o.local[i], remote[i]):
		case batch.EqualValues(remote[i], o.base[i]):
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
func (st *settlement) ask(a *arrived, o *outcome, cr *conflictRow, p conflict.Policy) error {
	row, err := p.Resolve(conflict.Collision{Database: cr.table.Database, Table: cr.table.Table, Base: rowMap(o.t, o.base),
		Local: rowMap(o.t, o.local), Remote: rowMap(o.t, o.state.values), Origin: a.snap, At: time.Unix(0, a.at)})
	var values []any
	if err == nil {
		values, err = rowValues(o.t, row, o.state.key)
	}
	if err != nil {
		a.refused, cr.reason = true, fmt.Sprintf("the function %q: %v", p.String(), err)
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
	if !batch.EqualRows(journal.Pick(values, t.Key), key) {
		return nil, errors.New("it changed the key")
	}
	return values, nil
}

// refuse keeps every row of a refused batch as a conflict (nothing is dropped).
func (st *settlement) refuse(a *arrived, list []*outcome) {
	if a.reason == "" {
		a.reason = "another row of the same transaction lost"
	}
	for _, o := range list {
		if o.t != nil && o.t.Own {
			continue
		}
		cr := o.conflict
		if cr == nil {
			cr = &conflictRow{a: a, table: st.s.node.Name(o.t), columns: o.t.Stored, theirs: o.t.Stored, key: o.state.key, keyAt: o.t.Key, base: o.base, local: o.local, remote: o.state.values}
		}
		cr.outcome = "refused"
		if cr.policy == "" {
			cr.policy = st.s.cfg.Policies.Of(cr.table).String()
		}
		if cr.reason == "" {
			cr.reason = a.reason
		}
		st.conflicts = append(st.conflicts, cr)
		st.s.remember(a.snap, cr.table, cr.rowKey(), refusedRow{number: a.number, sum: batch.Sum([]byte(rowJSON(cr.columns, cr.local)))})
	}
}

// reasonOf makes an error of the database a reason.
func reasonOf(err error) string {
	return err.Error()
}
