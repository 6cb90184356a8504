package catalog

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Acts reports whether the rule makes InnoDB change rows of the child by itself,
// without running the child's triggers.
func Acts(rule string) bool { return rule == "CASCADE" || rule == "SET NULL" }

// Table is a dialect.Table with what only this package needs.
type Table struct {
	*dialect.Table
	StoredColumns []codec.Column
	Unique        bool // there is a unique index besides the primary key
	Foreign       []ForeignKey
}

// ForeignKey is a constraint of the table that refers to another.
type ForeignKey struct {
	Name               string
	Columns            []string
	Parent             Name // the table referred to
	Refs               []string
	OnUpdate, OnDelete string
}

// SQLName is the quoted name, with that of the database.
func (t *Table) SQLName() string { return lang.Qualified(t.Database, t.Name) }

// Name identifies a table.
type Name struct{ DB, Name string }

// NameOf is the name of t.
func NameOf(t *dialect.Table) Name { return Name{t.Database, t.Name} }

// Catalog is what was read of the replicated tables at one time. It is never changed.
type Catalog struct {
	Tables map[Name]*Table
	Images bool // outboxes hold images

	once     sync.Once
	byParent map[Name][]Step // the foreign keys that lead from a table to its children, in the order of those
}

// List returns the tables with parents before children.
func (c *Catalog) List() []*dialect.Table {
	ordered := c.ordered()
	list := make([]*dialect.Table, len(ordered))
	for i, t := range ordered {
		list[i] = t.Table
	}
	return list
}

// ordered returns the tables with parents before children; in a cycle by name.
func (c *Catalog) ordered() []*Table {
	names := make([]Name, 0, len(c.Tables))
	for n := range c.Tables {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y Name) int {
		return cmp.Or(cmp.Compare(x.DB, y.DB), cmp.Compare(x.Name, y.Name))
	})
	var list []*Table
	seen := map[Name]bool{}
	var visit func(n Name)
	visit = func(n Name) {
		t := c.Tables[n]
		if t == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, f := range t.Foreign {
			visit(f.Parent)
		}
		list = append(list, t)
	}
	for _, n := range names {
		visit(n)
	}
	return list
}

// Areas numbers the tables so that those connected by foreign keys have the same number.
func (c *Catalog) Areas() map[Name]int {
	area := map[Name]int{}
	for name := range c.Tables {
		area[name] = len(area)
	}
	for changed := true; changed; {
		changed = false
		for name, t := range c.Tables {
			for _, k := range t.Foreign {
				parent := k.Parent
				if low := min(area[name], area[parent]); low != area[name] || low != area[parent] {
					area[name], area[parent], changed = low, low, true
				}
			}
		}
	}
	return area
}
