package dialecttest

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// testScopeReader: what a statement has changed is read and captured as if everything were.
func testScopeReader(t *testing.T, h Harness) {
	w := open(t, h, nil)
	reader := ability[dialect.ScopeReader](t, w.eng)
	w.exec("CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY, v BIGINT)")
	w.in(dialect.Write, func(c *sql.Conn) {
		read := func() ([]*dialect.Table, []dialect.Object) {
			tables, err := w.eng.Tables(w.ctx, c)
			w.ok(err)
			objects, err := w.eng.Objects(w.ctx, c)
			w.ok(err)
			return tables, objects
		}
		tables, objects := read()
		w.ok(w.eng.InstallCapture(w.ctx, c, tables, dialect.Keys))
		for _, statement := range []string{
			"CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))",
			"CREATE UNIQUE INDEX i ON t (v)",
			"CREATE VIEW w AS SELECT v FROM t",
			"ALTER TABLE t ADD COLUMN x BIGINT",
			"CREATE TABLE child (id BIGINT NOT NULL PRIMARY KEY, t BIGINT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)",
			"DROP TABLE child",
			"DROP VIEW w",
			"DROP TABLE t",
		} {
			s := dialect.Statement{SQL: statement}
			w.ok(w.eng.Run(w.ctx, c, &s))
			scope, ok := reader.ScopeOf(tables, objects, []dialect.Statement{s})
			if !ok {
				w.Errorf("%s: its scope is not known", statement)
				continue
			}
			var err error
			tables, objects, err = reader.ReadScope(w.ctx, c, scope, tables, objects)
			w.ok(err)
			w.ok(reader.InstallScope(w.ctx, c, scope, tables, dialect.Keys))
			wantTables, wantObjects := read()
			if got, want := described(tables, objects), described(wantTables, wantObjects); !slices.Equal(got, want) {
				w.Errorf("after %s the scope shows\n%q, and all that is there is\n%q", statement, got, want)
			}
		}
		if _, ok := reader.ScopeOf(tables, objects, []dialect.Statement{{SQL: "CREATE TABLE a (id BIGINT PRIMARY KEY); DROP TABLE other"}}); ok {
			w.Error("the scope of two statements in one text is taken for that of the first")
		}
	})
	w.exec("INSERT INTO other VALUES (1, 1)")
	w.expect("other(1)=[1 1]")
}

// testDefinitionReader: the tables' definitions and the other objects are all objects.
func testDefinitionReader(t *testing.T, h Harness) {
	w := open(t, h, nil)
	reader := ability[dialect.DefinitionReader](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v BIGINT)", "CREATE TABLE u (id BIGINT NOT NULL PRIMARY KEY)", "CREATE VIEW w AS SELECT v FROM t",
		"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN DELETE FROM u; END")
	all, err := w.eng.Objects(w.ctx, w.db)
	w.ok(err)
	parts, err := reader.OtherObjects(w.ctx, w.db)
	w.ok(err)
	for _, name := range []string{"u", "t"} {
		list, err := reader.Definitions(w.ctx, w.db, []*dialect.Table{w.table(name)})
		w.ok(err)
		if len(list) == 0 || list[0].Name != name {
			w.Errorf("the definition of %s is %v", name, list)
		}
		parts = append(parts, list...)
	}
	if got, want := described(nil, parts), described(nil, all); !slices.Equal(got, want) {
		w.Errorf("the parts are\n%q, and all is\n%q", got, want)
	}
	gone := *w.table("u")
	w.exec("DROP TABLE u")
	if list, err := reader.Definitions(w.ctx, w.db, []*dialect.Table{&gone, w.table("t")}); err != nil || len(list) != 1 {
		w.Errorf("with a table that is gone there are the definitions %v, %v", list, err)
	}
}

// described tells what of tables and objects a scope must show.
func described(tables []*dialect.Table, objects []dialect.Object) (list []string) {
	for _, t := range tables {
		list = append(list, fmt.Sprintf("%d %s.%s %v %v %v %s %s %v %q", t.ID, t.Database, t.Name, t.Columns, t.Key, t.ExactKey, t.Fingerprint, t.Incarnation, t.Bare, t.Refusal))
	}
	for _, o := range objects {
		list = append(list, fmt.Sprint(o))
	}
	slices.Sort(list)
	return list
}

// testChangeCounter: the text is another as soon as a row is, whoever has changed it.
func testChangeCounter(t *testing.T, h Harness) {
	w := open(t, h, nil)
	counter := ability[dialect.ChangeCounter](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v BIGINT)")
	c, err := w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	defer w.eng.Release(c)
	last := ""
	changed := func(want bool, what string) {
		now, err := counter.Changes(w.ctx, c)
		w.ok(err)
		if now == "" || (now != last) != want {
			w.Errorf("%s: Changes tells %q after %q", what, now, last)
		}
		last = now
	}
	changed(true, "at first")
	changed(false, "nothing")
	w.run(c, "SELECT * FROM t")
	changed(false, "a read")
	w.run(c, "INSERT INTO t VALUES (1, 1)")
	changed(true, "a write of its own")
	w.exec("UPDATE t SET v = 2")
	changed(true, "a write of another connection")
	w.run(c, "DELETE FROM t")
	changed(true, "a deletion")
}
