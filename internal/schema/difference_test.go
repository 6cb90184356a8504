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

// Two states are the same if nothing differs that anybody is told of: a table that followers do not get counts as well.
func TestSame(t *testing.T) {
	refused := func(name, why string) func(*State) {
		return func(s *State) {
			table := &dialect.Table{Database: "shop", Name: name, Fingerprint: "1", Refusal: why}
			s.Cat.List, s.kept = append(s.Cat.List, table), append(s.kept, name)
			s.Cat.ByName[s.node.Name(table)] = table
		}
	}
	for name, test := range map[string]struct {
		change func(*State)
		same   bool
	}{
		"nothing":                      {change: func(*State) {}, same: true},
		"triggers of ddb's own":        {change: func(s *State) { s.Cat.List[0].Bare = true }, same: true},
		"a table's definition":         {change: func(s *State) { s.Cat.List[0].Fingerprint = "2" }},
		"other rows of a table":        {change: func(s *State) { s.Cat.List[0].Incarnation = "2" }},
		"a table that is not shipped":  {change: refused("own", "no key")},
		"a table that is so no longer": {change: func(s *State) { s.Cat.List[0].Refusal = "no key" }},
		"a view":                       {change: func(s *State) { s.objects[len(s.objects)-1].SQL = "CREATE VIEW v AS SELECT 2" }},
		"a view that is not shipped":   {change: func(s *State) { s.kept = append(s.kept, "w") }},
		"a view over ddb's own tables": {change: func(s *State) { s.Cat.OverOwn = []string{"w"} }},
		"a view that may write":        {change: func(s *State) { s.Cat.Writers = []string{"w"} }},
		"a function":                   {change: func(s *State) { s.Cat.Functions = []string{"f"} }},
		"a function with another name": {change: func(s *State) { s.Cat.Disguised = []string{"f"} }},
	} {
		t.Run(name, func(t *testing.T) {
			state := func() *State {
				return stateOf([][2]string{{"a", "1"}, {"b", "1"}}, [][4]string{{"view", "v", "", "CREATE VIEW v AS SELECT 1"}})
			}
			was, is := state(), state()
			test.change(is)
			if was.Same(is) != test.same || is.Same(was) != test.same {
				t.Errorf("want %v", test.same)
			}
		})
	}
}
