package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// schemaRow is a row of sqlite_schema.
type schemaRow struct {
	rowid                  int64
	kind, name, table, sql string
}

// schemaRows reads sqlite_schema: the rows on the tables and views of these names, or all if names is nil.
func schemaRows(ctx context.Context, q dialect.Querier, names []string) ([]schemaRow, error) {
	var list []schemaRow
	var r schemaRow
	var create sql.NullString // NULL for an index that a constraint has made
	err := each(ctx, q, "SELECT rowid, type, name, tbl_name, sql FROM main.sqlite_schema"+among("tbl_name", names)+" ORDER BY rowid",
		[]any{&r.rowid, &r.kind, &r.name, &r.table, &create}, func() error {
			r.sql = create.String
			list = append(list, r)
			return nil
		})
	return list, err
}

// among returns the condition that a column holds one of the names, as SQLite compares names, or nothing if names is nil.
func among(column string, names []string) string {
	if names == nil {
		return ""
	}
	literals := make([]string, len(names))
	for i, n := range names {
		literals[i] = literal(n)
	}
	return " WHERE " + column + " COLLATE NOCASE IN (" + strings.Join(literals, ", ") + ")"
}

// load reads the catalogue.
func (e *engine) load(ctx context.Context, q dialect.Querier) ([]*table, error) {
	rows, err := schemaRows(ctx, q, nil)
	if err != nil {
		return nil, err
	}
	list, err := e.loadTables(ctx, q, nil, rows)
	if err != nil {
		return nil, err
	}
	return sortByParents(relate(list)), nil
}

// loadTables reads the tables among rows, which are those on names, or all if names is nil.
func (e *engine) loadTables(ctx context.Context, q dialect.Querier, names []string, rows []schemaRow) ([]*table, error) {
	l := loader{e: e, names: names, rows: rows, byName: make(map[string]*table)}
	for _, step := range []func(context.Context, dialect.Querier) error{l.tables, l.columns, l.indexes, l.otherIndexes, l.references, l.captures} {
		if err := step(ctx, q); err != nil {
			return nil, err
		}
	}
	for _, tb := range l.list {
		tb.finish()
		if tb.Refusal == "" && tb.keyNullable && l.captured[tb.ID].fingerprint == "" {
			if err := tb.checkNulls(ctx, q); err != nil {
				return nil, err
			}
		}
	}
	return l.list, nil
}

// loader reads tables, step by step.
type loader struct {
	e        *engine
	names    []string // nil for all
	rows     []schemaRow
	list     []*table
	byName   map[string]*table
	captured map[int64]capturedTable
	from     string // see values: the tables that have columns, "" if there are none
}

// tables lists the tables without their columns.
func (l *loader) tables(ctx context.Context, q dialect.Querier) error {
	creates := make(map[string]string)
	var names []string
	for _, r := range l.rows {
		if r.kind == "table" && !strings.HasPrefix(r.name, "sqlite_") && (!own(r.name) || ownReplicated(r.name)) {
			creates[r.name] = r.sql
			names = append(names, r.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	from := "pragma_table_list l"
	if l.names != nil {
		from = values(names) + ", pragma_table_list(m.column1) l"
	}
	var name, kind string
	var wr, strict bool
	err := each(ctx, q, "SELECT l.name, l.type, l.wr, l.strict FROM "+from+" WHERE l.schema = 'main'",
		[]any{&name, &kind, &wr, &strict}, func() error {
			create, ok := creates[name]
			if !ok || kind == "shadow" {
				return nil
			}
			tb := &table{Table: &dialect.Table{Name: name, Own: own(name)}, sql: create, withoutRowid: wr, strict: strict}
			if kind == "virtual" {
				tb.Refusal = fmt.Sprintf("table %s is a virtual table, which keeps its rows where no trigger sees them; it stays local. "+
					"Fill it by triggers from an ordinary table, or DROP TABLE %s", name, quote(name))
				tb.virtual = true
			}
			l.list = append(l.list, tb)
			l.byName[name] = tb
			return nil
		})
	slices.SortFunc(l.list, func(a, b *table) int { return cmp.Compare(a.Name, b.Name) })
	names = names[:0]
	for _, tb := range l.list {
		if !tb.virtual {
			names = append(names, tb.Name)
		}
	}
	if len(names) > 0 {
		l.from = values(names)
	}
	return err
}

// lookFirst makes a statement look at the file: a PRAGMA alone tells what the connection has last read of the schema.
const lookFirst = "(SELECT 1 FROM main.sqlite_schema LIMIT 1)"

// values returns what to select from for the names, of which there is one at least, in the column m.column1.
func values(names []string) string {
	literals := make([]string, len(names))
	for i, n := range names {
		literals[i] = "(" + literal(n) + ")"
	}
	return lookFirst + " CROSS JOIN (VALUES " + strings.Join(literals, ", ") + ") m"
}

func (l *loader) columns(ctx context.Context, q dialect.Querier) error {
	if l.from == "" {
		return nil
	}
	var tname, name, typ string
	var notNull bool
	var def sql.NullString
	var pk, hidden int
	keys := make(map[*table][][2]int)
	err := each(ctx, q, `SELECT m.column1, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
		FROM `+l.from+`, pragma_table_xinfo(m.column1, 'main') x ORDER BY m.column1, x.cid`,
		[]any{&tname, &name, &typ, &notNull, &def, &pk, &hidden}, func() error {
			tb := l.byName[tname]
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

// indexes reads the unique indexes: the key's, for its collations, and the others,
// for the rows that they can remove.
func (l *loader) indexes(ctx context.Context, q dialect.Querier) error {
	if l.from == "" {
		return nil
	}
	creates := make(map[string]string)
	for _, r := range l.rows {
		if r.kind == "index" {
			creates[r.name] = r.sql
		}
	}
	var tname, iname, origin string
	var coll, column sql.NullString
	var desc bool
	var cid int
	var cur *unique
	return each(ctx, q, `SELECT m.column1, i.name, i.origin, x.cid, x.name, x.desc, x.coll
		FROM `+l.from+`, pragma_index_list(m.column1, 'main') i, pragma_index_xinfo(i.name, 'main') x
		WHERE i."unique" = 1 AND x.key = 1 ORDER BY m.column1, i.name, x.seqno`,
		[]any{&tname, &iname, &origin, &cid, &column, &desc, &coll}, func() error {
			tb := l.byName[tname]
			if origin == "pk" {
				tb.keyColl = append(tb.keyColl, coll.String)
				tb.keyDesc = append(tb.keyDesc, desc)
				return nil
			}
			if n := len(tb.uniques); n == 0 || tb.uniques[n-1].name != iname {
				tb.uniques = append(tb.uniques, unique{name: iname})
			}
			cur = &tb.uniques[len(tb.uniques)-1]
			return cur.add(tb, cid, column.String, coll.String, creates[iname])
		})
}

// otherIndexes makes the indexes that are not unique part of the fingerprint, as the unique ones are: a
// table that differs in any of them is brought to followers anew.
func (l *loader) otherIndexes(context.Context, dialect.Querier) error {
	var list []schemaRow
	for _, r := range l.rows {
		if r.kind == "index" && strings.HasPrefix(r.sql, "CREATE INDEX ") {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b schemaRow) int { return cmp.Compare(a.name, b.name) })
	for _, r := range list {
		if tb := l.byName[r.table]; tb != nil {
			tb.sql += "\n" + r.sql
		}
	}
	return nil
}

// references reads the foreign keys.
func (l *loader) references(ctx context.Context, q dialect.Querier) error {
	if l.from == "" {
		return nil
	}
	var name string
	var r reference
	return each(ctx, q, `SELECT m.column1, f."table", f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR f.on_update IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
		FROM `+l.from+`, pragma_foreign_key_list(m.column1, 'main') f ORDER BY m.column1, f.id, f.seq`,
		[]any{&name, &r.parent, &r.acts}, func() error {
			l.byName[name].references = append(l.byName[name].references, r)
			return nil
		})
}

// captures gives the tables the numbers of their outboxes, and finds those that were captured, but whose triggers are gone:
// DROP TABLE takes them along.
func (l *loader) captures(ctx context.Context, q dialect.Querier) (err error) {
	if l.captured, err = l.e.captured(ctx, q, l.names); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(l.captured)) {
		if tb := l.byName[l.captured[id].name]; tb != nil {
			tb.ID = id
		}
	}
	held := make(map[string]bool)
	for _, r := range l.rows {
		if r.kind == "trigger" && own(r.name) {
			held[r.table] = true
		}
	}
	for _, tb := range l.list {
		tb.Bare = tb.ID != 0 && !held[tb.Name]
	}
	return nil
}

// capturedTable is a row of ddb's own table of captures.
type capturedTable struct {
	id                int64
	name, fingerprint string
}

// captured lists the outboxes by their number: those of the tables of these names, or all if names is nil.
func (e *engine) captured(ctx context.Context, q dialect.Querier, names []string) (map[int64]capturedTable, error) {
	out := make(map[int64]capturedTable)
	var c capturedTable
	err := each(ctx, q, "SELECT id, name, fingerprint FROM "+e.Own("captured")+among("name", names), []any{&c.id, &c.name, &c.fingerprint},
		func() error { out[c.id] = c; return nil })
	if missing(err) {
		return out, nil
	}
	return out, err
}

// missing reports whether an error says that a table is not there.
func missing(err error) bool { return err != nil && strings.Contains(err.Error(), "no such table") }

// relate says of each table what foreign keys make of it, given all tables. Where that has changed it returns a copy.
func relate(list []*table) []*table {
	lower := make(map[string]*table, len(list))
	for _, tb := range list {
		lower[strings.ToLower(tb.Name)] = tb
	}
	isParent := make(map[*table]bool)
	for _, tb := range list {
		for _, r := range tb.references {
			if p := lower[strings.ToLower(r.parent)]; p != nil {
				isParent[p] = true
			}
		}
	}
	for i, tb := range list {
		var parents []string
		cascaded := false
		for _, r := range tb.references {
			if p := lower[strings.ToLower(r.parent)]; p != nil {
				parents = append(parents, p.Name)
				cascaded = cascaded || r.acts
			}
		}
		if !slices.Equal(tb.parents, parents) || tb.cascaded != cascaded || tb.isParent != isParent[tb] {
			copied := *tb
			copied.parents, copied.cascaded, copied.isParent = parents, cascaded, isParent[tb]
			list[i] = &copied
		}
	}
	return list
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
