package schema

import (
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Difference is what must be shipped to bring followers from a record to a state.
type Difference struct {
	Statements []dialect.Statement
	Rebuild    []*dialect.Table
	Replaces   bool // followers have some of the tables, with rows
}

// Told is what followers hear of a change by statements that ddb ran.
type Told struct {
	Statements []dialect.Statement
	inPlace    map[journal.TableName]bool // tables that the statements changed while their rows stayed
	whole      map[journal.TableName]bool // tables to be shipped whole, even if they look as recorded
	objects    []Object                   // what else the statements are about: kinds and names
	Counters   bool                       // no statement explains the change: another client may have set a counter by one of its own
}

// Tell decides which statements followers run themselves, where they cannot be part of a transaction: other clients wrote,
// and may have changed the schema, between the pass before them and the snapshot of their entry, in which the tables noted
// have notes. An ALTER TABLE that made the table anew, which TRUNCATE by another client may also have done, is not told of,
// nor one that may fail on followers for rows that are not there any more.
func Tell(rec Record, before *store.Catalogue, st *State, hints []dialect.Statement, noted []*dialect.Table) Told {
	t := Told{inPlace: make(map[journal.TableName]bool), whole: make(map[journal.TableName]bool)}
	var alters, others []dialect.Statement
	var emptied []journal.TableName
	kept := ConcernsKept(before, st, rec, hints)
	certain := !kept
	for _, h := range hints {
		info, err := sqlclass.ParseSchema(sqlclass.MySQL, h.SQL)
		if err != nil || info.Temporary {
			continue
		}
		names := st.subjects(info, h.Database)
		switch {
		case info.Object == "TABLE" && info.Verb == "ALTER", info.Object == "INDEX":
			alters = append(alters, h)
			for _, n := range names {
				t.inPlace[n] = true
				certain = certain && len(names) == 1 && Portable(dialect.MySQL, h.SQL) && changedInPlace(rec, before, st, n) &&
					explains(h.SQL, before.ByName[n], st.Cat.ByName[n]) &&
					!zoned([]dialect.Statement{h}, before.ByName[n], st.Cat.ByName[n]) &&
					(info.Additive || !info.References && !slices.Contains(noted, st.Cat.ByName[n]))
			}
		case info.Object == "TABLE" && (info.Verb == "TRUNCATE" || info.OrReplace):
			emptied = append(emptied, names...)
		case info.Object == "TABLE", info.Object == "DATABASE" && info.Verb != "ALTER", kept, !Portable(dialect.MySQL, h.SQL): // the comparison shows all
		default:
			others = append(others, h)
			for _, n := range names {
				t.objects = append(t.objects, Object{Kind: strings.ToLower(info.Object), Database: n.Database, Name: n.Table})
			}
		}
	}
	if !certain || len(alters) > 0 && st.differsBeside(rec, t.inPlace) {
		t.inPlace, t.whole, alters = nil, t.inPlace, nil
	}
	for _, n := range emptied {
		t.whole[n] = true
	}
	t.Statements = append(alters, others...)
	return t
}

// subjects lists the names of what a statement is about, as entries name them.
func (s *State) subjects(info sqlclass.SchemaInfo, database string) (list []journal.TableName) {
	names := append([]sqlclass.Name{{Database: info.Database, Name: info.Name}}, info.More...)
	if info.Object == "INDEX" {
		names = []sqlclass.Name{info.On}
	}
	for _, n := range names {
		name := journal.TableName{Database: database, Table: n.Name}
		if n.Database != "" {
			name.Database = s.node.Logical(n.Database)
		}
		if s.Cat.ByName[name] == nil && (info.Object == "TABLE" || info.Object == "INDEX") { // the server may take letters of both cases for the same
			for other := range s.Cat.ByName {
				if strings.EqualFold(other.Database, name.Database) && strings.EqualFold(other.Table, name.Table) {
					name = other
				}
			}
		}
		list = append(list, name)
	}
	return list
}

// changedInPlace reports whether the table was known to followers before and has still the same rows, captured in the same way.
func changedInPlace(rec Record, before *store.Catalogue, st *State, n journal.TableName) bool {
	was, is := before.ByName[n], st.Cat.ByName[n]
	return was != nil && is != nil && is.Refusal == "" && rec.Tables[n.Key()] == Identity(was) &&
		was.Incarnation == is.Incarnation && !is.Bare && was.ID == is.ID && slices.Equal(KeyNames(was), KeyNames(is))
}

// explains reports whether all that has become of the table's definition is about what the ALTER TABLE names: another
// client may have altered the table just before it, or just after, which followers that run the statement would not hear of.
func explains(statement string, was, is *dialect.Table) bool {
	names := sqlclass.Names(sqlclass.MySQL, statement)
	named := func(name string) bool { return names[strings.ToLower(name)] }
	differ := make(map[dialect.Part]int)
	for _, p := range was.Parts {
		differ[p]--
	}
	for _, p := range is.Parts {
		differ[p]++
	}
	for p, n := range differ {
		switch {
		case n == 0, named(p.Name), p.Column != "" && named(p.Column):
		case p.Kind == "check" && (names["check"] || names["constraint"]): // the server gives it a name
		case p.Kind == "option" && p.Name == "COLLATE" && (names["charset"] || names["character"]):
		default:
			return false
		}
	}
	others := func(t *dialect.Table) (list []string) {
		for _, c := range t.Columns {
			if !named(c.Name) {
				list = append(list, c.Name)
			}
		}
		return list
	}
	return slices.Equal(others(was), others(is))
}

// differsBeside reports whether any table but those is not as recorded.
func (s *State) differsBeside(rec Record, but map[journal.TableName]bool) bool {
	now := s.Record(0)
	for key, is := range now.Tables {
		if rec.Tables[key] != is && !but[journal.NameOfKey(key)] {
			return true
		}
	}
	for key := range rec.Tables {
		if _, ok := now.Tables[key]; !ok {
			return true
		}
	}
	return false
}

// Compare finds the difference, as far as followers are not told of it by statements.
func Compare(rec Record, st *State, t Told) Difference {
	var d Difference
	now := st.Record(0)
	if st.node.Engine.Transactional() && len(t.Statements) > 0 {
		d.Statements = append(slices.Clone(t.Statements), inPassing(rec, now, st, t.Statements)...)
		return d
	}
	changed := st.changed(rec, now, t)
	for _, o := range rec.Objects {
		if n, ok := now.Objects[o.key()]; ok && (n.Hash == o.Hash || o.Kind == "database") || now.without(o.Database) || t.about(o) {
			continue
		}
		d.Statements = append(d.Statements, st.dropStatement(o.Kind, o.Database, o.Name))
	}
	for key := range rec.Tables {
		if _, ok := now.Tables[key]; !ok {
			if n := journal.NameOfKey(key); !now.without(n.Database) {
				d.Statements = append(d.Statements, st.dropStatement("table", n.Database, n.Table))
			}
		}
	}
	anew := make(map[journal.TableName]bool) // tables and views, whose triggers go with them
	for _, t := range changed {
		n := st.node.Name(t)
		anew[n] = true
		if !rec.without(n.Database) { // followers have the database
			d.Statements = append(d.Statements, st.dropStatement("table", n.Database, n.Table))
		}
		_, known := rec.Tables[n.Key()]
		d.Replaces = d.Replaces || known
	}
	for _, o := range st.objects {
		was, known := rec.Objects[objectKey(o)]
		switch {
		case partOfTable(o):
			if !slices.ContainsFunc(changed, func(t *dialect.Table) bool { return st.belongs(o, t) }) {
				continue
			}
		case t.about(Object{Kind: o.Kind, Database: o.Database, Name: o.Name}):
			continue
		case known && was.Hash == now.Objects[objectKey(o)].Hash && !(o.Kind == "trigger" && anew[journal.TableName{Database: o.Database, Table: o.Table}]):
			continue
		case o.Kind == "view":
			anew[journal.TableName{Database: o.Database, Table: o.Name}] = true
		}
		d.Statements = append(d.Statements, dialect.Statement{SQL: o.SQL, Database: o.Database})
	}
	d.Statements = append(d.Statements, t.Statements...)
	d.Rebuild = changed
	return d
}

// changed lists the tables to be shipped whole: those that are not as recorded, and all that cascades reach from them, as
// rows of those may have changed before there were triggers to note it.
func (s *State) changed(rec, now Record, t Told) (list []*dialect.Table) {
	seen := make(map[[2]string]bool)
	for more := true; more; {
		more = false
		for _, x := range s.Cat.Replicated() {
			name, place := s.node.Name(x), [2]string{x.Database, x.Name}
			differs := rec.Tables[name.Key()] != now.Tables[name.Key()] && !t.inPlace[name] || x.Bare || t.whole[name]
			if !x.Own && !seen[place] && (differs || slices.ContainsFunc(x.Follows, func(p [2]string) bool { return seen[p] })) {
				seen[place], more = true, true
			}
		}
	}
	for _, x := range s.Cat.Replicated() {
		if seen[[2]string{x.Database, x.Name}] {
			list = append(list, x)
		}
	}
	return list
}

// about reports whether a statement tells of the object.
func (t Told) about(o Object) bool {
	return slices.ContainsFunc(t.objects, func(s Object) bool {
		return s.Kind == o.Kind && s.Database == o.Database && strings.EqualFold(s.Name, o.Name)
	})
}

// inPassing lists what followers must be told besides the hints because of what those did to triggers in passing: DROP TABLE
// takes them along, and RENAME rewrites them. A replica cannot see that, as it keeps them back; see package apply, runSchema.
func inPassing(rec, now Record, st *State, hints []dialect.Statement) (list []dialect.Statement) {
	for _, o := range rec.Objects {
		if n, ok := now.Objects[o.key()]; o.Kind != "trigger" || ok && n.Hash == o.Hash || now.without(o.Database) || names(hints, o, st) {
			continue
		}
		list = append(list, st.dropStatement(o.Kind, o.Database, o.Name))
		for _, object := range st.objects {
			if objectKey(object) == o.key() {
				list = append(list, dialect.Statement{SQL: object.SQL, Database: object.Database})
			}
		}
	}
	return list
}

// names reports whether a hint is about the trigger itself.
func names(hints []dialect.Statement, o Object, st *State) bool {
	return slices.ContainsFunc(hints, func(s dialect.Statement) bool {
		info, err := sqlclass.ParseSchema(st.node.Dialect.Language(), s.SQL)
		return err == nil && info.Object == "TRIGGER" && info.Name == o.Name
	})
}

// dropStatement drops an object of a database, as entries name it.
func (st *State) dropStatement(kind, database, name string) dialect.Statement {
	if d, ok := st.node.Engine.(dialect.Dropper); ok {
		if sql := d.DropStatement(kind, name); sql != "" {
			return dialect.Statement{SQL: sql}
		}
	}
	if kind == "database" {
		database = ""
	}
	return dialect.Statement{Database: database, SQL: "DROP " + strings.ToUpper(kind) + " IF EXISTS " + store.QuoteName("", name)}
}

// without reports whether a database of that name was dropped: what was in it is gone with it, and a statement about it
// would run in another database.
func (r Record) without(database string) bool {
	_, there := r.Objects[Object{Kind: "database", Name: database}.key()]
	return database != "" && !there
}

// belongs reports whether the object makes the table, or an index or a trigger on it.
func (s *State) belongs(o dialect.Object, t *dialect.Table) bool {
	if o.Database != s.node.Logical(t.Database) {
		return false
	}
	if o.Kind == "table" {
		return o.Name == t.Name
	}
	return o.Table == t.Name
}

// KeyNames returns the names of the columns that are the table's key.
func KeyNames(t *dialect.Table) []string {
	var names []string
	for _, k := range t.Key {
		names = append(names, t.Stored[k])
	}
	return names
}
