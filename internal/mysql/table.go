package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// appendKey appends a condition that is true for the row with that key.
func appendKey(b []byte, t *table, key []any) []byte {
	for i, c := range t.keyColumns() {
		if i > 0 {
			b = append(b, " AND "...)
		}
		b = append(b, c.Compare()...)
		b = append(b, '=')
		b = c.AppendLiteral(b, key[i])
	}
	return b
}

func checkKey(t *table, key []any) error {
	if len(key) != len(t.Key) {
		return fmt.Errorf("key of %s has %d columns, got %d values: %w", t.sqlName(), len(t.Key), len(key), dialect.ErrSchemaMismatch)
	}
	return nil
}

// appendKeys appends a condition that is true for the rows with those keys. Composite
// keys are written with OR, which every optimizer turns into look-ups.
func appendKeys(b []byte, t *table, keys [][]any) []byte {
	if len(t.Key) == 1 && len(keys) > 1 {
		c := t.keyColumns()[0]
		b = append(b, c.Compare()...)
		b = append(b, " IN ("...)
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.AppendLiteral(b, k[0])
		}
		return append(b, ')')
	}
	for i, k := range keys {
		if i > 0 {
			b = append(b, " OR "...)
		}
		b = append(b, '(')
		b = appendKey(b, t, k)
		b = append(b, ')')
	}
	return b
}

// acts reports whether the rule makes InnoDB change rows of the child by itself,
// without running the child's triggers.
func acts(rule string) bool { return rule == "CASCADE" || rule == "SET NULL" }

// table is a dialect.Table with what only this package needs.
type table struct {
	*dialect.Table
	stored  []codec.Column
	unique  bool // there is a unique index besides the primary key
	foreign []foreignKey
}

// foreignKey is a constraint of the table that refers to another.
type foreignKey struct {
	name               string
	columns            []string
	db, table          string // the table referred to
	refs               []string
	onUpdate, onDelete string
}

func (t *table) sqlName() string { return lang.Qualified(t.Database, t.Name) }

func (t *table) keyColumns() []codec.Column {
	key := make([]codec.Column, len(t.Key))
	for i, k := range t.Key {
		key[i] = t.stored[k]
	}
	return key
}

// tableName identifies a table.
type tableName struct{ db, name string }

func nameOf(t *dialect.Table) tableName { return tableName{t.Database, t.Name} }

// parent is the table that the constraint refers to.
func (f foreignKey) parent() tableName { return tableName{f.db, f.table} }

// catalog is what was read of the replicated tables at one time. It is never changed.
type catalog struct {
	tables map[tableName]*table
	images bool // outboxes hold images
}

// list returns the tables with parents before children.
func (c *catalog) list() []*dialect.Table {
	ordered := c.ordered()
	list := make([]*dialect.Table, len(ordered))
	for i, t := range ordered {
		list[i] = t.Table
	}
	return list
}

// current is the catalogue as it was read last.
type current struct {
	fresh func(context.Context, dialect.Querier) (*catalog, error) // reads it
	last  atomic.Pointer[catalog]
}

// newCurrent returns a catalogue that fresh reads.
func newCurrent(fresh func(context.Context, dialect.Querier) (*catalog, error)) *current {
	return &current{fresh: fresh}
}

// read reads the catalogue anew.
func (k *current) read(ctx context.Context, q dialect.Querier) (*catalog, error) {
	c, err := k.fresh(ctx, q)
	if err != nil {
		return nil, err
	}
	k.last.Store(c)
	return c, nil
}

// table returns what the catalogue knows of t, which must not have changed since. It reads the catalogue if nobody has yet.
func (k *current) table(ctx context.Context, q dialect.Querier, t *dialect.Table) (*table, error) {
	c := k.last.Load()
	if c == nil {
		var err error
		if c, err = k.read(ctx, q); err != nil {
			return nil, err
		}
	}
	i := c.tables[nameOf(t)]
	if i == nil || i.Fingerprint != t.Fingerprint {
		return nil, fmt.Errorf("mysql: table %s.%s was changed: %w", t.Database, t.Name, dialect.ErrSchemaMismatch)
	}
	return i, nil
}

// exactKey: see dialect.Table. Text is exact where neither letters nor trailing
// spaces are taken for the same.
func exactKey(t *table) bool {
	for _, c := range t.keyColumns() {
		switch {
		case c.Kind == codec.KindFloat:
			return false
		case c.Kind == codec.KindText && !strings.HasSuffix(c.Collation, "_nopad_bin") && c.Collation != "utf8mb4_0900_bin":
			return false
		}
	}
	return true
}

// ordered returns the tables with parents before children; in a cycle by name.
func (c *catalog) ordered() []*table {
	names := make([]tableName, 0, len(c.tables))
	for n := range c.tables {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y tableName) int {
		return cmp.Or(cmp.Compare(x.db, y.db), cmp.Compare(x.name, y.name))
	})
	var list []*table
	seen := map[tableName]bool{}
	var visit func(n tableName)
	visit = func(n tableName) {
		t := c.tables[n]
		if t == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, f := range t.foreign {
			visit(f.parent())
		}
		list = append(list, t)
	}
	for _, n := range names {
		visit(n)
	}
	return list
}

// ownKey takes the key from the row itself: it may differ from the note in letter case.
func (t *table) ownKey(values []any) []any {
	key := make([]any, len(t.Key))
	for i, k := range t.Key {
		key[i] = values[k]
	}
	return key
}

// autoKey returns the place in the key of the AUTO_INCREMENT column, -1 if it has none.
func (t *table) autoKey() int {
	return slices.IndexFunc(t.keyColumns(), func(c codec.Column) bool { return c.Auto })
}

// pageQuery reads rows in key order from behind the key after.
func (t *table) pageQuery(exprs []string, after []any, limit int) string {
	key := t.keyColumns()
	names := make([]string, len(key))
	for i, c := range key {
		names[i] = "t." + lang.Ident(c.Name)
	}
	b := []byte("SELECT " + strings.Join(exprs, ", ") + " FROM " + t.sqlName() + " t FORCE INDEX (PRIMARY)")
	if after != nil {
		// (a, b) > (x, y) written out: as row values it would not use the index.
		b = append(b, " WHERE "...)
		for n := len(key); n > 0; n-- {
			if n < len(key) {
				b = append(b, " OR "...)
			}
			b = append(b, '(')
			for i := range n {
				op := "="
				if i == n-1 {
					op = ">"
				}
				if i > 0 {
					b = append(b, " AND "...)
				}
				b = append(b, key[i].Compare()...)
				b = append(b, op...)
				b = key[i].AppendLiteral(b, after[i])
			}
			b = append(b, ')')
		}
	}
	b = append(b, " ORDER BY "+strings.Join(names, ", ")+" LIMIT "...)
	return string(strconv.AppendInt(b, int64(limit), 10))
}

// integerKey reports whether the key is one column of integers.
func (t *table) integerKey() bool {
	return len(t.Key) == 1 && t.keyColumns()[0].Kind == codec.KindInt && strings.Contains(t.keyColumns()[0].Type, "int")
}

// areas numbers the tables so that those connected by foreign keys have the same number.
func (c *catalog) areas() map[tableName]int {
	area := map[tableName]int{}
	for name := range c.tables {
		area[name] = len(area)
	}
	for changed := true; changed; {
		changed = false
		for name, t := range c.tables {
			for _, k := range t.foreign {
				parent := k.parent()
				if low := min(area[name], area[parent]); low != area[name] || low != area[parent] {
					area[name], area[parent], changed = low, low, true
				}
			}
		}
	}
	return area
}
