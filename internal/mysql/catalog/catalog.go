package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
)

// Read reads the catalogue: one query for each kind of thing and database, since
// the server looks into all databases' files for anything less plain.
func Read(ctx context.Context, q dialect.Querier, s *server.Server) (*Catalog, error) {
	b := catalogBuilder{server: s, tables: map[Name]*Table{}, prints: map[Name]*strings.Builder{}, moments: map[Name]map[string]int{}}
	for _, db := range append(slices.Clone(s.Databases()), s.OwnDatabase) {
		if err := b.read(ctx, q, db); err != nil {
			return nil, fmt.Errorf("database %q: %w", db, err)
		}
	}
	return b.finish(), nil
}

type catalogBuilder struct {
	server  *server.Server
	tables  map[Name]*Table
	prints  map[Name]*strings.Builder
	born    map[string]string       // of the database at hand, by table or file: see incarnations
	moments map[Name]map[string]int // by unique index: how many moments its columns end with
}

func (b *catalogBuilder) read(ctx context.Context, q dialect.Querier, db string) error {
	steps := []struct {
		query string
		add   func(db string, r []sql.NullString)
	}{
		{"SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT, " + b.server.FileName("TABLE_NAME") +
			" FROM information_schema.TABLES WHERE TABLE_SCHEMA=%s", b.addTable},
		{"SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT" +
			" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=%s ORDER BY TABLE_NAME, ORDINAL_POSITION", b.addColumn},
		{"SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE, INDEX_COMMENT, " + indexUse(b.server) +
			" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=%s ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX", b.addIndex},
		{"SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME" +
			" FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA=%s AND REFERENCED_TABLE_NAME IS NOT NULL" +
			" ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION", b.addReference},
		{"SELECT TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS" +
			" WHERE CONSTRAINT_SCHEMA=%s", b.addRules},
	}
	if err := b.incarnations(ctx, q, db); err != nil {
		return err
	}
	if b.server.MariaDB {
		steps = append(steps, struct {
			query string
			add   func(db string, r []sql.NullString)
		}{"SELECT TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS" +
			" WHERE CONSTRAINT_SCHEMA=%s ORDER BY TABLE_NAME, CONSTRAINT_NAME", b.addCheck})
	}
	for _, s := range steps {
		rows, err := lang.Texts(ctx, q, fmt.Sprintf(s.query, lang.Text(db)))
		if err != nil {
			return err
		}
		for _, r := range rows {
			s.add(db, r)
		}
	}
	return b.refusePeriods(ctx, q, db)
}

// note adds what a row says to the table's fingerprint; it returns nil for things
// that are not base tables.
func (b *catalogBuilder) note(db string, what string, r []sql.NullString) *Table {
	n := Name{db, r[0].String}
	t := b.tables[n]
	if t == nil {
		return nil
	}
	var line strings.Builder
	line.WriteString(what)
	for _, v := range r {
		fmt.Fprintf(&line, "|%t%q", v.Valid, v.String)
	}
	b.prints[n].WriteString(line.String())
	part := dialect.Part{Kind: what, Text: line.String()}
	switch what {
	case "table":
		t.Parts = options(r)
		return t
	case "index":
		part.Column = r[3].String
	case "reference":
		part.Column = r[2].String
	}
	part.Name = r[1].String
	t.Parts = append(t.Parts, part)
	return t
}

// options are what a table's row says of it as a whole.
func options(r []sql.NullString) (list []dialect.Part) {
	for i, name := range []string{"ENGINE", "COLLATE", "", "COMMENT"} {
		if name != "" {
			list = append(list, dialect.Part{Kind: "option", Name: name, Text: r[2+i].String})
		}
	}
	for option := range strings.FieldsSeq(r[4].String) {
		name, _, _ := strings.Cut(option, "=")
		list = append(list, dialect.Part{Kind: "option", Name: strings.Trim(name, "`"), Text: option})
	}
	return list
}

func (b *catalogBuilder) addTable(db string, r []sql.NullString) {
	name, typ, engine := r[0].String, r[1].String, r[2].String
	own := db == b.server.OwnDatabase
	if typ == "VIEW" || typ == "SYSTEM VIEW" || own && !slices.Contains(dialect.OwnReplicated, name) {
		return
	}
	t := &Table{Table: &dialect.Table{Database: db, Name: name, Own: own, Incarnation: b.born[name]}}
	if b.server.Process {
		t.Incarnation = b.born[r[6].String]
	}
	full := t.SQLName()
	switch {
	case typ == "SEQUENCE":
		t.Refusal = fmt.Sprintf("%s is a sequence, whose values are handed out apart from transactions: DROP SEQUENCE %s and use an AUTO_INCREMENT column", full, full)
	case typ == "SYSTEM VERSIONED":
		t.Refusal = fmt.Sprintf("table %s is system-versioned, and its history is not replicated: ALTER TABLE %s DROP SYSTEM VERSIONING", full, full)
	case !strings.EqualFold(engine, "InnoDB"):
		t.Refusal = fmt.Sprintf("table %s has engine %s, which knows no transactions: ALTER TABLE %s ENGINE=InnoDB", full, engine, full)
	}
	b.tables[Name{db, name}] = t
	b.prints[Name{db, name}] = &strings.Builder{}
	b.note(db, "table", r[:6])
}

func (b *catalogBuilder) addColumn(db string, r []sql.NullString) {
	t := b.note(db, "column", r)
	if t == nil {
		return
	}
	extra := strings.ToUpper(r[8].String)
	c := dialect.Column{
		Name: r[1].String, Type: r[2].String, Nullable: r[6].String == "YES", Default: r[7].String,
		Generated:     strings.Contains(extra, "VIRTUAL GENERATED") || strings.Contains(extra, "STORED GENERATED") || strings.Contains(extra, "PERSISTENT"),
		AutoIncrement: strings.Contains(extra, "AUTO_INCREMENT"),
	}
	if c.Nullable && c.Default == "NULL" {
		c.Default = ""
	}
	if strings.Contains(c.Default, "nextval(`") && t.Refusal == "" {
		t.Refusal = fmt.Sprintf("column %s of table %s takes its values from a sequence, which is not replicated: ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT, or MODIFY it to AUTO_INCREMENT",
			lang.Ident(c.Name), t.SQLName(), t.SQLName(), lang.Ident(c.Name))
	}
	t.Columns = append(t.Columns, c)
	if c.Generated {
		return
	}
	typ, _, _ := strings.Cut(r[2].String, " /*")
	t.Stored = append(t.Stored, c.Name)
	t.StoredColumns = append(t.StoredColumns, codec.Column{
		Name: c.Name, Type: typ, Charset: r[4].String, Collation: r[5].String,
		Kind: codec.KindOf(strings.ToLower(r[3].String), b.server.MariaDB), Auto: c.AutoIncrement,
	})
}

func (b *catalogBuilder) addIndex(db string, r []sql.NullString) {
	t := b.note(db, "index", r)
	if t == nil || r[2].String != "0" {
		return
	}
	b.noteMoment(t, r[1].String, r[3].String)
	if r[1].String != "PRIMARY" {
		t.Unique = true
		return
	}
	i := slices.Index(t.Stored, r[3].String)
	switch {
	case t.Refusal != "":
	case i < 0:
		t.Refusal = fmt.Sprintf("the primary key of table %s has the generated column %s: "+
			"ALTER TABLE %s DROP PRIMARY KEY, ADD PRIMARY KEY (...) of other columns", t.SQLName(), r[3].String, t.SQLName())
	case r[4].Valid:
		t.Refusal = fmt.Sprintf("the primary key of table %s covers only the first %s characters of %s: "+
			"ALTER TABLE %s DROP PRIMARY KEY, ADD PRIMARY KEY (...) of whole columns", t.SQLName(), r[4].String, r[3].String, t.SQLName())
	default:
		t.Key = append(t.Key, i)
	}
}

func (b *catalogBuilder) addReference(db string, r []sql.NullString) {
	parent := r[3].String
	if parent == db {
		r[3].String = "" // the same on a node where the database has another name
	}
	t := b.note(db, "reference", r)
	if t == nil {
		return
	}
	n := len(t.Foreign)
	if n == 0 || t.Foreign[n-1].Name != r[1].String {
		t.Foreign = append(t.Foreign, ForeignKey{Name: r[1].String, Parent: Name{parent, r[4].String}})
		n++
	}
	f := &t.Foreign[n-1]
	f.Columns = append(f.Columns, r[2].String)
	f.Refs = append(f.Refs, r[5].String)
}

func (b *catalogBuilder) addRules(db string, r []sql.NullString) {
	t := b.tables[Name{db, r[0].String}]
	if t == nil {
		return
	}
	for i := range t.Foreign {
		if f := &t.Foreign[i]; f.Name == r[1].String {
			f.OnUpdate, f.OnDelete = r[2].String, r[3].String
		}
	}
}

// incarnations tells tables of the same definition apart: TRUNCATE makes a table anew, and so may
// another client, with no trigger to see it.
func (b *catalogBuilder) incarnations(ctx context.Context, q dialect.Querier, db string) error {
	b.born = make(map[string]string)
	if !b.server.Process {
		rows, err := lang.Texts(ctx, q, "SELECT TABLE_NAME, CREATE_TIME+0 FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(db))
		for _, r := range rows {
			b.born[r[0].String] = r[1].String
		}
		return err
	}
	rows, err := lang.Texts(ctx, q, tableIDs(b.server, db))
	for _, r := range rows {
		_, name, _ := strings.Cut(r[0].String, "/")
		name, _, _ = strings.Cut(name, "#") // a partition's goes on with #
		b.born[name] += "." + r[1].String
	}
	return err
}

func (b *catalogBuilder) addCheck(db string, r []sql.NullString) { b.note(db, "check", r) }

// finish settles what needs all tables: refusals, fingerprints and the order.
func (b *catalogBuilder) finish() *Catalog {
	c := &Catalog{Tables: b.tables}
	for n, t := range b.tables {
		p := b.prints[n]
		for _, f := range t.Foreign {
			rule := fmt.Sprintf("rule|%s|%s|%s", f.Name, f.OnUpdate, f.OnDelete)
			p.WriteString(rule)
			t.Parts = append(t.Parts, dialect.Part{Kind: "reference", Name: f.Name, Column: f.Columns[0], Text: rule})
			if Acts(f.OnUpdate) || Acts(f.OnDelete) {
				t.Follows = append(t.Follows, [2]string{f.Parent.DB, f.Parent.Name})
			}
		}
		t.Fingerprint = lang.Digest(p.String())
		t.ExactKey = exactKey(t)
		if t.Refusal == "" {
			t.Refusal = b.refusal(t)
		}
	}
	for _, t := range b.tables {
		if t.Refusal == "" {
			if _, err := c.Cascades(t); err != nil {
				t.Refusal = err.Error()
			}
		}
	}
	return c
}

func (b *catalogBuilder) refusal(t *Table) string {
	for _, c := range t.KeyColumns() {
		if members, ok := strings.CutPrefix(c.Type, "set('"); ok && slices.Contains(strings.Split(strings.TrimSuffix(members, "')"), "','"), "") {
			return fmt.Sprintf("column %s in the primary key of table %s is a SET with an empty member, which reads like no member at all: "+
				"ALTER TABLE %s MODIFY %s SET(...) without ''", lang.Ident(c.Name), t.SQLName(), t.SQLName(), lang.Ident(c.Name))
		}
	}
	if len(t.Key) == 0 {
		return fmt.Sprintf("table %s has no primary key: ALTER TABLE %s ADD PRIMARY KEY (...) of the columns that identify a row, "+
			"or ALTER TABLE %s ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY", t.SQLName(), t.SQLName(), t.SQLName())
	}
	for _, f := range t.Foreign {
		parent := b.tables[f.Parent]
		if (parent == nil || parent.Refusal != "") && (Acts(f.OnDelete) || Acts(f.OnUpdate)) {
			return fmt.Sprintf("foreign key %s of table %s changes rows whenever %s changes, which is not replicated: "+
				"replicate that table too, or ALTER TABLE %s DROP FOREIGN KEY %s and add it without CASCADE and SET NULL",
				lang.Ident(f.Name), t.SQLName(), lang.Qualified(f.Parent.DB, f.Parent.Name), t.SQLName(), lang.Ident(f.Name))
		}
	}
	return ""
}
