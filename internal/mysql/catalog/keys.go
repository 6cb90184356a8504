package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// AppendKey appends a condition that is true for the row with that key.
func AppendKey(b []byte, t *Table, key []any) []byte {
	for i, c := range t.KeyColumns() {
		if i > 0 {
			b = append(b, " AND "...)
		}
		b = append(b, c.Compare()...)
		b = append(b, '=')
		b = c.AppendLiteral(b, key[i])
	}
	return b
}

// CheckKey returns an error, which wraps dialect.ErrSchemaMismatch, for a key that has not as many values as the table's.
func CheckKey(t *Table, key []any) error {
	if len(key) != len(t.Key) {
		return fmt.Errorf("key of %s has %d columns, got %d values: %w", t.SQLName(), len(t.Key), len(key), dialect.ErrSchemaMismatch)
	}
	return nil
}

// AppendKeys appends a condition that is true for the rows with those keys. Composite
// keys are written with OR, which every optimizer turns into look-ups.
func AppendKeys(b []byte, t *Table, keys [][]any) []byte {
	if len(t.Key) == 1 && len(keys) > 1 {
		c := t.KeyColumns()[0]
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
		b = AppendKey(b, t, k)
		b = append(b, ')')
	}
	return b
}

// KeyColumns are the columns of the primary key, in its order.
func (t *Table) KeyColumns() []codec.Column {
	key := make([]codec.Column, len(t.Key))
	for i, k := range t.Key {
		key[i] = t.StoredColumns[k]
	}
	return key
}

// exactKey: see dialect.Table. Text is exact where neither letters nor trailing
// spaces are taken for the same.
func exactKey(t *Table) bool {
	for _, c := range t.KeyColumns() {
		switch {
		case c.Kind == codec.KindFloat:
			return false
		case c.Kind == codec.KindText && !strings.HasSuffix(c.Collation, "_nopad_bin") && c.Collation != "utf8mb4_0900_bin":
			return false
		}
	}
	return true
}

// OwnKey takes the key from the row itself: it may differ from the note in letter case.
func (t *Table) OwnKey(values []any) []any {
	key := make([]any, len(t.Key))
	for i, k := range t.Key {
		key[i] = values[k]
	}
	return key
}

// AutoKey returns the place in the key of the AUTO_INCREMENT column, -1 if it has none.
func (t *Table) AutoKey() int {
	return slices.IndexFunc(t.KeyColumns(), func(c codec.Column) bool { return c.Auto })
}

// PageQuery reads rows in key order from behind the key after.
func (t *Table) PageQuery(exprs []string, after []any, limit int) string {
	key := t.KeyColumns()
	names := make([]string, len(key))
	for i, c := range key {
		names[i] = "t." + lang.Ident(c.Name)
	}
	b := []byte("SELECT " + strings.Join(exprs, ", ") + " FROM " + t.SQLName() + " t FORCE INDEX (PRIMARY)")
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

// IntegerKey reports whether the key is one column of integers.
func (t *Table) IntegerKey() bool {
	return len(t.Key) == 1 && t.KeyColumns()[0].Kind == codec.KindInt && strings.Contains(t.KeyColumns()[0].Type, "int")
}
