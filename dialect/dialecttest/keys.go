package dialecttest

import (
	"database/sql"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// testKeyMover: new rows get keys of the node's range while another node's are the highest, what was moved can be told, and the
// connection tells what it is made to tell.
func testKeyMover(t *testing.T, h Harness) {
	w := open(t, h, nil)
	mover := ability[dialect.KeyMover](t, w.eng)
	w.exec("CREATE TABLE t (id "+h.AutoKey+", v BIGINT)", "INSERT INTO t (id, v) VALUES (5000, 0)")
	w.capture(dialect.Keys)
	list, err := w.eng.Tables(w.ctx, w.db)
	w.ok(err)
	tb := w.table("t")
	w.in(dialect.Write, func(c *sql.Conn) { w.ok(mover.InstallKeys(w.ctx, c, list, 100, 200, false)) })
	w.in(dialect.Write, func(c *sql.Conn) {
		if highest, _, err := mover.HighestKey(w.ctx, c, tb, 100, 200); err != nil || highest != 99 {
			w.Errorf("HighestKey of an empty range that begins at 100 is %d (%v)", highest, err)
		}
		w.run(c, "INSERT INTO t (v) VALUES (1)", "INSERT INTO t (id, v) VALUES (7, 2)", "INSERT INTO t (v) VALUES (3)")
		was, _, err := mover.Told(w.ctx, c)
		w.ok(err)
		if key, ok, err := mover.MovedTo(w.ctx, c, "T", was); err != nil || !ok || key != 101 {
			w.Errorf("the row that was handed %d was moved to %d: %v (%v), want 101", was, key, ok, err)
		}
		if _, ok, err := mover.MovedTo(w.ctx, c, "t", 7); err != nil || ok {
			w.Errorf("the row that has its key by the user's wish was moved: %v (%v)", ok, err)
		}
		all, err := mover.Moves(w.ctx, c)
		w.ok(err)
		if moves, from, last, err := mover.MovesOf(w.ctx, c, tb); err != nil || moves != 2 || all != 2 || from.Int64 != was || last != 101 {
			w.Errorf("MovesOf tells %d, %v, %d (%v), Moves %d; want 2, %d, 101 and 2", moves, from, last, err, all, was)
		}
		for _, changes := range []int64{1, 3} {
			w.ok(mover.Tell(w.ctx, c, 101, changes))
			if key, told, err := mover.Told(w.ctx, c); err != nil || key != 101 || told != changes {
				w.Errorf("told %d and %d (%v), want 101 and %d", key, told, err, changes)
			}
		}
		w.ok(mover.LockMoves(w.ctx, c))
		if err := mover.BeginMoves(w.ctx, c); !h.Dialect.Fault(err).Is(dialect.InTx) {
			w.Errorf("BeginMoves inside a transaction: %v, want an error that is InTx", err)
		}
	})
	begun := w.conn()
	w.ok(mover.BeginMoves(w.ctx, begun))
	w.run(begun, "ROLLBACK")
	w.holds("t", "7 2", "100 1", "101 3", "5000 0")
	// Where all of that is gone keys come as without it.
	w.in(dialect.Write, func(c *sql.Conn) { w.ok(mover.InstallKeys(w.ctx, c, nil, 0, 0, false)) })
	w.exec("INSERT INTO t (v) VALUES (4)")
	if id := w.count("SELECT MAX(id) FROM t"); id <= 5000 {
		w.Errorf("after the range is gone the highest key is %d", id)
	}
}

// testKeyGauge: more keys are used up after more rows, and a table without such keys has no column of them.
func testKeyGauge(t *testing.T, h Harness) {
	w := open(t, h, nil)
	gauge := ability[dialect.KeyGauge](t, w.eng)
	w.exec("CREATE TABLE t (id "+h.AutoKey+", v BIGINT)", "CREATE TABLE plain (id VARCHAR(10) PRIMARY KEY)", "INSERT INTO t (id, v) VALUES (10, 1)")
	used := func() float64 {
		w.Helper()
		column, share, err := gauge.UsedKeys(w.ctx, w.db, w.table("t"), 1, 1000)
		w.ok(err)
		if column != "id" || share < 0 || share > 1 {
			w.Fatalf("UsedKeys tells of column %q that %f is used", column, share)
		}
		return share
	}
	before := used()
	w.exec("INSERT INTO t (id, v) VALUES (900, 1)")
	if after := used(); after <= before {
		w.Errorf("UsedKeys tells %g after 900 and %g before", after, before)
	}
	if column, _, err := gauge.UsedKeys(w.ctx, w.db, w.table("plain"), 1, 1000); err != nil || column != "" {
		w.Errorf("UsedKeys tells of %q (%v) in a table without such keys", column, err)
	}
	if column, _, _ := gauge.NarrowKeys(w.table("t"), 256, 1000); column != "" {
		w.Errorf("a key of 63 bits is narrow: %q", column)
	}
}

// testKeySharer: two connections that share keys hand out none that the other does.
func testKeySharer(t *testing.T, h Harness) {
	w := open(t, h, nil)
	sharer := ability[dialect.KeySharer](t, w.eng)
	w.exec("CREATE TABLE t (id " + h.AutoKey + ", v BIGINT)")
	for _, number := range []int64{3, 7, 3} {
		c := w.conn()
		w.ok(sharer.ShareKeys(w.ctx, c, 10, number))
		w.run(c, "INSERT INTO t (v) VALUES (1)", "INSERT INTO t (v) VALUES (2)")
		var id int64
		w.ok(c.QueryRowContext(w.ctx, "SELECT MAX(id) FROM t").Scan(&id))
		if id%10 != number {
			w.Errorf("number %d of 10 hands out %d", number, id)
		}
	}
}

// testSessionTuner: what is set in a session is set back.
func testSessionTuner(t *testing.T, h Harness) {
	w := open(t, h, nil)
	tuner := ability[dialect.SessionTuner](t, w.eng)
	w.exec("CREATE TABLE p (id BIGINT PRIMARY KEY)", "CREATE TABLE c (id BIGINT PRIMARY KEY, p BIGINT, FOREIGN KEY (p) REFERENCES p (id))")
	c := w.conn()
	orphan := func() error {
		_, err := c.ExecContext(w.ctx, "INSERT INTO c VALUES (1, 99)")
		return err
	}
	if orphan() == nil {
		w.Fatal("a row without its parent is stored")
	}
	restore, err := tuner.Unchecked(w.ctx, c)
	w.ok(err)
	w.ok(orphan())
	w.ok(restore())
	w.run(c, "DELETE FROM c")
	if orphan() == nil {
		w.Error("foreign keys are not checked after restore")
	}
	restore, err = tuner.Impatient(w.ctx, c)
	w.ok(err)
	w.ok(restore())
	if holds, err := tuner.HoldsTables(w.ctx, c); err != nil || holds {
		w.Errorf("HoldsTables of a session without locks: %v (%v)", holds, err)
	}
}
