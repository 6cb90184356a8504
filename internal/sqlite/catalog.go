package sqlite

import (
	"cmp"
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
	parents      []string
	isParent     bool // another table's foreign key names it
	cascaded     bool // a foreign key of its own may change it
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
		return nil, fmt.Errorf("sqlite: tables: %w", err)
	}
	known := make(map[string]*table, len(list))
	out := make([]*dialect.Table, len(list))
	for i, tb := range list {
		known[tb.Name] = tb
		out[i] = tb.Table
	}
	e.mu.Lock()
	e.known = known
	e.mu.Unlock()
	return out, nil
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

// load reads the catalogue.
func (e *engine) load(ctx context.Context, q dialect.Querier) ([]*table, error) {
	list, err := loadNames(ctx, q)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*table, len(list))
	for _, tb := range list {
		byName[tb.Name] = tb
	}
	for _, step := range []func(context.Context, dialect.Querier, map[string]*table) error{loadColumns, loadIndexes, loadOtherIndexes, loadParents, loadIDs, loadBare} {
		if err := step(ctx, q, byName); err != nil {
			return nil, err
		}
	}
	captured, err := e.captured(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, tb := range list {
		tb.finish()
		if tb.Refusal == "" && tb.keyNullable && captured[tb.ID].fingerprint == "" {
			if err := tb.checkNulls(ctx, q); err != nil {
				return nil, err
			}
		}
	}
	return sortByParents(list), nil
}

// loadNames lists the tables without their columns.
func loadNames(ctx context.Context, q dialect.Querier) ([]*table, error) {
	var list []*table
	var name, create, kind string
	var wr, strict bool
	err := each(ctx, q, `WITH l AS MATERIALIZED (SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main')
		SELECT m.name, m.sql, l.type, l.wr, l.strict FROM main.sqlite_schema m JOIN l ON l.name = m.name
		WHERE m.type = 'table' AND substr(m.name, 1, 7) <> 'sqlite_' ORDER BY m.name`,
		[]any{&name, &create, &kind, &wr, &strict}, func() error {
			if kind == "shadow" || own(name) && !ownReplicated(name) {
				return nil
			}
			tb := &table{Table: &dialect.Table{Name: name, Own: own(name)}, sql: create, withoutRowid: wr, strict: strict}
			if kind == "virtual" {
				tb.Refusal = fmt.Sprintf("table %s is a virtual table, which keeps its rows where no trigger sees them; it stays local. "+
					"Fill it by triggers from an ordinary table, or DROP TABLE %s", name, quote(name))
			}
			list = append(list, tb)
			return nil
		})
	return list, err
}

func loadColumns(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	var tname, name, typ string
	var notNull bool
	var def sql.NullString
	var pk, hidden int
	keys := make(map[*table][][2]int)
	err := each(ctx, q, `SELECT m.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
		FROM main.sqlite_schema m, pragma_table_xinfo(m.name, 'main') x
		WHERE m.type = 'table' AND m.rootpage <> 0 ORDER BY m.name, x.cid`,
		[]any{&tname, &name, &typ, &notNull, &def, &pk, &hidden}, func() error {
			tb := byName[tname]
			if tb == nil {
				return nil
			}
			col := dialect.Column{Name: name, Type: typ, Nullable: !notNull, Default: def.String, Generated: hidden > 1}
			tb.Columns = append(tb.Columns, col)
			if col.Generated {
				return nil
			}
			if notNull {
				tb.notNull = append(tb.notNull, len(tb.Stored))
			}
			if pk > 0 {
				keys[tb] = append(keys[tb], [2]int{pk, len(tb.Stored)})
			}
			tb.Stored = append(tb.Stored, name)
			return nil
		})
	for tb, key := range keys {
		slices.SortFunc(key, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
		for _, k := range key {
			tb.Key = append(tb.Key, k[1])
		}
	}
	return err
}

// loadIndexes reads the unique indexes: the key's, for its collations, and the others,
// for the rows that they can remove.
func loadIndexes(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	var tname, iname, origin string
	var coll, column, create sql.NullString
	var desc bool
	var cid int
	var cur *unique
	return each(ctx, q, `SELECT m.name, i.name, i.origin, x.cid, x.name, x.desc, x.coll, s.sql
		FROM main.sqlite_schema m, pragma_index_list(m.name, 'main') i, pragma_index_xinfo(i.name, 'main') x
		LEFT JOIN main.sqlite_schema s ON s.type = 'index' AND s.name = i.name
		WHERE m.type = 'table' AND m.rootpage <> 0 AND i."unique" = 1 AND x.key = 1 ORDER BY m.name, i.name, x.seqno`,
		[]any{&tname, &iname, &origin, &cid, &column, &desc, &coll, &create}, func() error {
			tb := byName[tname]
			if tb == nil {
				return nil
			}
			if origin == "pk" {
				tb.keyColl = append(tb.keyColl, coll.String)
				tb.keyDesc = append(tb.keyDesc, desc)
				return nil
			}
			if n := len(tb.uniques); n == 0 || tb.uniques[n-1].name != iname {
				tb.uniques = append(tb.uniques, unique{name: iname})
			}
			cur = &tb.uniques[len(tb.uniques)-1]
			return cur.add(tb, cid, column.String, coll.String, create.String)
		})
}

// loadOtherIndexes makes the indexes that are not unique part of the fingerprint, as the unique ones are: a
// table that differs in any of them is brought to followers anew.
func loadOtherIndexes(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	var name, create string
	return each(ctx, q, `SELECT tbl_name, sql FROM main.sqlite_schema
		WHERE type = 'index' AND substr(sql, 1, 13) = 'CREATE INDEX ' ORDER BY tbl_name, name`,
		[]any{&name, &create}, func() error {
			if tb := byName[name]; tb != nil {
				tb.sql += "\n" + create
			}
			return nil
		})
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

func loadParents(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	lower := make(map[string]*table, len(byName))
	for name, tb := range byName {
		lower[strings.ToLower(name)] = tb
	}
	var name, parent string
	var acts bool
	return each(ctx, q, `SELECT m.name, f."table", f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR f.on_update IN ('CASCADE', 'SET NULL', 'SET DEFAULT') FROM main.sqlite_schema m, pragma_foreign_key_list(m.name, 'main') f
		WHERE m.type = 'table' AND m.rootpage <> 0 ORDER BY m.name, f.id, f.seq`,
		[]any{&name, &parent, &acts}, func() error {
			if tb, p := byName[name], lower[strings.ToLower(parent)]; tb != nil && p != nil {
				tb.parents = append(tb.parents, p.Name)
				tb.cascaded = tb.cascaded || acts
				p.isParent = true
			}
			return nil
		})
}

// capturedTable is a row of ddb's own table of captures.
type capturedTable struct {
	id                int64
	name, fingerprint string
}

// captured lists the outboxes by their number.
func (e *engine) captured(ctx context.Context, q dialect.Querier) (map[int64]capturedTable, error) {
	out := make(map[int64]capturedTable)
	var c capturedTable
	err := each(ctx, q, "SELECT id, name, fingerprint FROM "+e.Own("captured"), []any{&c.id, &c.name, &c.fingerprint},
		func() error { out[c.id] = c; return nil })
	if missing(err) {
		return out, nil
	}
	return out, err
}

// missing reports whether an error says that a table is not there.
func missing(err error) bool { return err != nil && strings.Contains(err.Error(), "no such table") }

func loadIDs(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	var id int64
	var name string
	err := each(ctx, q, "SELECT id, name FROM "+quote(prefix+"captured"), []any{&id, &name}, func() error {
		if tb := byName[name]; tb != nil {
			tb.ID = id
		}
		return nil
	})
	if missing(err) {
		return nil
	}
	return err
}

// loadBare finds tables that were captured, but whose triggers are gone: DROP TABLE takes them along.
func loadBare(ctx context.Context, q dialect.Querier, byName map[string]*table) error {
	all, err := allTriggers(ctx, q)
	if err != nil {
		return err
	}
	held := make(map[string]bool)
	for _, t := range all {
		if own(t.name) {
			held[t.table] = true
		}
	}
	for name, tb := range byName {
		if tb.ID != 0 && !held[name] {
			tb.Bare = true
		}
	}
	return nil
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

// sortByParents puts parents before children; in a ring the name decides.
func sortByParents(list []*table) []*table {
	byName := make(map[string]*table, len(list))
	for _, tb := range list {
		byName[tb.Name] = tb
	}
	out := make([]*table, 0, len(list))
	seen := make(map[string]bool, len(list))
	var visit func(tb *table)
	visit = func(tb *table) {
		if seen[tb.Name] {
			return
		}
		seen[tb.Name] = true
		for _, p := range tb.parents {
			visit(byName[p])
		}
		out = append(out, tb)
	}
	for _, tb := range list {
		visit(tb)
	}
	return out
}
