package sqlite

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// A file copy brings everything of the user's and of the conflicts, in one transaction,
// and leaves the node's own state alone.
func TestFileCopy(t *testing.T) {
	a, b := openFile(t, ""), openFile(t, "")
	ea, eb := bind(t, a, dialect.Config{Guard: true}), bind(t, b, dialect.Config{})
	must(t, a, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT, c AS (a || b) STORED UNIQUE)", "CREATE INDEX ta ON t (a DESC) WHERE a > 1",
		"CREATE TABLE p (id TEXT PRIMARY KEY, t REFERENCES t) WITHOUT ROWID", "CREATE VIEW v AS SELECT * FROM t",
		"CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END", "CREATE VIRTUAL TABLE f USING fts5(x)",
		"INSERT INTO t (a, b) VALUES (1, 'x'), (2, x'00'), (NULL, '')", "INSERT INTO p VALUES ('q', 1)", "DELETE FROM t WHERE id = 3", "PRAGMA user_version = 42",
		"INSERT INTO _ddb_conflicts (id) VALUES ('c')", "INSERT INTO _ddb_meta VALUES ('who', 'a')")
	install(t, ea, a, dialect.Images)
	must(t, b, "CREATE TABLE t (old)", "CREATE TABLE s (id INTEGER PRIMARY KEY)", "INSERT INTO _ddb_meta VALUES ('who', 'b')", "INSERT INTO _ddb_conflicts (id) VALUES ('old')")
	install(t, eb, b, dialect.Keys)
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := ea.(dialect.FileCopier).CopyTo(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := ea.(dialect.FileCopier).CopyTo(t.Context(), path); err == nil {
		t.Error("CopyTo wrote over a file")
	}
	must(t, a, "INSERT INTO t (a, b) VALUES (9, 'late')")
	c, err := eb.Conn(t.Context(), dialect.Replay)
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if err := eb.(dialect.FileCopier).LoadFrom(t.Context(), c, path, func() error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if n, err := integer(t.Context(), b, "SELECT count(*) FROM s"); err != nil || n != 0 {
		t.Fatal("a failed load changed the database", err)
	}
	if err := eb.(dialect.FileCopier).LoadFrom(t.Context(), c, path, nil); err != nil {
		t.Fatal(err)
	}
	eb.Release(c)
	const content = "SELECT group_concat(quote(id) || ',' || quote(a) || ',' || quote(b), ' ' ORDER BY id) FROM t"
	if got, err := text(t.Context(), b, content); err != nil || got != "1,1,'x' 2,2,X'00'" {
		t.Error(got, err)
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM p JOIN v ON v.id = p.t":                               1,
		"PRAGMA user_version":                                                       42,
		"SELECT seq FROM sqlite_sequence WHERE name = 't'":                          3,
		"SELECT count(*) FROM _ddb_meta WHERE v = 'b'":                              1,
		"SELECT count(*) FROM _ddb_conflicts WHERE id = 'c'":                        1,
		"SELECT count(*) FROM _ddb_conflicts":                                       1,
		"SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'":                 0,
		"SELECT count(*) FROM sqlite_schema WHERE name IN ('s', 'f')":               0,
		"SELECT count(*) FROM sqlite_schema WHERE name = 'ta'":                      1,
		"SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'": 0,
		"SELECT count(*) FROM pragma_database_list WHERE name = '_ddb_source'":      0,
	} {
		if n, err := integer(t.Context(), b, query); err != nil || n != want {
			t.Errorf("%s: %d, want %d (%v)", query, n, want, err)
		}
	}
}

// A million rows by file.
func BenchmarkFileCopy(b *testing.B) {
	src := openFile(b, "")
	e := bind(b, src, dialect.Config{})
	must(b, src, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER)", "CREATE INDEX tn ON t (n)",
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000000) INSERT INTO t SELECT i, 'a value of some forty characters ' || i, i FROM c")
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "copy.db")
		if err := e.(dialect.FileCopier).CopyTo(b.Context(), path); err != nil {
			b.Fatal(err)
		}
		dst := openFile(b, "")
		ed := bind(b, dst, dialect.Config{})
		c, err := ed.Conn(b.Context(), dialect.Replay)
		if err == nil {
			err = ed.(dialect.FileCopier).LoadFrom(b.Context(), c, path, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		ed.Release(c)
	}
}
