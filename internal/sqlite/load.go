package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

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
