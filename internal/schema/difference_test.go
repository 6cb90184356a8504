package schema

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// slow is an engine whose schema statements run in no transaction. Comparing asks it for nothing else.
type slow struct{ dialect.Engine }

func (slow) Transactional() bool { return false }

// stateOf makes a state of tables, given as name and fingerprint, and of objects: kind, name, table and statement.
func stateOf(tables [][2]string, objects [][4]string) *State {
	n := &store.Store{Engine: slow{}, Primary: "shop"}
	cat := &store.Catalogue{ByName: make(map[journal.TableName]*dialect.Table)}
	st := &State{node: n, Cat: cat}
	for _, t := range tables {
		table := &dialect.Table{Database: "shop", Name: t[0], Fingerprint: t[1]}
		cat.List = append(cat.List, table)
		cat.ByName[n.Name(table)] = table
		st.objects = append(st.objects, dialect.Object{Kind: "table", Name: t[0], SQL: "CREATE TABLE " + t[0]})
	}
	for _, o := range objects {
		st.objects = append(st.objects, dialect.Object{Kind: o[0], Name: o[1], Table: o[2], SQL: o[3]})
	}
	return st
}

// What followers are told brings them from what they know to what is there, and no further.
func TestCompare(t *testing.T) {
	ab := [][2]string{{"a", "1"}, {"b", "1"}}
	view := [4]string{"view", "v", "", "CREATE VIEW v AS SELECT 1"}
	trigger := [4]string{"trigger", "tr", "a", "CREATE TRIGGER tr ON a"}
	for name, test := range map[string]struct {
		was, is    *State
		told       Told
		statements []string
		rebuild    []string
		replaces   bool
	}{
		"nothing has changed": {was: stateOf(ab, [][4]string{view, trigger}), is: stateOf(ab, [][4]string{view, trigger})},
		"a table is gone":     {was: stateOf(ab, nil), is: stateOf(ab[:1], nil), statements: []string{"DROP TABLE IF EXISTS `b`"}},
		"a table has come": {was: stateOf(ab[:1], nil), is: stateOf(ab, nil),
			statements: []string{"DROP TABLE IF EXISTS `b`", "CREATE TABLE b"}, rebuild: []string{"b"}},
		"a table is another": {was: stateOf(ab, nil), is: stateOf([][2]string{{"a", "2"}, {"b", "1"}}, nil),
			statements: []string{"DROP TABLE IF EXISTS `a`", "CREATE TABLE a"}, rebuild: []string{"a"}, replaces: true},
		"a view is another": {was: stateOf(ab, [][4]string{view}), is: stateOf(ab, [][4]string{{"view", "v", "", "CREATE VIEW v AS SELECT 2"}}),
			statements: []string{"DROP VIEW IF EXISTS `v`", "CREATE VIEW v AS SELECT 2"}},
		"a trigger goes with its table and comes again": {was: stateOf(ab, [][4]string{trigger}), is: stateOf([][2]string{{"a", "2"}, {"b", "1"}}, [][4]string{trigger}),
			statements: []string{"DROP TABLE IF EXISTS `a`", "CREATE TABLE a", "CREATE TRIGGER tr ON a"}, rebuild: []string{"a"}, replaces: true},
		"followers run the statement themselves": {was: stateOf(ab, nil), is: stateOf([][2]string{{"a", "2"}, {"b", "1"}}, nil),
			told:       Told{Statements: []dialect.Statement{{SQL: "ALTER TABLE a ADD c INT"}}, inPlace: map[journal.TableName]bool{{Table: "a"}: true}},
			statements: []string{"ALTER TABLE a ADD c INT"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Compare(test.was.Record(0), test.is, test.told)
			var statements, rebuild []string
			for _, s := range d.Statements {
				statements = append(statements, s.SQL)
			}
			for _, table := range d.Rebuild {
				rebuild = append(rebuild, table.Name)
			}
			got, want := fmt.Sprintf("%q %q %v", statements, rebuild, d.Replaces), fmt.Sprintf("%q %q %v", test.statements, test.rebuild, test.replaces)
			if !slices.Equal(statements, test.statements) || !slices.Equal(rebuild, test.rebuild) || d.Replaces != test.replaces {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
