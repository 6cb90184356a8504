package mysql

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what a parent's trigger follows. InnoDB itself refuses a cascade deeper
// than maxDepth (FK_MAX_CASCADE_DEL in its sources), so nothing deeper can change.
const (
	maxDepth = 15
	maxPaths = 128
)

// acts reports whether the rule makes InnoDB change rows of the child by itself,
// without running the child's triggers.
func acts(rule string) bool { return rule == "CASCADE" || rule == "SET NULL" }

// path is a chain of foreign keys from a parent to a table whose rows InnoDB changes.
type path struct {
	steps []step
	// changed maps columns of the last table to the expression of their new value, in
	// terms of the trigger's NEW. Nil: the last table's rows are deleted.
	changed map[string]string
}

// step goes from a table to a child by a foreign key of the child.
type step struct {
	child *table
	key   foreignKey
}

func (p path) last() *table { return p.steps[len(p.steps)-1].child }

// cascade is everything that a change of a parent's row does to other rows.
type cascade struct {
	deletes []path // when the row is deleted
	updates []path // when columns of the row that are referred to change
}

// children lists the foreign keys that refer to t.
func (c *catalog) children(t *table) []step {
	var list []step
	for _, child := range c.ordered() {
		if child.Refusal != "" {
			continue
		}
		for _, f := range child.foreign {
			if f.db == t.Database && f.table == t.Name {
				list = append(list, step{child, f})
			}
		}
	}
	return list
}

// cascades follows foreign keys from t. It fails for a table from which more chains
// start than a trigger should hold.
func (c *catalog) cascades(t *table) (cascade, error) {
	w := walker{catalog: c, byParent: map[*table][]step{}}
	all := map[string]string{}
	for _, col := range t.Columns {
		all[col.Name] = "NEW." + ident(col.Name)
	}
	w.walk(t, path{})
	deletes := w.found
	w.found = nil
	w.walk(t, path{changed: all})
	updates := w.found
	if len(deletes) > maxPaths || len(updates) > maxPaths {
		return cascade{}, fmt.Errorf("foreign keys with CASCADE lead from table %s along more than %d ways to others: "+
			"drop some of them, or declare them without CASCADE and SET NULL", t.sqlName(), maxPaths)
	}
	return cascade{deletes, updates}, nil
}

type walker struct {
	catalog  *catalog
	byParent map[*table][]step
	found    []path
}

func (w *walker) steps(t *table) []step {
	s, ok := w.byParent[t]
	if !ok {
		s = w.catalog.children(t)
		w.byParent[t] = s
	}
	return s
}

// walk adds all paths that continue p, which ends at t.
func (w *walker) walk(t *table, p path) {
	if len(p.steps) == maxDepth || len(w.found) > maxPaths {
		return
	}
	for _, s := range w.steps(t) {
		changed, ok := s.effect(p.changed)
		if !ok {
			continue
		}
		// A cascade of updates never comes back to a table: InnoDB refuses it.
		if p.changed != nil && slices.ContainsFunc(p.steps, func(o step) bool { return o.child == s.child }) {
			continue
		}
		next := path{append(slices.Clone(p.steps), s), changed}
		w.found = append(w.found, next)
		w.walk(s.child, next)
	}
}

// effect tells what becomes of the child's columns when the parent's change so; ok is
// false if the child stays as it is.
func (s step) effect(parent map[string]string) (changed map[string]string, ok bool) {
	rule := s.key.onDelete
	if parent != nil {
		rule = s.key.onUpdate
		if !slices.ContainsFunc(s.key.refs, func(r string) bool { return parent[r] != "" }) {
			return nil, false
		}
	}
	if !acts(rule) {
		return nil, false
	}
	if rule == "CASCADE" && parent == nil {
		return nil, true
	}
	changed = map[string]string{}
	for i, col := range s.key.columns {
		if rule == "SET NULL" {
			changed[col] = "NULL"
		} else if e := parent[s.key.refs[i]]; e != "" {
			changed[col] = e
		}
	}
	return changed, true
}

// from is the FROM and WHERE of the rows at the path's end, from the parent's row OLD or NEW; the last table is xN.
func (p path) from(row string) string {
	var from, where strings.Builder
	for i, s := range p.steps {
		if i > 0 {
			from.WriteString(" STRAIGHT_JOIN ")
		}
		fmt.Fprintf(&from, "%s x%d", s.child.sqlName(), i+1)
		if i > 0 {
			from.WriteString(" ON ")
		}
		for j, col := range s.key.columns {
			if i == 0 {
				if j > 0 {
					where.WriteString(" AND ")
				}
				fmt.Fprintf(&where, "x1.%s=%s.%s", ident(col), row, ident(s.key.refs[j]))
				continue
			}
			if j > 0 {
				from.WriteString(" AND ")
			}
			fmt.Fprintf(&from, "x%d.%s=x%d.%s", i+1, ident(col), i, ident(s.key.refs[j]))
		}
	}
	return " FROM " + from.String() + " WHERE " + where.String()
}

// note returns the statement that notes the rows at the path's end, before they change.
func (e *engine) note(p path, images bool) string { return e.noteRows(p, images, "OLD", true) }

// noteMoved returns the statement that notes the same rows when they have changed, or "" if none gets another key.
// Several paths may change one key, so it is read from the row rather than told by the path. All steps
// of one that changes a key are CASCADE, and lead from the new row to the changed ones.
func (e *engine) noteMoved(p path, images bool) string {
	t := p.last()
	for _, k := range t.Key {
		if v := p.changed[t.Stored[k]]; v != "" && v != "NULL" {
			return e.noteRows(p, images, "NEW", false)
		}
	}
	return ""
}

func (e *engine) noteRows(p path, images bool, row string, existed bool) string {
	t := p.last()
	stored := make([]string, len(t.stored))
	for i, c := range t.stored {
		stored[i] = fmt.Sprintf("x%d.%s", len(p.steps), ident(c.name))
	}
	return "INSERT INTO " + e.outboxName(t.ID) + " (" + strings.Join(noteColumns(t, images), ",") + ") SELECT " +
		strings.Join(e.noteValues(t, images, stored, existed), ",") + p.from(row)
}

// uncascaded marks the tables whose rows a cascade may have changed unseen: a parent has no trigger that notes them, since
// another client has just made the foreign key, or one that acts before a trigger of the user's, which may change the row.
func (e *engine) uncascaded(c *catalog, triggers []trigger) error {
	acts := map[string]string{} // bodies by name of those that act last
	for i, tr := range triggers {
		if !overtaken(triggers[i+1:], tr) {
			acts[qualified(tr.db, tr.name)] = tr.body
		}
	}
	for _, t := range c.tables {
		if t.ID == 0 || t.Refusal != "" {
			continue
		}
		effects, err := c.cascades(t)
		if err != nil {
			return err
		}
		body := func(suffix string) string { return acts[qualified(t.Database, ownTriggerName(t.ID, suffix))] }
		for _, p := range effects.deletes {
			if p.last().ID != 0 && !strings.Contains(body("bd"), e.note(p, c.images)) {
				p.last().Bare = true
			}
		}
		for _, p := range effects.updates {
			if p.last().ID != 0 && (!strings.Contains(body("bu"), e.ifMoved(p, e.note(p, c.images))) || !strings.Contains(body("au"), e.ifMoved(p, e.noteMoved(p, c.images)))) {
				p.last().Bare = true
			}
		}
	}
	return nil
}

// overtaken reports whether a trigger of the user's among later ones, in the order in which they act, acts after tr on
// what tr tells of a row.
func overtaken(later []trigger, tr trigger) bool {
	return tr.timing == "BEFORE" && slices.ContainsFunc(later, func(o trigger) bool {
		return o.db == tr.db && o.table == tr.table && o.timing == tr.timing && o.event == tr.event && !ownTrigger.MatchString(o.name)
	})
}
