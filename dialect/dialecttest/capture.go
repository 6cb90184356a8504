package dialecttest

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

func contextCanceled(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// Every kind of change is noted once, with the row as it stands.
func testCapture(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))",
		"CREATE TABLE `odd ``name``` (`a b` VARCHAR(10) NOT NULL, `select` BIGINT NOT NULL, `é\"'` BIGINT, PRIMARY KEY (`select`, `a b`))")
	w.capture(dialect.Keys)
	w.expect()
	w.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
	w.expect("t(1)=[1 a]", "t(2)=[2 b]", "t(3)=[3 c]")
	w.expect() // cleared
	w.exec("UPDATE t SET v = 'x' WHERE id < 3", "UPDATE t SET v = 'y' WHERE id = 1", "DELETE FROM t WHERE id = 3")
	w.expect("t(1)=[1 y]", "t(2)=[2 x]", "t(3) gone")
	w.exec("UPDATE t SET id = 9 WHERE id = 1")
	w.expect("t(1) gone", "t(9)=[9 y]")
	w.exec("DELETE FROM t")
	w.expect("t(2) gone", "t(9) gone")
	w.exec("INSERT INTO `odd ``name``` VALUES ('k', 2, 3), ('k', 3, 4)", "UPDATE `odd ``name``` SET `é\"'` = 5 WHERE `select` = 2")
	w.expect("odd `name`(2 k)=[k 2 5]", "odd `name`(3 k)=[k 3 4]")
}

// A rollback, whole or to a savepoint, takes the notes with it.
func testCaptureRollback(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))")
	w.capture(dialect.Keys)
	tx, err := w.db.BeginTx(w.ctx, nil)
	w.ok(err)
	for _, s := range []string{"INSERT INTO t VALUES (1, 'a')", "SAVEPOINT s", "INSERT INTO t VALUES (2, 'b')", "ROLLBACK TO SAVEPOINT s", "INSERT INTO t VALUES (3, 'c')"} {
		_, err := tx.ExecContext(w.ctx, s)
		w.ok(err)
	}
	w.ok(tx.Commit())
	w.expect("t(1)=[1 a]", "t(3)=[3 c]")
	tx, err = w.db.BeginTx(w.ctx, nil)
	w.ok(err)
	_, err = tx.ExecContext(w.ctx, "DELETE FROM t")
	w.ok(err)
	w.ok(tx.Rollback())
	w.expect()
}

// Rows that were there before capture can be noted, and their changes are.
func testCaptureExisting(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	w.capture(dialect.Keys)
	w.expect()
	w.exec("UPDATE t SET v = 'c' WHERE id = 2")
	w.expect("t(2)=[2 c]")
}

// REPLACE notes the rows that it removes for a secondary unique key.
func testCaptureReplace(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, u BIGINT, a VARCHAR(10), b VARCHAR(10), UNIQUE (u), UNIQUE (a, b))",
		"INSERT INTO t VALUES (1, 10, 'a', 'a'), (2, 20, 'b', 'b'), (3, NULL, 'c', NULL)")
	w.capture(dialect.Keys)
	w.exec("REPLACE INTO t VALUES (4, 10, 'b', 'b')")
	w.expect("t(1) gone", "t(2) gone", "t(4)=[4 10 b b]")
	w.exec("REPLACE INTO t VALUES (5, NULL, 'c', NULL)") // NULLs never clash
	w.expect("t(5)=[5 NULL c NULL]")
	w.exec("REPLACE INTO t VALUES (4, 11, 'z', 'z')")
	w.expect("t(4)=[4 11 z z]")
}

// Foreign key actions, three tables deep, note the children too.
func testCaptureCascade(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY)",
		"CREATE TABLE b (id BIGINT NOT NULL PRIMARY KEY, a BIGINT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, b BIGINT, FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)",
		"CREATE TABLE d (id BIGINT NOT NULL PRIMARY KEY, b BIGINT, FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE)",
		"INSERT INTO a VALUES (1), (2)", "INSERT INTO b VALUES (10, 1), (20, 2)",
		"INSERT INTO c VALUES (100, 10), (200, 20)", "INSERT INTO d VALUES (1000, 10), (2000, 20)")
	w.capture(dialect.Keys)
	w.exec("UPDATE a SET id = 5 WHERE id = 1")
	w.expect("a(1) gone", "a(5)=[5]", "b(10)=[10 5]")
	w.exec("DELETE FROM a WHERE id = 2")
	w.expect("a(2) gone", "b(20) gone", "c(200)=[200 NULL]", "d(2000) gone")
	w.exec("REPLACE INTO a VALUES (5)") // deletes and inserts: the children go
	changes := w.pass()
	found := false
	for _, ch := range changes {
		found = found || ch.String() == "b(10) gone"
	}
	if !found {
		t.Errorf("REPLACE of a parent did not note its children: %v", changes)
	}
}

// A second InstallCapture changes nothing; notes and captures survive it.
func testCaptureIdempotent(t *testing.T, h Harness) {
	w := open(t, h, func(c *dialect.Config) { c.Guard = true })
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))", "CREATE TABLE l (id BIGINT NOT NULL PRIMARY KEY)",
		"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO l VALUES (NEW.id); END")
	w.capture(dialect.Keys)
	id := w.table("t").ID
	v1, err := w.eng.Version(w.ctx, w.db)
	w.ok(err)
	w.exec("INSERT INTO t VALUES (1, 'a')")
	w.capture(dialect.Keys)
	v2, err := w.eng.Version(w.ctx, w.db)
	w.ok(err)
	if v1 != v2 || id == 0 || w.table("t").ID != id {
		t.Errorf("InstallCapture again: version %s to %s, ID %d to %d", v1, v2, id, w.table("t").ID)
	}
	w.expect("l(1)=[1]", "t(1)=[1 a]")
}

// Capture follows ALTER, RENAME, DROP and CREATE, and keeps pending notes.
func testCaptureFollowsSchema(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))", "CREATE TABLE gone (id BIGINT NOT NULL PRIMARY KEY)")
	w.capture(dialect.Keys)
	w.exec("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD COLUMN n BIGINT", "DROP TABLE gone")
	w.capture(dialect.Keys)
	w.expect("t(1)=[1 a NULL]")
	w.exec("INSERT INTO t VALUES (2, 'b', 3)", "CREATE TABLE gone (k VARCHAR(10) NOT NULL PRIMARY KEY)")
	w.capture(dialect.Keys)
	w.exec("INSERT INTO gone VALUES ('x')")
	w.expect("gone(x)=[x]", "t(2)=[2 b 3]")
	w.exec("ALTER TABLE t RENAME TO renamed")
	w.capture(dialect.Keys)
	w.exec("UPDATE renamed SET n = 4 WHERE id = 2")
	w.expect("renamed(2)=[2 b 4]")
	w.capture(dialect.Images) // another mode
	w.exec("DELETE FROM renamed WHERE id = 1")
	w.expect("renamed(1) gone")
}

// RemoveCapture gives back a schema without any of ddb's triggers.
func testCaptureRemove(t *testing.T, h Harness) {
	w := open(t, h, func(c *dialect.Config) { c.Guard = true })
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)", "CREATE TABLE l (id BIGINT NOT NULL PRIMARY KEY)",
		"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO l VALUES (NEW.id); END")
	before, err := w.eng.Objects(w.ctx, w.db)
	w.ok(err)
	w.capture(dialect.Images)
	c, err := w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	w.ok(w.eng.RemoveCapture(w.ctx, c))
	w.ok(w.eng.RemoveCapture(w.ctx, c)) // again: nothing to do
	w.eng.Release(c)
	after, err := w.eng.Objects(w.ctx, w.db)
	w.ok(err)
	if len(before) != len(after) {
		t.Fatalf("objects before %v and after %v", before, after)
	}
	for i := range before {
		if before[i] != after[i] {
			t.Errorf("object before %+v and after %+v", before[i], after[i])
		}
	}
	w.exec("INSERT INTO t VALUES (1)")
	w.holds("l", "1")
	w.expect()
	w.capture(dialect.Keys)
	w.exec("INSERT INTO t VALUES (2)")
	w.expect("l(2)=[2]", "t(2)=[2]")
}

// Clear deletes the notes that were seen and no later ones.
func testClearOnlySeen(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))")
	w.capture(dialect.Keys)
	w.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	tab := w.table("t")
	var notes dialect.Notes
	w.in(dialect.Pass, func(c *sql.Conn) {
		var err error
		notes, err = w.eng.Collect(w.ctx, c, tab, func(dialect.Row) error { return nil })
		w.ok(err)
	})
	w.exec("INSERT INTO t VALUES (3, 'c')", "UPDATE t SET v = 'z' WHERE id = 1")
	w.in(dialect.Pass, func(c *sql.Conn) { w.ok(w.eng.Clear(w.ctx, c, notes)) })
	w.expect("t(1)=[1 z]", "t(3)=[3 c]")
}

// Touch notes keys, present or absent, or the whole table.
func testTouch(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (a BIGINT NOT NULL, b VARCHAR(10) NOT NULL, PRIMARY KEY (a, b))", "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
	w.capture(dialect.Keys)
	touch := func(keys [][]any) {
		t.Helper()
		w.in(dialect.Write, func(c *sql.Conn) { w.ok(w.eng.Touch(w.ctx, c, w.table("t"), keys)) })
	}
	touch([][]any{{int64(2), "y"}, {int64(7), "q"}, {int64(2), "y"}})
	w.expect("t(2 y)=[2 y]", "t(7 q) gone")
	touch([][]any{})
	w.expect()
	touch(nil)
	w.expect("t(1 x)=[1 x]", "t(2 y)=[2 y]", "t(3 z)=[3 z]")
}

// Keys that a collation takes for equal are one row: emitted once, written as they stand.
func testNoCaseKey(t *testing.T, h Harness) {
	w := open(t, h, nil)
	create := "CREATE TABLE t (k VARCHAR(20) " + h.NoCase + " NOT NULL PRIMARY KEY, v BIGINT)"
	w.exec(create, "INSERT INTO t VALUES ('Alpha', 1), ('beta', 2)")
	w.capture(dialect.Keys)
	w.exec("UPDATE t SET k = 'ALPHA' WHERE k = 'alpha'", "UPDATE t SET v = 3 WHERE k = 'alphA'")
	changes := w.pass()
	same(t, changes, []string{"t(ALPHA)=[ALPHA 3]"})
	r := open(t, h, nil)
	r.exec(create, "INSERT INTO t VALUES ('alpha', 1), ('beta', 2)")
	w.ok(r.apply(dialect.Replay, dialect.Strict, changes))
	r.holds("t", "ALPHA 3", "beta 2")
	w.exec("DELETE FROM t WHERE k = 'aLPHA'", "INSERT INTO t VALUES ('alpha', 9)")
	w.ok(r.apply(dialect.Replay, dialect.Strict, w.pass()))
	r.holds("t", "alpha 9", "beta 2")
	w.exec("DELETE FROM t WHERE k = 'BETA'")
	w.ok(r.apply(dialect.Replay, dialect.Strict, w.pass()))
	r.holds("t", "alpha 9")
}
