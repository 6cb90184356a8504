package catalog

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

// Path is a chain of foreign keys from a parent to a table whose rows InnoDB changes.
type Path struct {
	Steps []Step
	// Changed maps columns of the last table to the expression of their new value, in
	// terms of the trigger's NEW. Nil: the last table's rows are deleted.
	Changed map[string]string
}

// Step goes from a table to a child by a foreign key of the child.
type Step struct {
	Child *Table
	Key   ForeignKey
}

// Last is the table that the path leads to.
func (p Path) Last() *Table { return p.Steps[len(p.Steps)-1].Child }

// Cascade is everything that a change of a parent's row does to other rows.
type Cascade struct {
	Deletes []Path // when the row is deleted
	Updates []Path // when columns of the row that are referred to change
}

// children lists the foreign keys that refer to t.
func (c *Catalog) children(t *Table) []Step {
	c.once.Do(func() {
		c.byParent = make(map[Name][]Step)
		for _, child := range c.ordered() {
			for _, f := range child.Foreign {
				c.byParent[f.Parent] = append(c.byParent[f.Parent], Step{child, f})
			}
		}
	})
	var list []Step
	for _, s := range c.byParent[NameOf(t.Table)] {
		if s.Child.Refusal == "" {
			list = append(list, s)
		}
	}
	return list
}

// Cascades follows foreign keys from t. It fails for a table from which more chains
// start than a trigger should hold.
func (c *Catalog) Cascades(t *Table) (Cascade, error) {
	w := walker{catalog: c, byParent: map[*Table][]Step{}}
	all := map[string]string{}
	for _, col := range t.Columns {
		all[col.Name] = "NEW." + lang.Ident(col.Name)
	}
	w.walk(t, Path{})
	deletes := w.found
	w.found = nil
	w.walk(t, Path{Changed: all})
	updates := w.found
	if len(deletes) > maxPaths || len(updates) > maxPaths {
		return Cascade{}, fmt.Errorf("foreign keys with CASCADE lead from table %s along more than %d ways to others: "+
			"drop some of them, or declare them without CASCADE and SET NULL", t.SQLName(), maxPaths)
	}
	return Cascade{deletes, updates}, nil
}

type walker struct {
	catalog  *Catalog
	byParent map[*Table][]Step
	found    []Path
}

func (w *walker) steps(t *Table) []Step {
	s, ok := w.byParent[t]
	if !ok {
		s = w.catalog.children(t)
		w.byParent[t] = s
	}
	return s
}

// walk adds all paths that continue p, which ends at t.
func (w *walker) walk(t *Table, p Path) {
	if len(p.Steps) == maxDepth || len(w.found) > maxPaths {
		return
	}
	for _, s := range w.steps(t) {
		changed, ok := s.effect(p.Changed)
		if !ok {
			continue
		}
		// A cascade of updates never comes back to a table: InnoDB refuses it.
		if p.Changed != nil && slices.ContainsFunc(p.Steps, func(o Step) bool { return o.Child == s.Child }) {
			continue
		}
		next := Path{append(slices.Clone(p.Steps), s), changed}
		w.found = append(w.found, next)
		w.walk(s.Child, next)
	}
}

// effect tells what becomes of the child's columns when the parent's change so; ok is
// false if the child stays as it is.
func (s Step) effect(parent map[string]string) (changed map[string]string, ok bool) {
	rule := s.Key.OnDelete
	if parent != nil {
		rule = s.Key.OnUpdate
		if !slices.ContainsFunc(s.Key.Refs, func(r string) bool { return parent[r] != "" }) {
			return nil, false
		}
	}
	if !Acts(rule) {
		return nil, false
	}
	if rule == "CASCADE" && parent == nil {
		return nil, true
	}
	changed = map[string]string{}
	for i, col := range s.Key.Columns {
		if rule == "SET NULL" {
			changed[col] = "NULL"
		} else if e := parent[s.Key.Refs[i]]; e != "" {
			changed[col] = e
		}
	}
	return changed, true
}

// From is the FROM and WHERE of the rows at the path's end, from the parent's row OLD or NEW; the last table is xN.
func (p Path) From(row string) string {
	var from, where strings.Builder
	for i, s := range p.Steps {
		if i > 0 {
			from.WriteString(" STRAIGHT_JOIN ")
		}
		fmt.Fprintf(&from, "%s x%d", s.Child.SQLName(), i+1)
		if i > 0 {
			from.WriteString(" ON ")
		}
		for j, col := range s.Key.Columns {
			if i == 0 {
				if j > 0 {
					where.WriteString(" AND ")
				}
				fmt.Fprintf(&where, "x1.%s=%s.%s", lang.Ident(col), row, lang.Ident(s.Key.Refs[j]))
				continue
			}
			if j > 0 {
				from.WriteString(" AND ")
			}
			fmt.Fprintf(&from, "x%d.%s=x%d.%s", i+1, lang.Ident(col), i, lang.Ident(s.Key.Refs[j]))
		}
	}
	return " FROM " + from.String() + " WHERE " + where.String()
}
