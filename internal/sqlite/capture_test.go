package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	driver "modernc.org/sqlite"
)

// collected runs a pass and returns "table key values" texts, sorted.
func collected(t testing.TB, e dialect.Engine, db dialect.Querier, images bool) []string {
	t.Helper()
	list, err := e.Tables(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	noted, err := e.Noted(t.Context(), db, list)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, tab := range noted {
		get := e.Collect
		if images {
			get = e.CollectImages
		}
		notes, err := get(t.Context(), db, tab, func(r dialect.Row) error {
			s := fmt.Sprintf("%s%v=%v", tab.Name, r.Key, r.Values)
			if images {
				s = fmt.Sprintf("%v -> %s", r.Base, s)
			}
			out = append(out, s)
			return nil
		})
		if err == nil {
			err = e.Clear(t.Context(), db, notes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

func want(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// Rows that OR REPLACE removes are noted, whatever made them clash.
func TestReplaced(t *testing.T) {
	for _, c := range []struct {
		name, create, setup, write string
		want                       []string
	}{
		{"partial", "CREATE TABLE t (id INTEGER PRIMARY KEY, u, live); CREATE UNIQUE INDEX tu ON t (u) WHERE live = 1",
			"(1, 'a', 1), (2, 'a', 0)", "(3, 'a', 1)", []string{"t[1]=[]", "t[3]=[3 a 1]"}},
		{"expression", "CREATE TABLE t (id INTEGER PRIMARY KEY, u, live); CREATE UNIQUE INDEX tu ON t (lower(u) COLLATE RTRIM DESC, ifnull(live, ',('))",
			"(1, 'ABC ', 1), (2, 'x', 1)", "(3, 'abc', 1)", []string{"t[1]=[]", "t[3]=[3 abc 1]"}},
		{"collation", "CREATE TABLE t (id INTEGER PRIMARY KEY, u, live); CREATE UNIQUE INDEX tu ON t (u COLLATE NOCASE)",
			"(1, 'ABC', 1)", "(3, 'abc', 1)", []string{"t[1]=[]", "t[3]=[3 abc 1]"}},
		{"default", "CREATE TABLE t (id INTEGER PRIMARY KEY, u INTEGER NOT NULL DEFAULT '5' UNIQUE, live)",
			"(1, 5, 1)", "(3, NULL, 1)", []string{"t[1]=[]", "t[3]=[3 5 1]"}},
		{"default in an expression", "CREATE TABLE t (id INTEGER PRIMARY KEY, u NOT NULL DEFAULT 'x', live); CREATE UNIQUE INDEX tu ON t (lower(u), live)",
			"(1, 'X', 1), (2, 'x', 2)", "(3, NULL, 1)", []string{"t[1]=[]", "t[3]=[3 x 1]"}},
		{"default in a key", "CREATE TABLE t (u TEXT NOT NULL DEFAULT 'x' PRIMARY KEY, v UNIQUE, live)",
			"('x', 1, 1), ('y', 2, 2)", "(NULL, 2, 3)", []string{"t[x]=[x 2 3]", "t[y]=[]"}},
		{"default in a generated column", "CREATE TABLE t (id INTEGER PRIMARY KEY, u NOT NULL DEFAULT 'x', live, g AS (lower(u)) UNIQUE)",
			"(1, 'X', 1)", "(3, NULL, 1)", []string{"t[1]=[]", "t[3]=[3 x 1]"}},
		{"generated", "CREATE TABLE t (id INTEGER PRIMARY KEY, u, live, g AS (u || live) UNIQUE)",
			"(1, 5, 51), (2, 6, 6)", "(3, 55, 1)", []string{"t[1]=[]", "t[3]=[3 55 1]"}},
		{"rowid", "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, u, live)",
			"('a', 1, 1)", "", []string{"t[a]=[]", "t[b]=[b 1 1]"}},
		{"hidden rowid", "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, rowid, live)",
			"('a', 1, 1)", "", []string{"t[a]=[]", "t[b]=[b 1 1]"}},
		{"without rowid", "CREATE TABLE t (id TEXT PRIMARY KEY, u UNIQUE, live) WITHOUT ROWID",
			"('a', 1, 1)", "('b', 1, 2)", []string{"t[a]=[]", "t[b]=[b 1 2]"}},
		{"column's own clause", "CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, live)",
			"(1, 'a', 1)", "(2, 'a', 2)", []string{"t[1]=[]", "t[2]=[2 a 2]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []dialect.CaptureMode{dialect.Keys, dialect.Images} {
				db := openFile(t, "")
				e := bind(t, db, dialect.Config{})
				must(t, db, c.create)
				install(t, e, db, mode)
				cols := ""
				if strings.Contains(c.create, "g AS (") {
					cols = " (id, u, live)"
				}
				must(t, db, "INSERT INTO t"+cols+" VALUES "+c.setup)
				collected(t, e, db, false)
				switch {
				case c.name == "column's own clause":
					must(t, db, "INSERT INTO t VALUES "+c.write)
				case c.name == "rowid":
					must(t, db, "REPLACE INTO t (rowid, id, u, live) VALUES (1, 'b', 1, 1)")
				case c.name == "hidden rowid":
					must(t, db, "REPLACE INTO t (oid, id, rowid, live) VALUES (1, 'b', 1, 1)")
				default:
					must(t, db, "REPLACE INTO t"+cols+" VALUES "+c.write)
				}
				want(t, collected(t, e, db, false), c.want...)
			}
		})
	}
}

// UPDATE OR REPLACE notes what it removes, by unique value, key and rowid alike.
func TestUpdateReplaced(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	must(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE)", "CREATE TABLE s (id TEXT NOT NULL PRIMARY KEY, v)")
	install(t, e, db, dialect.Keys)
	must(t, db, "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", "INSERT INTO s VALUES ('a', 1), ('b', 2), ('c', 3)")
	collected(t, e, db, false)
	must(t, db, "UPDATE OR REPLACE t SET u = 'b' WHERE id = 1")
	want(t, collected(t, e, db, false), "t[1]=[1 b]", "t[2]=[]")
	must(t, db, "UPDATE OR REPLACE t SET rowid = 3 WHERE id = 1")
	want(t, collected(t, e, db, false), "t[1]=[]", "t[3]=[3 b]")
	must(t, db, "UPDATE OR REPLACE s SET rowid = 2 WHERE id = 'a'")
	want(t, collected(t, e, db, false), "s[a]=[a 1]", "s[b]=[]")
	must(t, db, "INSERT INTO s VALUES ('a', 9) ON CONFLICT (id) DO UPDATE SET id = 'z', v = excluded.v")
	want(t, collected(t, e, db, false), "s[a]=[]", "s[z]=[z 9]")
}

// A key of NULL names no row: it is refused when written, and when it is there already.
func TestNullKey(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	must(t, db, "CREATE TABLE t (a TEXT, b INT NOT NULL, PRIMARY KEY (a, b))", "CREATE TABLE u (a TEXT PRIMARY KEY)", "INSERT INTO u VALUES (NULL)",
		"CREATE TABLE s (a TEXT PRIMARY KEY) STRICT", "CREATE TABLE r (a INTEGER PRIMARY KEY)")
	install(t, e, db, dialect.Keys)
	if r := find(t, e, db, "u").Refusal; !strings.Contains(r, "NULL in the primary key") {
		t.Errorf("refusal %q", r)
	}
	for _, s := range []string{"INSERT INTO t VALUES (NULL, 1)", "INSERT OR IGNORE INTO t VALUES (NULL, 1)", "UPDATE t SET a = NULL", "REPLACE INTO s VALUES (NULL)"} {
		must(t, db, "INSERT OR IGNORE INTO t VALUES ('x', 1)")
		if _, err := db.ExecContext(t.Context(), s); err == nil {
			t.Errorf("%s passed", s)
		}
	}
	must(t, db, "INSERT INTO r VALUES (NULL)", "DELETE FROM u")
	want(t, collected(t, e, db, false), "r[1]=[1]", "t[x 1]=[x 1]")
	install(t, e, db, dialect.Keys)
	must(t, db, "INSERT INTO u VALUES ('k')")
	want(t, collected(t, e, db, false), "u[k]=[k]")
}

// Virtual tables are refused, their shadows hidden, and Wipe leaves both alone.
func TestVirtual(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	must(t, db, "CREATE VIRTUAL TABLE f USING fts5(body)", "INSERT INTO f VALUES ('hello')", "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)",
		"CREATE TRIGGER tf AFTER INSERT ON t BEGIN INSERT INTO f VALUES (NEW.body); END")
	list := install(t, e, db, dialect.Keys)
	var names []string
	for _, tab := range list {
		names = append(names, fmt.Sprint(tab.Name, tab.Refusal != ""))
	}
	want(t, names, "_ddb_conflictsfalse", "_ddb_followersfalse", "ftrue", "tfalse")
	must(t, db, "INSERT INTO t VALUES (1, 'world')")
	want(t, collected(t, e, db, false), "t[1]=[1 world]")
	c, err := e.Conn(t.Context(), dialect.Replay)
	if err == nil {
		err = e.Wipe(t.Context(), c)
		e.Release(c)
	}
	if n, err2 := integer(t.Context(), db, "SELECT count(*) FROM f WHERE f MATCH 'hello OR world'"); err != nil || err2 != nil || n != 2 {
		t.Error(n, err, err2)
	}
}

// A user's AFTER trigger that changes the row again does not spoil the base image,
// even if it is made after the capture.
func TestImagesBesideTrigger(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{Guard: true})
	stamp := "CREATE TRIGGER %s AFTER %s ON t BEGIN UPDATE t SET n = n + 100 WHERE id = NEW.id; END"
	must(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v, n)", fmt.Sprintf(stamp, "early", "UPDATE OF v"))
	install(t, e, db, dialect.Images)
	must(t, db, fmt.Sprintf(stamp, "late", "INSERT"))
	install(t, e, db, dialect.Images)
	must(t, db, "INSERT INTO t VALUES (1, 'a', 0)")
	want(t, collected(t, e, db, true), "[] -> t[1]=[1 a 100]")
	must(t, db, "UPDATE t SET v = 'b'")
	want(t, collected(t, e, db, true), "[1 a 100] -> t[1]=[1 b 200]")
}

// Notes survive a change of mode and of the table, without an image.
func TestCarryOver(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	must(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 'a')")
	install(t, e, db, dialect.Keys)
	must(t, db, "UPDATE t SET v = 'b'")
	install(t, e, db, dialect.Images)
	must(t, db, "INSERT INTO t VALUES (2, 'c')")
	want(t, collected(t, e, db, true), "[1 b] -> t[1]=[1 b]", "[] -> t[2]=[2 c]")
	must(t, db, "UPDATE t SET v = 'x'")
	install(t, e, db, dialect.Keys)
	want(t, collected(t, e, db, false), "t[1]=[1 x]", "t[2]=[2 x]")
}

// A column that a capture trigger notes can be dropped through Run, on a follower and a snap.
func TestDropColumn(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{Guard: true})
	must(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)", "INSERT INTO t VALUES (1, 2, 3)")
	install(t, e, db, dialect.Images)
	c, err := e.Conn(t.Context(), dialect.Replay)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release(c)
	for _, s := range []string{"ALTER TABLE t DROP COLUMN v", "ALTER TABLE t RENAME COLUMN w TO `x y`"} {
		if err := e.Run(t.Context(), c, &dialect.Statement{SQL: s}); err != nil {
			t.Fatal(err)
		}
		install(t, e, c, dialect.Images)
	}
	must(t, db, "UPDATE t SET `x y` = 4")
	want(t, collected(t, e, db, true), "[1 3] -> t[1]=[1 4]")
}

// Statements that cannot be replicated are refused with words.
func TestRunRefuses(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	c, err := e.Conn(t.Context(), dialect.Write)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release(c)
	for _, s := range []string{"ATTACH 'x' AS y", "CREATE TEMP TABLE x (a)", "create virtual table f using fts5(a)", "VACUUM", "DROP TABLE \"_ddb_meta\"", "/* a */ CREATE TABLE _DDB_x (a)"} {
		if err := e.Run(t.Context(), c, &dialect.Statement{SQL: s}); err == nil || errors.As(err, new(*driver.Error)) {
			t.Errorf("%s: %v, which is no refusal of ddb's", s, err)
		}
	}
}

// definitions are tables whose keys SQLite compares in all its ways.
var definitions = []string{
	"CREATE TABLE t (a, b, c UNIQUE, PRIMARY KEY (a, b))",
	"CREATE TABLE t (a TEXT COLLATE NOCASE NOT NULL, b NOT NULL, c, UNIQUE (c COLLATE NOCASE), PRIMARY KEY (a, b)) WITHOUT ROWID",
	"CREATE TABLE t (a TEXT NOT NULL, b REAL NOT NULL, c, PRIMARY KEY (b DESC, a COLLATE NOCASE))",
	"CREATE TABLE t (a TEXT COLLATE NOCASE NOT NULL, b NUMERIC NOT NULL, c, UNIQUE (c), PRIMARY KEY (a COLLATE RTRIM DESC, b DESC))",
	"CREATE TABLE t (a ANY NOT NULL, b ANY NOT NULL, c ANY, PRIMARY KEY (a, b)) STRICT",
	"CREATE TABLE t (a INT NOT NULL PRIMARY KEY DESC, b BLOB, c AS (b || a) UNIQUE)",
	"CREATE TABLE t (a DATE NOT NULL PRIMARY KEY, b DATETIME, c BOOLEAN UNIQUE)",
}

// Random statements with odd keys on tables of every shape leave two nodes equal.
func TestShapes(t *testing.T) {
	keys := []string{"'a'", "'A'", "'a '", "'b'", "1", "1.0", "1.5", "'1'", "-0.0", "0", "x''", "''", "x'61'", "9223372036854775807", "9.3e18", "'2024-01-01'", "-9223372036854775808", "-9223372036854775808.0"}
	for _, create := range definitions {
		t.Run("", func(t *testing.T) {
			a, b := openFile(t, ""), openFile(t, "")
			ea, eb := bind(t, a, dialect.Config{}), bind(t, b, dialect.Config{})
			must(t, a, create)
			must(t, b, create)
			install(t, ea, a, dialect.Keys)
			rnd := rand.New(rand.NewPCG(1, 2))
			k := func() string { return keys[rnd.IntN(len(keys))] }
			cols := "a, b, c"
			if strings.Contains(create, " AS ") {
				cols = "a, b"
			}
			for range 500 {
				v := k() + ", " + k()
				if cols == "a, b, c" {
					v += ", " + k()
				}
				verb := []string{"INSERT", "REPLACE", "INSERT OR IGNORE"}[rnd.IntN(3)]
				s := fmt.Sprintf("%s INTO t (%s) VALUES (%s)", verb, cols, v)
				switch rnd.IntN(5) {
				case 0:
					s = fmt.Sprintf("UPDATE OR REPLACE t SET a = %s, b = %s WHERE a = %s", k(), k(), k())
				case 1:
					s = fmt.Sprintf("DELETE FROM t WHERE a = %s OR b = %s", k(), k())
				}
				_, _ = a.ExecContext(t.Context(), s) // may break a constraint
				if rnd.IntN(6) == 0 {
					ship(t, ea, eb, a, b)
					if x, y := dump(t, a), dump(t, b); x != y {
						t.Fatalf("%s\nafter %s:\n%s\nagainst\n%s", create, s, x, y)
					}
				}
			}
		})
	}
}

// ship moves what a pass finds to the other node.
func ship(t *testing.T, ea, eb dialect.Engine, a, b *sql.DB) {
	t.Helper()
	tab, there := find(t, ea, a, "t"), find(t, eb, b, "t")
	var rows []dialect.Row
	notes, err := ea.Collect(t.Context(), a, tab, func(r dialect.Row) error {
		rows = append(rows, dialect.Row{Key: slices.Clone(r.Key), Values: slices.Clone(r.Values)})
		return nil
	})
	if err == nil {
		err = ea.Clear(t.Context(), a, notes)
	}
	if err == nil {
		err = eb.Apply(t.Context(), b, there, rows, dialect.Strict)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows { // what Lookup and Scan say of the same rows
		err := eb.Lookup(t.Context(), b, there, [][]any{rows[i].Key}, func(r dialect.Row) error {
			if fmt.Sprint(r.Values) != fmt.Sprint(rows[i].Values) {
				return fmt.Errorf("Lookup of %v gives %v, not %v", r.Key, r.Values, rows[i].Values)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := int64(0)
	var after []any
	for more := true; more; {
		if more, err = eb.Scan(t.Context(), b, tab, after, 3, func(v []any) error {
			n++
			after = nil
			for _, k := range tab.Key {
				after = append(after, v[k])
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if count, err := integer(t.Context(), b, "SELECT count(*) FROM t"); err != nil || count != n {
		t.Fatalf("Scan gave %d rows of %d (%v)", n, count, err)
	}
}

func dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	var out []string
	var line string
	if err := each(t.Context(), db, "SELECT quote(a) || typeof(a) || ' ' || quote(b) || typeof(b) || ' ' || quote(c) || typeof(c) FROM t", []any{&line}, func() error { out = append(out, line); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// The queries that run for every write and every pass use the key's index.
func TestPlans(t *testing.T) {
	for _, create := range append(definitions, "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c)") {
		db := openFile(t, "")
		e := bind(t, db, dialect.Config{})
		must(t, db, create)
		install(t, e, db, dialect.Images)
		tb, err := e.(*engine).info(t.Context(), db, find(t, e, db, "t"))
		if err != nil {
			t.Fatal(err)
		}
		where, args := tb.behind(make([]any, len(tb.Key)))
		for _, q := range []struct {
			sql  string
			args []any
		}{
			{tb.collectSQL(tb.ID, false), []any{1, 2}},
			{tb.collectSQL(tb.ID, true), []any{1, 2}},
			{"SELECT 1 FROM t WHERE " + tb.keyIs(), make([]any, len(tb.Key))},
			{"SELECT 1 FROM t" + where, args},
		} {
			var id, parent, unused int
			var detail string
			err := each(t.Context(), db, "EXPLAIN QUERY PLAN "+q.sql, []any{&id, &parent, &unused, &detail}, func() error {
				if strings.HasPrefix(detail, "SCAN t") || strings.Contains(detail, "AUTOMATIC") {
					return errors.New(detail)
				}
				return nil
			}, q.args...)
			if err != nil {
				t.Errorf("%s\n%s\n%v", create, q.sql, err)
			}
		}
	}
}
