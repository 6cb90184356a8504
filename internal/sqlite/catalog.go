package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// table is what the dialect knows of a table beyond what it tells.
type table struct {
	*dialect.Table
	sql          string
	withoutRowid bool
	strict       bool
	rowidKey     bool     // the key is the rowid under another name
	autoIncr     bool     // declared AUTOINCREMENT
	keyColl      []string // collation of each key column in the key's index
	keyDesc      []bool
	keyNullable  bool
	notNull      []int // indexes into Stored of columns that take no NULL
	uniques      []unique
	rowidName    string // a name by which the rowid can be had that is not the key, "" if none
	virtual      bool
	references   []reference

	// What relate finds:
	parents  []string
	isParent bool // another table's foreign key names it
	cascaded bool // a foreign key of its own may change it
}

// reference is a foreign key, or one column of it.
type reference struct {
	parent string // as written: there may be no such table
	acts   bool   // it changes rows when those change that they refer to
}

// unique is a unique index besides the key's.
type unique struct {
	name    string
	terms   []uniqueTerm
	where   string
	columns []string // the plain columns it is about, nil if it has expressions
}

// uniqueTerm is a term of a unique index, for a row that is there and for the new one. late says that
// it is made of generated columns, which BEFORE triggers see as they are before a default is filled in.
type uniqueTerm struct {
	old, new, coll string
	late           bool
}

// ownReplicated reports whether a table of ddb's own is replicated.
func ownReplicated(name string) bool {
	return slices.Contains(dialect.OwnReplicated, strings.TrimPrefix(name, prefix))
}

// Tables lists the tables, parents before children.
func (e *engine) Tables(ctx context.Context, q dialect.Querier) ([]*dialect.Table, error) {
	list, err := e.load(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("tables: %w", err)
	}
	return e.knows(list), nil
}

// knows makes the list the catalogue that info looks at, and returns what others see of it.
func (e *engine) knows(list []*table) []*dialect.Table {
	known := make(map[string]*table, len(list))
	out := make([]*dialect.Table, len(list))
	for i, tb := range list {
		known[tb.Name] = tb
		out[i] = tb.Table
	}
	e.mu.Lock()
	e.known = known
	e.mu.Unlock()
	return out
}

// info returns what the catalogue knows of a table that Tables has returned.
func (e *engine) info(ctx context.Context, q dialect.Querier, t *dialect.Table) (*table, error) {
	e.mu.Lock()
	tb := e.known[t.Name]
	e.mu.Unlock()
	if tb != nil && tb.Fingerprint == t.Fingerprint {
		return tb, nil
	}
	list, err := e.load(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, tb := range list {
		if tb.Name == t.Name && tb.Fingerprint == t.Fingerprint {
			return tb, nil
		}
	}
	return nil, fmt.Errorf("table %s: %w: its definition has changed", t.Name, dialect.ErrSchemaMismatch)
}

// add appends a term to what is known of a unique index.
func (u *unique) add(tb *table, cid int, column, coll, create string) error {
	n := len(u.terms)
	if n == 0 {
		u.columns = []string{}
		tb.sql += "\n" + create // part of the fingerprint
	}
	var texts []string
	if create != "" {
		var ok bool
		if texts, u.where, ok = indexParts(create); (!ok || n >= len(texts)) && tb.Refusal == "" {
			tb.Refusal = fmt.Sprintf("table %s: ddb does not understand its unique index %s: %s; DROP INDEX %s", tb.Name, u.name, create, quote(u.name))
			return nil
		}
	}
	t := uniqueTerm{coll: coll}
	if cid >= 0 {
		t.old, t.new = "t."+quote(column), tb.filled(column)
		u.columns = append(u.columns, column)
		if tb.column(column).Generated {
			t.late, u.columns = true, nil
		}
	} else {
		// The new row's expression is computed over a subquery that gives the new values
		// the columns' names, so that the expression need not be rewritten.
		var as []string
		for _, c := range tb.Columns {
			as = append(as, tb.filled(c.Name)+" AS "+quote(c.Name))
			t.late = t.late || c.Generated
		}
		t.old, t.new = "("+texts[n]+")", "(SELECT "+texts[n]+" FROM (SELECT "+strings.Join(as, ", ")+"))"
		u.columns = nil
	}
	u.terms = append(u.terms, t)
	if n > 0 && len(u.columns) != n+1 {
		u.columns = nil
	}
	return nil
}

// filled returns the new row's value in a column: OR REPLACE turns a NULL in one that takes none into
// the default, after the BEFORE triggers.
func (tb *table) filled(column string) string {
	value := "NEW." + quote(column)
	if c := tb.column(column); tb.fills(c) {
		value = fmt.Sprintf("ifnull(%s, (%s))", value, c.Default)
	}
	return value
}

func (tb *table) fills(c *dialect.Column) bool {
	return !c.Nullable && c.Default != "" && !c.Generated && !c.AutoIncrement
}

// lacks returns the condition that OR REPLACE will fill in a default, "" if there is none to be filled in.
func (tb *table) lacks() string {
	var or []string
	for i := range tb.Columns {
		if c := &tb.Columns[i]; tb.fills(c) {
			or = append(or, "NEW."+quote(c.Name)+" IS NULL")
		}
	}
	return strings.Join(or, " OR ")
}

// finish derives what follows from columns and indexes.
func (tb *table) finish() {
	sum := sha256.Sum256([]byte(tb.sql))
	tb.Fingerprint = hex.EncodeToString(sum[:16])
	if len(tb.Key) == 0 {
		if tb.Refusal == "" {
			tb.Refusal = tb.noKey()
		}
		return
	}
	tb.rowidKey = len(tb.keyColl) == 0
	if tb.rowidKey {
		tb.keyColl, tb.keyDesc = []string{""}, []bool{false}
		tb.autoIncr = slices.ContainsFunc(tokens(tb.sql), func(t token) bool { return t.is("AUTOINCREMENT") })
	}
	tb.ExactKey = true
	for i, k := range tb.Key {
		col := tb.column(tb.Stored[k])
		if tb.rowidKey {
			col.AutoIncrement = true
			col.Nullable = false // NULL means: hand out a key
			continue
		}
		if !tb.withoutRowid && !tb.strict && col.Nullable {
			tb.keyNullable = true
		}
		a := affinity(col.Type)
		exact := a == 'i' || a == 't' || a == 'n' || tb.strict && a == 'b' && col.Type != ""
		if tb.strict && strings.EqualFold(col.Type, "ANY") {
			exact = false
		}
		if !exact || !strings.EqualFold(tb.keyColl[i], "BINARY") {
			tb.ExactKey = false
		}
	}
	if !tb.rowidKey && !tb.withoutRowid {
		tb.rowidName = tb.freeRowid()
	}
}

// column returns the description of a column.
func (tb *table) column(name string) *dialect.Column {
	for i := range tb.Columns {
		if tb.Columns[i].Name == name {
			return &tb.Columns[i]
		}
	}
	return nil
}

// freeRowid returns a name of the rowid that no column hides.
func (tb *table) freeRowid() string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(tb.Columns, func(c dialect.Column) bool { return strings.EqualFold(c.Name, name) }) {
			return name
		}
	}
	return ""
}

// affinity follows section 3.1 of https://sqlite.org/datatype3.html.
func affinity(typ string) byte {
	typ = strings.ToUpper(typ)
	has := func(s string) bool { return strings.Contains(typ, s) }
	switch {
	case has("INT"):
		return 'i'
	case has("CHAR"), has("CLOB"), has("TEXT"):
		return 't'
	case has("BLOB"), typ == "":
		return 'b'
	case has("REAL"), has("FLOA"), has("DOUB"):
		return 'r'
	}
	return 'n'
}

// noKey is the refusal of a table without a primary key. SQLite cannot add one to a
// table that exists, so the way out is a new table.
func (tb *table) noKey() string {
	var defs, names []string
	for _, c := range tb.Columns {
		if !c.Generated {
			defs = append(defs, strings.TrimSpace(quote(c.Name)+" "+c.Type))
			names = append(names, quote(c.Name))
		}
	}
	key := "id"
	for slices.ContainsFunc(tb.Stored, func(s string) bool { return strings.EqualFold(s, key) }) {
		key = "row_" + key
	}
	n, tmp, cols := quote(tb.Name), quote(tb.Name+"_new"), strings.Join(names, ", ")
	return fmt.Sprintf("table %s has no primary key, and SQLite adds none to a table that exists; make a new one: "+
		"CREATE TABLE %s (%s INTEGER PRIMARY KEY, %s); INSERT INTO %s (%s) SELECT %s FROM %s; DROP TABLE %s; ALTER TABLE %s RENAME TO %s",
		tb.Name, tmp, quote(key), strings.Join(defs, ", "), tmp, cols, cols, n, n, tmp, n)
}

// checkNulls refuses a table with rows that their key does not name.
func (tb *table) checkNulls(ctx context.Context, q dialect.Querier) error {
	var cond []string
	for _, k := range tb.Key {
		if tb.column(tb.Stored[k]).Nullable {
			cond = append(cond, "t."+quote(tb.Stored[k])+" IS NULL")
		}
	}
	where := strings.Join(cond, " OR ")
	n, err := integer(ctx, q, fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM main.%s t WHERE %s)", quote(tb.Name), where))
	if err == nil && n != 0 {
		tb.Refusal = fmt.Sprintf("table %s has rows with NULL in the primary key, which cannot be told apart; give them a key or "+
			"DELETE FROM %s WHERE %s, and declare the key NOT NULL", tb.Name, quote(tb.Name), strings.ReplaceAll(where, "t.", ""))
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
