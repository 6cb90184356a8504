package dialecttest

import (
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
