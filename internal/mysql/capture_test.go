package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/testdb"
)

// collectKeys runs one pass and returns the keys that it found.
func (n *node) collectKeys(name string, during func()) (keys []string) {
	n.Helper()
	t := n.table(name)
	n.in(dialect.Pass, func(c *sql.Conn) {
		notes, err := n.eng.Collect(n.Context(), c, t, func(r dialect.Row) error {
			keys = append(keys, codec.Describe(r.Key))
			return nil
		})
		n.ok(err)
		n.ok(n.eng.Clear(n.Context(), c, notes))
		if during != nil {
			during()
		}
	})
	slices.Sort(keys)
	return keys
}

// A pass neither waits for a note that another transaction has not committed, nor loses
// it, nor keeps others from writing while it has cleared but not committed.
func TestClearBesideOpenTransaction(t *testing.T) {
	for _, before := range []int{1, 3, 200, 3000} {
		n := newNode(t, dialect.Config{})
		n.exec("CREATE TABLE t (id INT NOT NULL PRIMARY KEY)")
		n.install(dialect.Keys)
		insert := func(q dialect.Querier, from, count int) {
			mustExec(t, q, fmt.Sprintf("INSERT INTO t SELECT seq FROM seq_%d_to_%d", from, from+count-1))
		}
		insert(n.db, 1, before)
		open, err := n.db.BeginTx(t.Context(), nil)
		n.ok(err)
		insert(open, 100000, 1) // noted between the others, not committed
		insert(n.db, 10000, before)
		keys := n.collectKeys("t", func() {
			c, err := n.db.Conn(t.Context())
			n.ok(err)
			defer c.Close()
			// A lock of Clear's in the way of an insert would make this fail at once.
			mustExec(t, c, "SET innodb_lock_wait_timeout=1")
			insert(c, 200000, 2)
			mustExec(t, c, "SET innodb_lock_wait_timeout=50")
		})
		if len(keys) != 2*before {
			t.Errorf("%d keys noted and committed, %d collected", 2*before, len(keys))
		}
		n.ok(open.Commit())
		if keys := n.collectKeys("t", nil); !slices.Equal(keys, []string{"(100000)", "(200000)", "(200001)"}) {
			t.Errorf("the next pass found %v", keys)
		}
		if keys := n.collectKeys("t", nil); keys != nil {
			t.Errorf("a pass over nothing found %v", keys)
		}
	}
}

// Whatever foreign keys do to other rows reaches the replica: chains, composite keys
// that change with the parent's, tables that point at themselves and at each other.
func TestCascades(t *testing.T) {
	for _, mode := range []dialect.CaptureMode{dialect.Keys, dialect.Images} {
		a, b := newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
		creates := []string{
			"CREATE TABLE p (id INT NOT NULL PRIMARY KEY, u INT UNIQUE)",
			"CREATE TABLE c (p INT NOT NULL, n INT NOT NULL, s INT UNIQUE, PRIMARY KEY (p, n), FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
			"CREATE TABLE g (p INT NOT NULL, n INT NOT NULL, k INT NOT NULL, PRIMARY KEY (k, n, p), FOREIGN KEY (p, n) REFERENCES c (p, n) ON DELETE CASCADE ON UPDATE CASCADE)",
			"CREATE TABLE h (id INT NOT NULL PRIMARY KEY, p INT, n INT, k INT, u INT, FOREIGN KEY (k, n, p) REFERENCES g (k, n, p) ON DELETE SET NULL ON UPDATE CASCADE," +
				" FOREIGN KEY (u) REFERENCES p (u) ON DELETE SET NULL ON UPDATE SET NULL)",
			"CREATE TABLE tree (id INT NOT NULL PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE)",
			"CREATE TABLE x (id INT NOT NULL PRIMARY KEY, y INT, v INT)",
			"CREATE TABLE y (id INT NOT NULL PRIMARY KEY, x INT, FOREIGN KEY (x) REFERENCES x (id) ON DELETE CASCADE)",
			"ALTER TABLE x ADD FOREIGN KEY (y) REFERENCES y (id) ON DELETE CASCADE ON UPDATE SET NULL",
		}
		a.exec(creates...)
		b.exec(creates...)
		a.install(mode)
		rnd := rand.New(rand.NewPCG(7, uint64(mode)))
		n := func() int { return rnd.IntN(6) }
		statements := []func() string{
			func() string { return fmt.Sprintf("INSERT INTO p VALUES (%d, %d)", n(), n()) },
			func() string { return fmt.Sprintf("INSERT INTO c VALUES (%d, %d, NULL)", n(), n()) },
			func() string { return fmt.Sprintf("INSERT INTO g VALUES (%d, %d, %d)", n(), n(), n()) },
			func() string { return fmt.Sprintf("INSERT INTO g SELECT p, n, %d FROM c", n()) },
			func() string {
				return fmt.Sprintf("INSERT IGNORE INTO h SELECT %d, p, n, k, NULL FROM g LIMIT 1", rnd.IntN(100))
			},
			func() string {
				return fmt.Sprintf("INSERT INTO h VALUES (%d, NULL, NULL, NULL, %d)", rnd.IntN(100), n())
			},
			func() string { return fmt.Sprintf("UPDATE p SET id=%d WHERE id=%d", n(), n()) },
			func() string { return fmt.Sprintf("UPDATE p SET u=%d WHERE id=%d", n(), n()) },
			func() string { return fmt.Sprintf("UPDATE c SET n=%d WHERE p=%d LIMIT 1", n(), n()) },
			func() string { return fmt.Sprintf("UPDATE g SET k=%d WHERE p=%d LIMIT 1", n(), n()) },
			func() string { return fmt.Sprintf("DELETE FROM p WHERE id=%d", n()) },
			func() string { return fmt.Sprintf("REPLACE INTO p VALUES (%d, %d)", n(), n()) },
			func() string { return fmt.Sprintf("INSERT INTO tree VALUES (%d, NULL)", n()) },
			func() string { return fmt.Sprintf("INSERT INTO tree SELECT %d, MAX(id) FROM tree", rnd.IntN(40)) },
			func() string { return fmt.Sprintf("DELETE FROM tree WHERE id=%d", n()) },
			func() string { return fmt.Sprintf("INSERT INTO x VALUES (%d, NULL, 0)", n()) },
			func() string { return fmt.Sprintf("INSERT INTO y VALUES (%d, %d)", n(), n()) },
			func() string { return fmt.Sprintf("UPDATE x SET y=%d WHERE id=%d", n(), n()) },
			func() string { return fmt.Sprintf("UPDATE y SET id=%d WHERE id=%d", n(), n()) },
			func() string { return fmt.Sprintf("DELETE FROM x WHERE id=%d", n()) },
			func() string { return fmt.Sprintf("DELETE FROM y WHERE id=%d", n()) },
		}
		done := map[int]int{}
		for i := range 3000 {
			k := rnd.IntN(len(statements))
			r, err := a.db.Exec(statements[k]())
			if err == nil {
				if rows, _ := r.RowsAffected(); rows > 0 {
					done[k]++
				}
			}
			if i%25 == 24 {
				a.ship(b)
				a.same(b, "p", "c", "g", "h", "tree", "x", "y")
				if t.Failed() {
					t.FailNow()
				}
			}
		}
		for k := range statements {
			if done[k] == 0 {
				t.Errorf("no statement like %q changed anything", statements[k]())
			}
		}
	}
}

// A tree as deep as InnoDB allows goes to the last leaf.
func TestCascadeDepth(t *testing.T) {
	a, b := newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
	for _, n := range []*node{a, b} {
		n.exec("CREATE TABLE tree (id INT NOT NULL PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE)")
	}
	a.install(dialect.Keys)
	a.exec("INSERT INTO tree VALUES (1, NULL)")
	for i := 2; i <= 15; i++ {
		a.exec(fmt.Sprintf("INSERT INTO tree VALUES (%d, %d), (%d, %d)", i, i-1, 100+i, i-1))
	}
	a.ship(b)
	a.exec("DELETE FROM tree WHERE id=1")
	a.ship(b)
	var left int
	n := b.db.QueryRow("SELECT COUNT(*) FROM tree")
	if err := n.Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows left on the replica, error %v", left, err)
	}
}

// User's triggers under guard keep definer, sql_mode, order and body, and come back
// exactly as they were.
func TestGuardKeepsTriggers(t *testing.T) {
	n := newNode(t, dialect.Config{Guard: true})
	n.exec("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v TEXT)", "CREATE USER IF NOT EXISTS other@'%' IDENTIFIED BY 'x'")
	mustExec(t, testdb.SharedMariaDB(t).Open(t, ""), "GRANT ALL ON *.* TO other@'%'")
	c := n.lax()
	mustExec(t, c, "SET sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'",
		`CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW SET NEW."v" = CONCAT(NEW."v", '1ä') -- trailing comment`,
		`CREATE DEFINER=other@'%' TRIGGER two BEFORE INSERT ON t FOR EACH ROW lab: BEGIN DECLARE x INT; SET NEW."v" = NEW."v" || '2'; END lab`,
		`CREATE TRIGGER zero BEFORE INSERT ON t FOR EACH ROW PRECEDES one SET NEW."v" = NEW."v" || '0'`)
	list := func() string {
		all, err := catalog.TriggersOf(t.Context(), n.lax(), n.eng.server.Databases()[0])
		n.ok(err)
		var b strings.Builder
		for _, tr := range all {
			if !tr.Own() {
				tr.Client = "" // a body that is not ASCII is written in UTF-8
				fmt.Fprintf(&b, "%+v\n", tr)
			}
		}
		return b.String()
	}
	before := list()
	n.install(dialect.Images)
	n.install(dialect.Images)
	if list() == before {
		t.Error("no guard was put up")
	}
	value := func(id int) (v string) {
		n.ok(n.db.QueryRow("SELECT v FROM t WHERE id=?", id).Scan(&v))
		return v
	}
	n.exec("INSERT INTO t VALUES (1, '')")
	if v := value(1); v != "01ä2" {
		t.Errorf("guarded triggers made %q", v)
	}
	for i, p := range []dialect.Purpose{dialect.Batch, dialect.Replay} {
		n.in(p, func(c *sql.Conn) {
			row := dialect.Row{Key: []any{int64(i + 2)}, Values: []any{int64(i + 2), "asis"}}
			n.ok(n.eng.Apply(context.Background(), c, n.table("t"), []dialect.Row{row}, dialect.Strict))
		})
		if v := value(i + 2); v != "asis" {
			t.Errorf("purpose %d: the guard let a trigger make %q", p, v)
		}
	}
	n.ok(n.eng.RemoveCapture(t.Context(), n.db))
	if after := list(); after != before {
		t.Errorf("triggers were\n%s\nand are\n%s", before, after)
	}
}

// LAST_INSERT_ID and RowsAffected are those of the user's statement, not of the notes.
func TestCaptureKeepsResults(t *testing.T) {
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE a (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)", "CREATE TABLE b (id INT NOT NULL PRIMARY KEY, v INT)")
	n.install(dialect.Keys)
	n.exec("INSERT INTO b VALUES (1, 1), (2, 2)", "UPDATE b SET v=3")
	check := func(statement string, id, rows int64) {
		t.Helper()
		r, err := n.db.Exec(statement)
		n.ok(err)
		gotID, _ := r.LastInsertId()
		gotRows, _ := r.RowsAffected()
		if gotID != id || gotRows != rows {
			t.Errorf("%s: id %d, %d rows; want id %d, %d rows", statement, gotID, gotRows, id, rows)
		}
	}
	check("INSERT INTO a (v) VALUES (1), (2)", 1, 2)
	check("INSERT INTO b VALUES (3, 3)", 0, 1)
	check("UPDATE b SET v=v+1 WHERE id<3", 0, 2)
	check("UPDATE b SET id=9 WHERE id=3", 0, 1)
	check("DELETE FROM b", 0, 3)
	check("INSERT INTO a (v) VALUES (3)", 3, 1)
}
