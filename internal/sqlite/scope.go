package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// A schema statement of SQLite changes the rows of sqlite_schema that have the name of one table or view in tbl_name, unless it
// renames: a new name is written into all that mentions the old one, and so is a column's. There is one writer, so what a
// transaction finds when it begins is what its statements have changed.

var _ dialect.ScopeReader = (*engine)(nil)

// ScopeOf implements [dialect.ScopeReader].
func (e *engine) ScopeOf(tables []*dialect.Table, objects []dialect.Object, statements []dialect.Statement) (p dialect.Scope, ok bool) {
	for _, s := range statements {
		name := changes(s.SQL, objects)
		if name == "" {
			return nil, false
		}
		p = append(p, [2]string{"", name})
	}
	if e.bared.Load() {
		return nil, false
	}
	names := namesOf(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range tables {
		switch known := e.known[t.Name]; {
		case known == nil, known.Fingerprint != t.Fingerprint:
			return nil, false // another reading has come between
		case t.Refusal != "" && holds(names, t.Name):
			return nil, false // such as a virtual table, which takes others along
		}
	}
	return p, len(p) > 0
}

// changes returns the name of the only table or view that a statement may change, make or remove, "" if it may be several.
func changes(statement string, objects []dialect.Object) string {
	info, err := sqlclass.ParseSchema(sqlclass.SQLite, statement)
	if err != nil || info.Temporary || info.Virtual || len(info.More) > 0 {
		return ""
	}
	switch info.Object + " " + info.Verb {
	case "TABLE CREATE", "TABLE DROP", "VIEW CREATE", "VIEW DROP":
		return info.Name
	case "TABLE ALTER":
		if addsColumn(statement) {
			return info.Name
		}
	case "INDEX CREATE", "TRIGGER CREATE":
		return info.On.Name
	case "INDEX DROP", "TRIGGER DROP":
		for _, o := range objects {
			if strings.EqualFold(o.Kind, info.Object) && strings.EqualFold(o.Name, info.Name) {
				return o.Table
			}
		}
	}
	return ""
}

// addsColumn reports whether an ALTER TABLE does nothing but that. Whatever else it may do takes another word behind the name.
func addsColumn(statement string) bool {
	list := tokens(statement)
	at := 3 // behind ALTER TABLE name
	if len(list) > at && list[at].kind == '.' {
		at += 2
	}
	return len(list) > at && list[at].is("ADD")
}

func namesOf(p dialect.Scope) []string {
	names := make([]string, len(p))
	for i, n := range p {
		names[i] = n[1]
	}
	return names
}

// holds reports whether a name is one of the names, as SQLite compares them.
func holds(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// ReadScope implements [dialect.ScopeReader].
func (e *engine) ReadScope(ctx context.Context, q dialect.Querier, p dialect.Scope, tables []*dialect.Table, objects []dialect.Object) ([]*dialect.Table, []dialect.Object, error) {
	names := namesOf(p)
	rows, err := schemaRows(ctx, q, names)
	if err != nil {
		return nil, nil, fmt.Errorf("tables: %w", err)
	}
	list, err := e.loadTables(ctx, q, names, rows)
	if err != nil {
		return nil, nil, fmt.Errorf("tables: %w", err)
	}
	for _, t := range tables {
		if holds(names, t.Name) {
			continue
		}
		tb, err := e.info(ctx, q, t)
		if err != nil {
			return nil, nil, fmt.Errorf("tables: %w", err)
		}
		if tb.Table != t {
			copied := *tb
			copied.Table = t
			tb = &copied
		}
		list = append(list, tb)
	}
	slices.SortFunc(list, func(a, b *table) int { return strings.Compare(a.Name, b.Name) })
	return e.knows(sortByParents(relate(list))), replaceObjects(objects, names, objectsOf(rows)), nil
}

// replaceObjects returns the objects without those on the names, and with those that are on them now: behind the others of their kind.
func replaceObjects(objects []dialect.Object, names []string, now []dialect.Object) []dialect.Object {
	list := make([]dialect.Object, 0, len(objects)+len(now))
	for _, o := range objects {
		on := o.Table
		if on == "" {
			on = o.Name
		}
		if o.Kind == "pragma" || !holds(names, on) {
			list = append(list, o)
		}
	}
	list = append(list, now...)
	slices.SortStableFunc(list, func(a, b dialect.Object) int { return kindOrder(a.Kind) - kindOrder(b.Kind) })
	return list
}

// kindOrder is the order in which objects of these kinds can be made.
func kindOrder(kind string) int {
	return slices.Index([]string{"table", "index", "view", "trigger", "pragma"}, kind)
}

// objectsOf makes objects of the rows of sqlite_schema, in their order, but for what is ddb's own or SQLite's.
func objectsOf(rows []schemaRow) (list []dialect.Object) {
	for _, r := range rows {
		if r.sql == "" || own(r.name) || strings.HasPrefix(r.name, "sqlite_") {
			continue
		}
		o := dialect.Object{Kind: r.kind, Name: r.name, SQL: unguard(r.sql)}
		if r.kind == "index" || r.kind == "trigger" {
			o.Table = r.table
		}
		list = append(list, o)
	}
	return list
}

// InstallScope implements [dialect.ScopeReader].
func (e *engine) InstallScope(ctx context.Context, q dialect.Querier, p dialect.Scope, tables []*dialect.Table, mode dialect.CaptureMode) error {
	names := namesOf(p)
	var list []*dialect.Table
	for _, t := range tables {
		if holds(names, t.Name) {
			list = append(list, t)
		}
	}
	return e.install(ctx, q, names, list, mode)
}
