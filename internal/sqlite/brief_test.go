package sqlite

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// A statement counts as brief only if no argument can make it long, and it names every outbox that it may write to.
func TestProgram(t *testing.T) {
	for _, mode := range []dialect.CaptureMode{dialect.Keys, dialect.Images} {
		db := openFile(t, "")
		must(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, v)",
			"CREATE TABLE busy (id INTEGER PRIMARY KEY, v)", "CREATE TRIGGER own AFTER INSERT ON busy BEGIN UPDATE t SET v = NEW.v; END",
			"CREATE TABLE parent (id TEXT NOT NULL PRIMARY KEY)", "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE)",
			"CREATE VIEW w AS SELECT * FROM t", "CREATE TRIGGER ow INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (NEW.id, NEW.u, NEW.v); END")
		e := bind(t, db, dialect.Config{}).(*engine)
		list := install(t, e, db, mode)
		for _, c := range []struct {
			query  string
			args   []any
			brief  bool
			writes string
		}{
			{"INSERT INTO t (u, v) VALUES (?, ?)", []any{"a", 1}, true, "t"},
			{"INSERT INTO t (u, v) VALUES (?, datetime('now')) ON CONFLICT (u) DO UPDATE SET v = excluded.v", []any{"a"}, true, "t"},
			{"UPDATE t SET v = ? WHERE id = ?", []any{1, 2}, true, "t"},
			{"UPDATE t SET v = ? WHERE u = ?", []any{1, "a"}, true, "t"},
			{"DELETE FROM t WHERE id = ?", []any{1}, true, "t"},
			{"REPLACE INTO t VALUES (?, ?, ?)", []any{1, "a", 2}, true, "t"},
			{"INSERT INTO child (p) VALUES (?)", []any{"a"}, true, "child"},
			{"INSERT INTO w VALUES (?, ?, ?)", []any{1, "a", 2}, true, "t"},
			{"UPDATE t SET v = ? WHERE v = ?", []any{1, 2}, false, "t"},
			{"DELETE FROM t WHERE id < ?", []any{1}, false, "t"},
			{"DELETE FROM t", nil, false, "t"},
			{"INSERT INTO t (u) SELECT v FROM t", nil, false, "t"},
			{"INSERT INTO t (v) VALUES (randomblob(?))", []any{1}, false, "t"},
			{"INSERT INTO t (v) VALUES ((SELECT max(v) FROM t))", nil, false, "t"},
			{"INSERT INTO t (v) WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT max(x) FROM c", []any{1}, false, "t"},
			{"INSERT INTO busy (v) VALUES (?)", []any{1}, false, "busy t"},
			{"DELETE FROM parent WHERE id = ?", []any{"a"}, false, "parent child"},
		} {
			conn, err := e.Conn(t.Context(), dialect.Write)
			if err != nil {
				t.Fatal(err)
			}
			s, p, err := e.Compile(context.Background(), conn, c.query, c.args)
			if err != nil {
				t.Fatalf("%s: %v", c.query, err)
			}
			if p.Brief != c.brief || !p.Known {
				t.Errorf("%s: %+v", c.query, p)
			}
			var writes []string
			for _, tb := range list {
				if slices.Contains(p.Outboxes, tb.ID) {
					writes = append(writes, tb.Name)
				}
			}
			for _, name := range strings.Fields(c.writes) {
				if !slices.Contains(writes, name) {
					t.Errorf("%s writes to the outboxes of %v, not %s", c.query, writes, name)
				}
			}
			if len(writes) != len(strings.Fields(c.writes)) {
				t.Errorf("%s writes to the outboxes of %v", c.query, writes)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			e.Release(conn)
		}
	}
}
