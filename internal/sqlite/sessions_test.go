package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// Bind refuses what could not be replicated correctly and accepts the rest.
func TestBind(t *testing.T) {
	for _, c := range []struct {
		dsn   string
		conns int
		want  string
	}{
		{":memory:", 0, "cache=shared"},
		{":memory:", 2, "cache=shared"},
		{":memory:", 1, "SetMaxOpenConns"},
		{"file:" + t.TempDir() + "/one.db", 1, "SetMaxOpenConns"},
		{"file:bindtest?mode=memory&cache=shared", 0, ""},
		{"file:/bindtest?vfs=memdb", 0, ""},
		{"file:" + t.TempDir() + "/a.db", 0, ""},
		{"file:" + t.TempDir() + "/b.db?_texttotime=1", 0, "_texttotime"},
		{"file:" + t.TempDir() + "/c.db?_pragma=encoding('UTF-16')", 0, "UTF-8"},
	} {
		db, err := sql.Open("sqlite", c.dsn)
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(c.conns)
		e, err := Dialect{}.Bind(t.Context(), db, dialect.Config{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %d connections: %v", c.dsn, c.conns, err)
		}
		if err == nil {
			if err := e.CreateOwn(t.Context(), db); err != nil {
				t.Errorf("%s: %v", c.dsn, err)
			}
		}
		db.Close()
	}
	db := openFile(t, "")
	if _, err := (Dialect{}).Bind(t.Context(), db, dialect.Config{Databases: []string{"a", "b"}}); err == nil {
		t.Error("two databases in one SQLite node")
	}
}

// The lock names its holder and goes with it.
func TestLockNames(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	release, err := e.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := e.(*engine).file + lockSuffix
	if _, err := e.Lock(t.Context()); err == nil || !strings.Contains(err.Error(), "process") {
		t.Errorf("got %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Errorf("a second release: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the lock file stayed: %v", err)
	}
}

// A file with a second name could have a second node: it is refused under either.
func TestLockRefusesHardLinks(t *testing.T) {
	db := openFile(t, "")
	if _, err := db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	e := bind(t, db, dialect.Config{})
	other := e.(*engine).file + "-other"
	if err := os.Link(e.(*engine).file, other); err != nil {
		t.Skip(err)
	}
	if _, err := e.Lock(t.Context()); !errors.Is(err, dialect.ErrLinked) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	release, err := e.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// The guard goes where WHEN belongs and comes out to the byte.
func TestGuardText(t *testing.T) {
	for _, s := range []string{
		"CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
		"CREATE TRIGGER \"BEGIN\" AFTER UPDATE OF \"begin\", [when] ON \"b\"\"egin\" FOR EACH ROW BEGIN SELECT 1; END",
		"CREATE TRIGGER tr AFTER INSERT ON t WHEN NEW.a > 1 BEGIN SELECT 1; END",
		"CREATE TRIGGER tr AFTER INSERT ON t WHEN(NEW.a > 1 OR NEW.a IS NULL)BEGIN SELECT CASE WHEN 1 THEN 2 END; END",
		"CREATE TRIGGER tr AFTER INSERT ON t /* BEGIN WHEN */ WHEN CASE WHEN NEW.a = 'BEGIN' THEN 1 ELSE 0 END -- BEGIN\nBEGIN SELECT 1; END",
		"CREATE TRIGGER tr\nBEFORE DELETE ON t\nWHEN OLD.a = x'00' -- why\n BEGIN\n  SELECT 1;\nEND",
		"CREATE TRIGGER tr AFTER INSERT ON begin BEGIN SELECT 1; END",
		"CREATE TRIGGER main.begin AFTER UPDATE OF begin, a ON main.begin WHEN 1 OR 0 BEGIN SELECT 1; END",
		"CREATE TRIGGER tr INSERT ON t BEGIN SELECT 1; END",
	} {
		guarded, ok := guard(s)
		if !ok || guarded == s || !isGuarded(guarded) {
			t.Errorf("no guard in %s: %s", s, guarded)
		}
		if got := unguard(guarded); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
		db := openFile(t, "")
		must(t, db, "CREATE TABLE _ddb_flag (off INTEGER PRIMARY KEY)")
		for _, table := range []string{"t", `"b""egin"`, "begin"} {
			must(t, db, "CREATE TABLE "+table+` (a, "begin", "when")`)
		}
		must(t, db, s)
		name, err := text(t.Context(), db, "SELECT name FROM sqlite_schema WHERE type = 'trigger'")
		if err != nil {
			t.Fatal(err)
		}
		must(t, db, "DROP TRIGGER "+quote(name), guarded)
	}
}
