package dialecttest

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// testNameFolder: what it tells of names is what the database does.
func testNameFolder(t *testing.T, h Harness) {
	w := open(t, h, nil)
	folder := ability[dialect.NameFolder](t, w.eng)
	w.exec("CREATE TABLE folded (id BIGINT PRIMARY KEY)")
	rows, err := w.db.QueryContext(w.ctx, "SELECT id FROM FOLDED")
	if err == nil {
		w.ok(rows.Close())
	}
	if folds, told := folder.FoldsNames(w.ctx, w.db); told != nil || folds != (err == nil) {
		w.Errorf("FoldsNames tells %v (%v), and the table under another case gives %v", folds, told, err)
	}
}

// testKeyGiver: it finds tables by name, and gives keys exactly if a table without one has one.
func testKeyGiver(t *testing.T, h Harness) {
	w := open(t, h, nil)
	giver := ability[dialect.KeyGiver](t, w.eng)
	w.exec("CREATE TABLE ddb_keyless (v BIGINT)")
	for name, want := range map[string]bool{"ddb_keyless": true, "ddb_nowhere": false} {
		if has, err := giver.HasTable(w.ctx, w.db, name); err != nil || has != want {
			w.Errorf("HasTable(%s) tells %v (%v)", name, has, err)
		}
	}
	gives, err := giver.GivesKeys(w.ctx, w.db)
	w.ok(err)
	if refused := w.tables()["ddb_keyless"].Refusal != ""; gives == refused {
		w.Errorf("GivesKeys tells %v, and the table without a key is refused: %v", gives, refused)
	}
}

// testRowEstimator: an estimate is no error, and no less than nothing.
func testRowEstimator(t *testing.T, h Harness) {
	w := open(t, h, nil)
	estimator := ability[dialect.RowEstimator](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)")
	if n, err := estimator.EstimateRows(w.ctx, w.db, w.table("t")); err != nil || n < 0 {
		w.Errorf("about %d rows (%v)", n, err)
	}
}

// testSessionReader: a session in which a backslash is itself reads otherwise.
func testSessionReader(t *testing.T, h Harness) {
	reader := ability[dialect.SessionReader](t, h.Dialect)
	w := open(t, h, nil)
	c := w.conn()
	const text = `SELECT length('\\')`
	var length int
	w.ok(c.QueryRowContext(w.ctx, text).Scan(&length))
	if otherwise, err := reader.ReadsOtherwise(w.ctx, c.QueryContext, text); err != nil || length == 2 && !otherwise {
		w.Errorf("ReadsOtherwise tells %v (%v) of a session in which %s is %d", otherwise, err, text, length)
	}
}

// testLastKeySetter: the connection tells the key, and another one nothing of it.
func testLastKeySetter(t *testing.T, h Harness) {
	setter := ability[dialect.LastKeySetter](t, h.Dialect)
	w := open(t, h, nil)
	c, other := w.conn(), w.conn()
	w.ok(setter.SetLastKey(w.ctx, c, 41))
	for conn, want := range map[*sql.Conn]int64{c: 41, other: 0} {
		var told int64
		w.ok(conn.QueryRowContext(w.ctx, "SELECT LAST_INSERT_ID()").Scan(&told))
		if told != want {
			w.Errorf("the connection tells %d, want %d", told, want)
		}
	}
}

// testDropper: what a statement of its own takes away is among the objects before, and not after.
func testDropper(t *testing.T, h Harness) {
	w := open(t, h, nil)
	dropper := ability[dialect.Dropper](t, w.eng)
	w.exec("PRAGMA user_version = 7", "CREATE TABLE t (id BIGINT PRIMARY KEY)")
	left := func() (list []string) {
		objects, err := w.eng.Objects(w.ctx, w.db)
		w.ok(err)
		for _, o := range objects {
			if sql := dropper.DropStatement(o.Kind, o.Name); sql != "" {
				list = append(list, sql)
			} else if o.Kind != "table" {
				w.Errorf("a %s is left to DROP", o.Kind)
			}
		}
		return list
	}
	list := left()
	if len(list) != 1 {
		w.Fatalf("%d statements, want one", len(list))
	}
	w.exec(list...)
	if after := left(); len(after) > 0 {
		w.Errorf("left: %v", after)
	}
}

// testOwnDatabase: ddb's own tables stand in it, and not among the user's.
func testOwnDatabase(t *testing.T, h Harness) {
	w := open(t, h, nil)
	database, err := w.eng.Database(w.ctx, w.db)
	w.ok(err)
	own := w.eng.OwnDatabase(database)
	if own != "" && !strings.Contains(w.eng.Own("meta"), own) || own != "" && own == database {
		w.Errorf("own tables are in %q by OwnDatabase, which is beside %q, and meta is %s", own, database, w.eng.Own("meta"))
	}
}
