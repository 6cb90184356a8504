package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/testdb"
)

// TestReadScope runs schema statements as they come, and compares what reading their scope tells with what reading everything does.
func TestReadScope(t *testing.T) {
	scoped, walks := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		walks++
		_, db := testdb.SQLite(t)
		e := bindFor(t, db, dialect.Config{Guard: rapid.Bool().Draw(rt, "guard")})
		w := schemaWalk{T: t, e: e, ctx: t.Context()}
		var err error
		w.c, err = e.Conn(w.ctx, dialect.Write)
		require.NoError(t, err)
		defer e.Release(w.c)
		for _, s := range []string{
			"PRAGMA synchronous = OFF",
			"CREATE TABLE a (id INTEGER PRIMARY KEY, x UNIQUE, y TEXT)",
			"CREATE TABLE b (id INTEGER PRIMARY KEY, x, y REFERENCES a (x))",
			"CREATE TRIGGER t1 AFTER INSERT ON b BEGIN UPDATE a SET x = 1; END",
			"CREATE VIEW v1 AS SELECT x FROM a",
		} {
			w.exec(s)
		}
		w.readAll()
		for range rapid.IntRange(5, 20).Draw(rt, "statements") {
			statement := drawSchema(rt)
			if rapid.IntRange(0, 9).Draw(rt, "rollback") == 0 {
				w.exec("BEGIN IMMEDIATE")
				_, err := w.c.ExecContext(w.ctx, statement)
				w.exec("ROLLBACK")
				rt.Logf("rolled back: %s: %v", statement, err)
				continue
			}
			if w.run(statement) {
				scoped++
			}
		}
	})
	require.Greater(t, scoped, walks, "scopes were read")
}

func bindFor(t *testing.T, db *sql.DB, cfg dialect.Config) *engine {
	e, err := Dialect{}.Bind(t.Context(), db, cfg)
	require.NoError(t, err)
	require.NoError(t, e.CreateOwn(t.Context(), db))
	return e.(*engine)
}

// schemaWalk is a database whose schema is known at each step.
type schemaWalk struct {
	*testing.T
	e       *engine
	ctx     context.Context
	c       *sql.Conn
	tables  []*dialect.Table
	objects []dialect.Object
}

func (w *schemaWalk) exec(query string) {
	_, err := w.c.ExecContext(w.ctx, query)
	require.NoError(w, err, query)
}

// readAll reads everything and installs the capture.
func (w *schemaWalk) readAll() {
	var err error
	w.tables, err = w.e.Tables(w.ctx, w.c)
	require.NoError(w, err)
	w.objects, err = w.e.Objects(w.ctx, w.c)
	require.NoError(w, err)
	require.NoError(w, w.e.InstallCapture(w.ctx, w.c, w.tables, dialect.Keys))
}

// run runs a statement, which may fail, and reports whether its scope was read.
func (w *schemaWalk) run(statement string) (scoped bool) {
	w.exec("BEGIN IMMEDIATE")
	defer w.exec("COMMIT")
	s := dialect.Statement{SQL: statement}
	if err := w.e.Run(w.ctx, w.c, &s); err != nil {
		return false
	}
	scope, ok := w.e.ScopeOf(w.tables, w.objects, []dialect.Statement{s})
	if !ok {
		w.readAll()
		return false
	}
	tables, objects, err := w.e.ReadScope(w.ctx, w.c, scope, w.tables, w.objects)
	require.NoError(w, err, statement)
	require.NoError(w, w.e.InstallScope(w.ctx, w.c, scope, tables, dialect.Keys), statement)
	known := w.described(tables)
	capture := w.capture()

	w.readAll()
	require.Equal(w, w.described(w.tables), known, statement)
	require.Equal(w, byKindAndName(w.objects), byKindAndName(objects), statement)
	require.Equal(w, w.capture(), capture, "InstallCapture finds nothing more to do after %s", statement)
	w.objects = objects
	return true
}

// described tells all that is known of the tables, by name: foreign keys may go in rings, whose order is by chance.
func (w *schemaWalk) described(tables []*dialect.Table) (list []string) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	for _, t := range tables {
		known := *w.e.known[t.Name]
		require.Equal(w, t, known.Table)
		known.Table = nil
		for _, p := range known.parents {
			at := slices.IndexFunc(tables, func(t *dialect.Table) bool { return t.Name == p })
			require.GreaterOrEqual(w, at, 0, "%s is a parent and not there", p)
		}
		bare := *t
		bare.ID, bare.Bare = 0, false // which InstallCapture sees to
		list = append(list, fmt.Sprintf("%+v %+v", bare, known))
	}
	slices.Sort(list)
	return list
}

// capture lists what is ddb's own in the schema, and which outbox is whose.
func (w *schemaWalk) capture() (list []string) {
	rows, err := schemaRows(w.ctx, w.c, nil)
	require.NoError(w, err)
	for _, r := range rows {
		if own(r.name) || r.kind == "trigger" {
			list = append(list, fmt.Sprint(r.kind, r.name, r.table, r.sql))
		}
	}
	captured, err := w.e.captured(w.ctx, w.c, nil)
	require.NoError(w, err)
	for _, c := range captured {
		list = append(list, fmt.Sprint(c))
	}
	slices.Sort(list)
	return list
}

func byKindAndName(objects []dialect.Object) []dialect.Object {
	return slices.SortedFunc(slices.Values(objects), func(a, b dialect.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// drawSchema draws a schema statement over a few names, so that they meet.
func drawSchema(rt *rapid.T) string {
	name := rapid.SampledFrom([]string{"a", "b", "A", `"b c"`})
	table, other := name.Draw(rt, "table"), name.Draw(rt, "other")
	n := rapid.IntRange(1, 2).Draw(rt, "n")
	return strings.NewReplacer("$T", table, "$O", other, "$N", fmt.Sprint(n)).Replace(rapid.SampledFrom([]string{
		"CREATE TABLE $T (id INTEGER PRIMARY KEY, x, y TEXT DEFAULT 'z' NOT NULL)",
		"CREATE TABLE $T (id INTEGER PRIMARY KEY AUTOINCREMENT, x UNIQUE, y TEXT COLLATE NOCASE)",
		"CREATE TABLE $T (x TEXT PRIMARY KEY, y REFERENCES $O (id) ON DELETE CASCADE)",
		"CREATE TABLE IF NOT EXISTS $T (x, y, PRIMARY KEY (x, y), FOREIGN KEY (y) REFERENCES $O) WITHOUT ROWID",
		"CREATE TABLE main.$T (id INTEGER PRIMARY KEY, x INTEGER, y INTEGER AS (x + 1), UNIQUE (x, y))",
		"CREATE TABLE $T (x, y)",
		"CREATE TABLE $T AS SELECT 1 AS x, 2 AS y",
		"DROP TABLE $T",
		"DROP TABLE IF EXISTS main.$T",
		"CREATE INDEX i$N ON $T (x)",
		"CREATE UNIQUE INDEX i$N ON $T (y) WHERE y > 0",
		"CREATE UNIQUE INDEX IF NOT EXISTS main.i$N ON $T (x + 1)",
		"DROP INDEX i$N",
		"CREATE VIEW v$N AS SELECT * FROM $T",
		"DROP VIEW v$N",
		"CREATE TRIGGER t$N AFTER INSERT ON $T BEGIN UPDATE $O SET x = 1; END",
		"CREATE TRIGGER t$N BEFORE UPDATE OF x ON $T BEGIN DELETE FROM $O; END",
		"CREATE TRIGGER t$N INSTEAD OF INSERT ON v$N BEGIN SELECT 1; END",
		"DROP TRIGGER t$N",
		"ALTER TABLE $T ADD COLUMN c$N INTEGER",
		"ALTER TABLE main.$T ADD z$N TEXT DEFAULT 'q'",
		"ALTER TABLE $T DROP COLUMN x",
		"ALTER TABLE $T RENAME TO $O",
		"ALTER TABLE $T RENAME x TO y2",
		"PRAGMA user_version = $N",
	}).Draw(rt, "statement"))
}

// A statement that may change more than it names is not read by a scope.
func TestScopeOf(t *testing.T) {
	objects := []dialect.Object{{Kind: "index", Name: "i", Table: "a"}, {Kind: "trigger", Name: "tr", Table: "v"}}
	for statement, want := range map[string]string{
		"CREATE TABLE a (id INTEGER PRIMARY KEY)":    "a",
		"create table if not exists main.[a b] (id)": "a b",
		"DROP TABLE a":                   "a",
		"DROP INDEX I":                   "a",
		"DROP INDEX unknown":             "",
		"DROP TRIGGER tr":                "v",
		"CREATE UNIQUE INDEX i ON a (x)": "a",
		"CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END": "a",
		"CREATE VIEW v AS SELECT 1":                              "v",
		"ALTER TABLE a ADD COLUMN x":                             "a",
		"ALTER TABLE a ADD x":                                    "a",
		`ALTER TABLE main."a" /* */ ADD x`:                       "a",
		"ALTER TABLE a RENAME TO b":                              "",
		"ALTER TABLE a RENAME add TO b":                          "",
		"ALTER TABLE a DROP COLUMN x":                            "",
		"ALTER TABLE a ALTER COLUMN x SET NOT NULL":              "",
		"CREATE TEMP TABLE a (id)":                               "",
		"CREATE VIRTUAL TABLE a USING fts5(x)":                   "",
		"CREATE TABLE a (id); DROP TABLE b":                      "",
		"PRAGMA user_version = 1":                                "",
		"REINDEX a":                                              "",
	} {
		require.Equal(t, want, changes(statement, objects), statement)
	}
}

// Changes tells of what the connection itself has done, of triggers and foreign keys, and of what others have committed.
func TestChanges(t *testing.T) {
	_, db := testdb.SQLite(t)
	e := bindFor(t, db, dialect.Config{})
	c, err := e.Conn(t.Context(), dialect.Write)
	require.NoError(t, err)
	defer e.Release(c)
	mark := func() string {
		m, err := e.Changes(t.Context(), c)
		require.NoError(t, err)
		require.NotEmpty(t, m)
		return m
	}
	on := func(q dialect.Querier, query string) (same bool) {
		before := mark()
		_, err := q.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
		return mark() == before
	}
	require.True(t, on(c, "SELECT 1"))
	require.True(t, on(c, "CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
	require.True(t, on(c, "CREATE TABLE children (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parents ON DELETE CASCADE)"))
	require.False(t, on(c, "INSERT INTO parents VALUES (1)"))
	require.False(t, on(c, "INSERT INTO children VALUES (1, 1)"))
	require.False(t, on(db, "INSERT INTO parents VALUES (2)"), "another connection")
	require.True(t, on(c, "BEGIN IMMEDIATE"))
	require.False(t, on(c, "DELETE FROM parents WHERE id = 2"))
	require.False(t, on(c, "DROP TABLE parents"), "children go along")
	require.True(t, on(c, "COMMIT"))
	require.True(t, on(c, "DROP TABLE children"))

	other, err := e.Conn(t.Context(), dialect.Write)
	require.NoError(t, err)
	defer e.Release(other)
	m, err := e.Changes(t.Context(), other)
	require.NoError(t, err)
	require.NotEqual(t, mark(), m, "connections are told apart")
}
