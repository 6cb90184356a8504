// Package schema finds out what of a schema followers must be told. State is the schema as the database shows it, Record the schema as followers
// know it, and Compare, which looks at nothing but these two, their Difference. What is kept on the master, and is no
// part of either, stands in kept.go, and what the session of a schema statement has to do with it in session.go.
package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Stays reports whether objects of that kind are not replicated.
func Stays(object string) bool {
	return object == "EVENT" || object == "SEQUENCE" || strings.HasPrefix(object, "PACKAGE")
}

// Record is the schema as followers know it.
type Record struct {
	Tables  map[string]string `cbor:"1,keyasint"` // by TableName.Key: identity
	Objects map[string]Object `cbor:"2,keyasint"` // by kind and name: everything but tables
	LSN     journal.LSN       `cbor:"3,keyasint"` // last entry with a schema statement
}

// Object is a thing of a schema that is no table, and the hash of the statement that makes it.
type Object struct {
	Kind, Database, Name, Hash string
}

func (o Object) key() string {
	return o.Kind + " " + journal.TableName{Database: o.Database, Table: o.Name}.Key()
}

// State is the schema as the database shows it.
type State struct {
	node    *store.Store
	Cat     *store.Catalogue
	all     []dialect.Object // as the engine lists them
	objects []dialect.Object // what followers get of them
	kept    []string         // names of what followers do not get
	record  *Record          // made when it is first asked for
}

// Read reads the schema, and makes the tables that it finds the store's catalogue.
func Read(ctx context.Context, n *store.Store, q dialect.Querier) (*State, error) {
	cat, err := n.LoadTables(ctx, q)
	if err != nil {
		return nil, err
	}
	objects, err := n.Engine.Objects(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("node %s: read schema: %w", n.ID, err)
	}
	return newState(n, cat, objects), nil
}

// ReadFor is Read for who compares the state with the record after these statements, with databases named as in entries: where the
// definition of each table takes a query, it reads those only that may have to be shipped.
func ReadFor(ctx context.Context, n *store.Store, q dialect.Querier, rec Record, statements []dialect.Statement) (*State, error) {
	e, ok := n.Engine.(dialect.DefinitionReader)
	if !ok {
		return Read(ctx, n, q)
	}
	cat, err := n.LoadTables(ctx, q)
	if err != nil {
		return nil, err
	}
	others, err := e.OtherObjects(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("node %s: read schema: %w", n.ID, err)
	}
	s := newState(n, cat, others)
	return s.Defined(ctx, q, s.suspects(rec, statements))
}

// Defined returns the state with the definitions of these tables, as far as they are not in it.
func (s *State) Defined(ctx context.Context, q dialect.Querier, tables []*dialect.Table) (*State, error) {
	e, ok := s.node.Engine.(dialect.DefinitionReader)
	var lacking []*dialect.Table
	for _, t := range tables {
		if !slices.ContainsFunc(s.all, func(o dialect.Object) bool { return o.Kind == "table" && o.Database == t.Database && o.Name == t.Name }) {
			lacking = append(lacking, t)
		}
	}
	if !ok || len(lacking) == 0 {
		return s, nil
	}
	definitions, err := e.Definitions(ctx, q, lacking)
	if err != nil {
		return nil, fmt.Errorf("node %s: read schema: %w", s.node.ID, err)
	}
	at := 0 // behind the databases, and before what may need tables
	for at < len(s.all) && (s.all[at].Kind == "database" || s.all[at].Kind == "table") {
		at++
	}
	return newState(s.node, s.Cat, slices.Insert(slices.Clone(s.all), at, definitions...)), nil
}

// suspects lists the tables that Compare may find changed: what is not as recorded, what the statements name, and what cascades reach
// from there.
func (s *State) suspects(rec Record, statements []dialect.Statement) []*dialect.Table {
	t := Told{whole: make(map[journal.TableName]bool)}
	for _, st := range statements {
		info, err := sqlclass.ParseSchema(s.node.Dialect.Language(), st.SQL)
		if err != nil {
			continue
		}
		for _, name := range s.subjects(info, st.Database) {
			t.whole[name] = true
		}
	}
	return s.changed(rec, s.Record(0), t)
}

func newState(n *store.Store, cat *store.Catalogue, objects []dialect.Object) *State {
	st := &State{node: n, Cat: cat, all: objects}
	st.objects, st.kept = Shippable(n, cat, objects)
	return st
}

// Follow is Read where nothing has changed the schema, since it was like s, but the statements, which have run. It reads no more than
// what those may have changed, and returns that too; the scope is nil if everything had to be read.
func (s *State) Follow(ctx context.Context, q dialect.Querier, statements []dialect.Statement) (*State, dialect.Scope, error) {
	cat, objects, scope, err := s.node.Follow(ctx, q, s.Cat, s.all, statements)
	if err != nil {
		return nil, nil, err
	}
	if scope == nil {
		st, err := Read(ctx, s.node, q)
		return st, nil, err
	}
	return newState(s.node, cat, objects), scope, nil
}

// Within lists the replicated tables of a scope that Follow has returned; it is never nil.
func (s *State) Within(scope dialect.Scope) []*dialect.Table {
	list := make([]*dialect.Table, 0, len(scope))
	for _, t := range s.Cat.Replicated() {
		if slices.ContainsFunc(scope, func(n [2]string) bool { return n[0] == t.Database && strings.EqualFold(n[1], t.Name) }) {
			list = append(list, t)
		}
	}
	return list
}

// Record returns what followers know who have been told of the state up to the entry.
func (s *State) Record(lsn journal.LSN) Record {
	if s.record == nil {
		s.record = s.newRecord()
	}
	r := *s.record
	r.LSN = lsn
	return r
}

func (s *State) newRecord() *Record {
	r := &Record{Tables: make(map[string]string, len(s.Cat.List)), Objects: make(map[string]Object)}
	for _, t := range s.Cat.Replicated() {
		if !t.Own {
			r.Tables[s.node.Name(t).Key()] = Identity(t)
		}
	}
	for _, o := range s.objects {
		if !partOfTable(o) {
			h := sha256.Sum256([]byte(o.SQL))
			r.Objects[objectKey(o)] = Object{o.Kind, o.Database, o.Name, hex.EncodeToString(h[:8])}
		}
	}
	return r
}

// Same reports whether the other state shows the same, of what followers get and of what they do not.
func (s *State) Same(other *State) bool {
	tables := func(c *store.Catalogue) map[journal.TableName][2]string {
		all := make(map[journal.TableName][2]string, len(c.ByName))
		for name, t := range c.ByName {
			all[name] = [2]string{Identity(t), t.Refusal}
		}
		return all
	}
	a, b := s.Cat, other.Cat
	return maps.Equal(tables(a), tables(b)) && maps.Equal(s.Record(0).Objects, other.Record(0).Objects) && slices.Equal(s.kept, other.kept) &&
		slices.Equal(a.Functions, b.Functions) && slices.Equal(a.Disguised, b.Disguised) && slices.Equal(a.Writers, b.Writers) && slices.Equal(a.OverOwn, b.OverOwn)
}

// Identity changes with a table's definition, and when other rows have come into it unseen.
func Identity(t *dialect.Table) string {
	if t.Incarnation == "" {
		return t.Fingerprint
	}
	return t.Fingerprint + " " + t.Incarnation
}

func partOfTable(o dialect.Object) bool { return o.Kind == "table" || o.Kind == "index" }

func objectKey(o dialect.Object) string {
	return Object{Kind: o.Kind, Database: o.Database, Name: o.Name}.key()
}

// Portable reports whether a schema statement means the same on a follower. Those that
// fill rows from a query, or with values that differ from run to run, do not.
func Portable(l dialect.Language, query string) bool {
	info, err := sqlclass.ParseSchema(l, query)
	if err != nil || info.Temporary {
		return false
	}
	switch {
	case Stays(info.Object):
		return false
	case info.AsSelect && info.Object == "TABLE":
		return false
	case info.Object == "DATABASE" && info.IfNotExists:
		return false // it may have been there, with tables in it
	case info.Nondeterministic && info.Verb == "ALTER" && info.Object == "TABLE":
		return false
	}
	return true
}

// zoned reports whether the statements have turned times into TIMESTAMPs of the table or back, or given it a default that
// is one: they did so by the rules of a time zone, whose summer time the distance from UTC that followers are told does
// not tell, and by explicit_defaults_for_timestamp.
func zoned(statements []dialect.Statement, was, is *dialect.Table) bool {
	if is.Database == "" {
		return false // SQLite knows no zones
	}
	before := timestamps(was)
	if was == nil && !slices.ContainsFunc(statements, func(s dialect.Statement) bool {
		info, err := sqlclass.ParseSchema(sqlclass.MySQL, s.SQL)
		return err == nil && info.Verb == "CREATE" && info.Object == "TABLE"
	}) {
		before = timestamps(is) // it has come by a RENAME
	}
	return !slices.Equal(before, timestamps(is))
}

func timestamps(t *dialect.Table) (list []string) {
	if t == nil {
		return nil
	}
	for _, c := range t.Columns {
		if strings.HasPrefix(strings.ToLower(c.Type), "timestamp") {
			list = append(list, c.Name+" "+c.Type+" "+c.Default)
		}
	}
	return list
}
