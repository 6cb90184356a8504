package mysql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Limits of what a parent's trigger follows. InnoDB itself refuses a cascade deeper
// than maxDepth (FK_MAX_CASCADE_DEL in its sources), so nothing deeper can change.
const (
	maxDepth = 15
	maxPaths = 128
)

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
		all[col.Name] = "NEW." + lang.Ident(col.Name)
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
				fmt.Fprintf(&where, "x1.%s=%s.%s", lang.Ident(col), row, lang.Ident(s.key.refs[j]))
				continue
			}
			if j > 0 {
				from.WriteString(" AND ")
			}
			fmt.Fprintf(&from, "x%d.%s=x%d.%s", i+1, lang.Ident(col), i, lang.Ident(s.key.refs[j]))
		}
	}
	return " FROM " + from.String() + " WHERE " + where.String()
}
