package replicas_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// hardCase is a case of DESIGN section 8: what the master does, after which all nodes must be equal.
type hardCase struct {
	name   string
	only   string   // the engine, if there is one only
	before []string // run before ddb adopts the database
	steps  []string // run through ddb, one by one; several in one transaction after "tx:", bypassing ddb after "raw:"
	check  func(f *testcluster.Fixture)
}

func (c hardCase) run(t *testing.T, engine testcluster.Engine) {
	f := testcluster.NewFixture(t, engine, 1)
	f.Bypass(c.before...)
	f.OpenAll()
	for _, s := range c.steps {
		switch {
		case strings.HasPrefix(s, "tx:"):
			f.Tx(strings.Split(strings.TrimPrefix(s, "tx:"), ";")...)
		case strings.HasPrefix(s, "raw:"):
			f.Bypass(strings.TrimPrefix(s, "raw:"))
		default:
			f.Do(s)
		}
	}
	f.Level()
	if c.check != nil {
		c.check(f)
	}
	f.Restart()
	f.Level()
}

func runCases(t *testing.T, cases []hardCase) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		for _, c := range cases {
			if c.only == "" || c.only == string(engine) {
				t.Run(c.name, func(t *testing.T) { c.run(t, engine) })
			}
		}
	})
}

// expect returns a check of a query's first column on every node.
func expect(query, want string) func(*testcluster.Fixture) {
	return func(f *testcluster.Fixture) {
		f.Helper()
		for _, n := range append([]*testcluster.Node{f.Master}, f.Replicas...) {
			require.Equal(f, want, f.One(n, query), "%s on %s", query, n.ID)
		}
	}
}

// Rows are named by their keys, whatever the keys are made of.
func TestKeys(t *testing.T) {
	runCases(t, []hardCase{
		{name: "unique values are swapped", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, v VARCHAR(9))",
			"INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')",
			"tx:UPDATE t SET u = -1 WHERE id = 1;UPDATE t SET u = 10 WHERE id = 2;UPDATE t SET u = 20 WHERE id = 1",
			"tx:UPDATE t SET u = -1 WHERE id = 1;UPDATE t SET u = 20 WHERE id = 3;UPDATE t SET u = 30 WHERE id = 2;UPDATE t SET u = 10 WHERE id = 1",
			"tx:DELETE FROM t WHERE id = 3;INSERT INTO t VALUES (4, 20, 'd')",
		}, check: expect("SELECT u FROM t WHERE id = 4", "20")},
		{name: "the primary key is updated", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))",
			"INSERT INTO t VALUES (1, 'a'), (2, 'b')",
			"UPDATE t SET id = id + 10",
			"tx:UPDATE t SET id = 99 WHERE id = 11;UPDATE t SET id = 11 WHERE id = 12;UPDATE t SET id = 12 WHERE id = 99",
		}, check: expect("SELECT v FROM t WHERE id = 12", "a")},
		{name: "composite keys", steps: []string{
			"CREATE TABLE t (b VARCHAR(9) NOT NULL, v INT, a INT NOT NULL, PRIMARY KEY (a, b))",
			"INSERT INTO t VALUES ('x', 1, 1), ('y', 2, 1), ('x', 3, 2)",
			"UPDATE t SET b = 'z' WHERE a = 1 AND b = 'y'",
			"DELETE FROM t WHERE a = 2",
		}},
		{name: "case-insensitive keys", only: "mariadb", steps: []string{
			"CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT) CHARSET utf8mb4",
			"INSERT INTO t VALUES ('Anna', 1), ('bob ', 2), ('Zoë', 3)",
			"UPDATE t SET k = 'ANNA' WHERE k = 'anna'",
			"tx:DELETE FROM t WHERE k = 'ZOE';INSERT INTO t VALUES ('zoe', 4)",
			"tx:UPDATE t SET k = 'bob' WHERE k = 'BOB'",
		}, check: expect("SELECT GROUP_CONCAT(k ORDER BY k) FROM t", "ANNA,bob,zoe")},
		{name: "case-insensitive keys", only: "sqlite", steps: []string{
			"CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES ('Anna', 1), ('bob', 2)",
			"UPDATE t SET k = 'ANNA' WHERE k = 'anna'",
			"tx:DELETE FROM t WHERE k = 'BOB';INSERT INTO t VALUES ('Bob', 4)",
		}, check: expect("SELECT group_concat(k) FROM (SELECT k FROM t ORDER BY k)", "ANNA,Bob")},
		{name: "binary keys", steps: []string{
			"CREATE TABLE t (k VARBINARY(20) NOT NULL PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES (x'00', 1), (x'0000', 2), (x'', 3), (x'FF00FE', 4), (x'41', 5), (x'61', 6)",
			"UPDATE t SET k = x'00FF' WHERE k = x'0000'",
			"DELETE FROM t WHERE k = x'41'",
		}},
		{name: "negative and large keys", steps: []string{
			"CREATE TABLE t (id BIGINT PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES (-9223372036854775808, 1), (-1, 2), (0, 3), (9223372036854775807, 4), (9007199254740993, 5)",
			"UPDATE t SET v = v * 10",
			"UPDATE t SET id = 5 WHERE id = 0",
		}},
		{name: "unsigned keys", only: "mariadb", steps: []string{
			"CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, v INT)",
			"INSERT INTO t VALUES (18446744073709551615, 1), (9223372036854775808, 2), (0, 3)",
			"UPDATE t SET v = v * 10",
			"UPDATE t SET id = id - 1 WHERE id = 18446744073709551615",
		}, check: expect("SELECT v FROM t WHERE id = 18446744073709551614", "10")},
	})
}

// A table without a key is refused by name, with the way out, and leaves nothing behind.
func TestTableWithoutKey(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		bad := "CREATE TABLE bad (a INT, b INT)"
		if engine == "mariadb" {
			f.Bypass("CREATE TABLE older (a INT, b INT)", "INSERT INTO older VALUES (1, 2)")
		} else {
			bad = "CREATE TABLE bad (_rowid_ INT, rowid INT, oid INT)" // all three names of the rowid are hidden
		}
		f.OpenMaster()
		_, err := f.Master.Exec(bad)
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		require.ErrorContains(t, err, "bad")
		require.ErrorContains(t, err, "PRIMARY KEY")
		f.Do("CREATE TABLE good (a INT PRIMARY KEY)", "INSERT INTO good VALUES (1)")
		_, err = f.Master.Raw.Exec("SELECT 1 FROM bad")
		require.Error(t, err)
		if engine == "mariadb" {
			list, err := f.Master.Tables(t.Context())
			require.NoError(t, err)
			refused := ""
			for _, table := range list {
				if table.Refusal != "" {
					refused += table.Name
				}
			}
			require.Equal(t, "older", refused)
		}
	})
}

// To refuse a table leaves every other one alone: of another case, of another database, there before.
func TestRefusalTouchesNoOtherTable(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	f.Bypass("CREATE TABLE older (a INT, b INT)", "INSERT INTO older VALUES (1, 2)")
	f.OpenMaster()
	other := f.Master.Name + "_other"
	f.Do("CREATE DATABASE " + other)
	t.Cleanup(func() { f.Master.Raw.Exec("DROP DATABASE IF EXISTS " + other) })
	f.Do("CREATE TABLE Older (id INT PRIMARY KEY)", "CREATE TABLE "+other+".older (id INT PRIMARY KEY)",
		"CREATE TABLE IF NOT EXISTS older (id INT PRIMARY KEY)", "ALTER TABLE older ADD COLUMN c INT")
	for _, bad := range []string{"CREATE TABLE OLDER (a INT)", "CREATE TABLE IF NOT EXISTS bad (a INT)", "CREATE TABLE " + other + ".bad (a INT)"} {
		_, err := f.Master.Exec(bad)
		require.ErrorIs(t, err, ddb.ErrNotReplicable, bad)
	}
	require.Equal(t, "1", f.One(f.Master, "SELECT COUNT(*) FROM older"))
	require.Equal(t, []string{f.Master.Name + "|Older", f.Master.Name + "|older", other + "|older"}, f.Strings(f.Master.Raw,
		"SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (?, ?) ORDER BY 1, BINARY table_name", f.Master.Name, other))
}

// What one statement does to other rows and tables arrives too.
func TestIndirectChanges(t *testing.T) {
	family := []string{
		"CREATE TABLE a (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE c (id INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE d (id INT PRIMARY KEY, c INT, a INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE SET NULL ON UPDATE CASCADE, FOREIGN KEY (a) REFERENCES a (id) ON DELETE SET NULL ON UPDATE CASCADE)",
		"INSERT INTO a VALUES (1, 1), (2, 2), (3, 3)",
		"INSERT INTO b VALUES (1, 1), (2, 1), (3, 2)",
		"INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 3)",
		"INSERT INTO d VALUES (1, 1, 1), (2, 2, 1), (3, 3, 2), (4, 4, 3)",
	}
	runCases(t, []hardCase{
		{name: "cascades three deep", steps: append(family,
			"UPDATE a SET id = 20 WHERE id = 2",
			"UPDATE c SET id = 30 WHERE id = 3",
			"DELETE FROM a WHERE id = 1",
			"tx:DELETE FROM a WHERE id = 20;INSERT INTO a VALUES (20, 5);INSERT INTO b VALUES (9, 20)",
		), check: expect("SELECT COUNT(*) FROM d WHERE c IS NULL", "4")},
		{name: "cascades without ddb", before: family, steps: []string{"raw:DELETE FROM a WHERE id = 2", "raw:DELETE FROM b WHERE id = 1"},
			check: expect("SELECT COUNT(*) FROM c", "1")},
		{name: "a table that refers to itself", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES t (id) ON DELETE CASCADE)",
			"INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, NULL), (6, 6)",
			"DELETE FROM t WHERE id = 2",
			"DELETE FROM t WHERE id = 6",
		}, check: expect("SELECT COUNT(*) FROM t", "2")},
		{name: "rows that point at each other", only: "sqlite", steps: []string{
			"CREATE TABLE p (id INT PRIMARY KEY, q INT REFERENCES q (id) DEFERRABLE INITIALLY DEFERRED)",
			"CREATE TABLE q (id INT PRIMARY KEY, p INT REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)",
			"tx:INSERT INTO p VALUES (1, 1);INSERT INTO q VALUES (1, 1)",
			"tx:DELETE FROM p;DELETE FROM q WHERE id = 1;INSERT INTO q VALUES (2, NULL)",
		}},
		{name: "rows that point at each other", only: "mariadb", steps: []string{
			"CREATE TABLE p (id INT PRIMARY KEY, q INT)",
			"CREATE TABLE q (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE SET NULL)",
			"ALTER TABLE p ADD FOREIGN KEY (q) REFERENCES q (id) ON DELETE CASCADE",
			"tx:INSERT INTO p VALUES (1, NULL), (2, NULL);INSERT INTO q VALUES (1, 1), (2, 2);UPDATE p SET q = id",
			"DELETE FROM q WHERE id = 1",
		}, check: expect("SELECT COUNT(*) FROM p", "1")},
		{name: "REPLACE removes other rows", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, w INT UNIQUE)",
			"INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)",
			"REPLACE INTO t VALUES (9, 1, 2)",
			"REPLACE INTO t VALUES (3, 4, 4)",
		}, check: expect("SELECT COUNT(*) FROM t", "2")},
		{name: "INSERT OR REPLACE removes other rows", only: "sqlite", steps: []string{
			"CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
			"INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
			"INSERT OR REPLACE INTO t VALUES (2, 'a')",
			"UPDATE OR REPLACE t SET u = 'c' WHERE id = 2",
			"INSERT INTO t VALUES (2, 'zz') ON CONFLICT (id) DO UPDATE SET u = 'upsert'",
		}, check: expect("SELECT group_concat(u) FROM t", "upsert")},
		{name: "ON DUPLICATE KEY UPDATE", only: "mariadb", steps: []string{
			"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, u INT UNIQUE, n INT)",
			"INSERT INTO t (u, n) VALUES (1, 1), (2, 1)",
			"INSERT INTO t (u, n) VALUES (2, 1), (3, 1) ON DUPLICATE KEY UPDATE n = n + 10, id = 50",
			"INSERT IGNORE INTO t (u, n) VALUES (1, 5), (4, 5)",
		}, check: expect("SELECT n FROM t WHERE id = 50", "11")},
	})
}

// Clients that know nothing of ddb write, and change tables, while replicas follow.
func TestWritersThatBypass(t *testing.T) {
	runCases(t, []hardCase{
		{name: "rows", before: []string{"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)"},
			steps: []string{"raw:INSERT INTO t VALUES (2, 2)", "UPDATE t SET v = v + 1", "raw:DELETE FROM t WHERE id = 1", "raw:INSERT INTO t VALUES (3, 3)"},
			check: expect("SELECT SUM(v) FROM t", "6")},
		{name: "a column is added", before: []string{"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)"},
			steps: []string{"raw:ALTER TABLE t ADD COLUMN w INT DEFAULT 7", "INSERT INTO t (id, v, w) VALUES (2, 2, 2)", "raw:UPDATE t SET w = w + 1"},
			check: expect("SELECT SUM(w) FROM t", "11")},
		{name: "a column is dropped", before: []string{"CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT)", "INSERT INTO t VALUES (1, 1, 1)"},
			steps: []string{"raw:UPDATE t SET v = 3", "raw:ALTER TABLE t DROP COLUMN w", "INSERT INTO t (id, v) VALUES (2, 2)"},
			check: expect("SELECT SUM(v) FROM t", "5")},
		{name: "tables come and go", before: []string{"CREATE TABLE gone (id INT PRIMARY KEY, v INT)", "INSERT INTO gone VALUES (1, 1)"},
			steps: []string{"raw:CREATE TABLE fresh (id INT PRIMARY KEY)", "raw:INSERT INTO fresh VALUES (1)", "raw:DROP TABLE gone", "raw:INSERT INTO fresh VALUES (2)"},
			check: expect("SELECT COUNT(*) FROM fresh", "2")},
		{name: "a table is renamed", before: []string{"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)"},
			steps: []string{"raw:ALTER TABLE t RENAME TO s", "raw:INSERT INTO s VALUES (2, 2)"},
			check: expect("SELECT COUNT(*) FROM s", "2")},
	})
}

// Schema statements through ddb, those too whose effect differs from run to run.
func TestSchemaStatements(t *testing.T) {
	start := []string{"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)"}
	with := func(s ...string) []string { return append(append([]string{}, start...), s...) }
	runCases(t, []hardCase{
		{name: "add, rename and drop a column", steps: with("ALTER TABLE t ADD COLUMN w VARCHAR(20) DEFAULT 'x'", "UPDATE t SET w = 'y' WHERE id = 2",
			"ALTER TABLE t RENAME COLUMN w TO ww", "INSERT INTO t VALUES (3, 3, 'z')", "ALTER TABLE t DROP COLUMN v", "UPDATE t SET ww = 'q' WHERE id = 1")},
		{name: "rename a table", steps: with("ALTER TABLE t RENAME TO s", "INSERT INTO s VALUES (3, 3)", "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (9)")},
		{name: "indexes", steps: with("CREATE INDEX tv ON t (v)", "CREATE UNIQUE INDEX tu ON t (v, id)", "INSERT INTO t VALUES (3, 3)")},
		{name: "drop a table", steps: with("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)", "DROP TABLE t", "INSERT INTO u VALUES (2)", "CREATE TABLE t (id INT PRIMARY KEY, z INT)", "INSERT INTO t VALUES (1, 1)")},
		{name: "create from a query", only: "mariadb", steps: with("CREATE TABLE c (id INT PRIMARY KEY) SELECT id, v, NOW(6) AS at, UUID() AS u, RAND() AS r FROM t", "INSERT INTO c VALUES (7, 7, NOW(), UUID(), 7)"),
			check: expect("SELECT COUNT(*) FROM c", "3")},
		{name: "defaults that differ", only: "mariadb", steps: with("ALTER TABLE t ADD COLUMN at DATETIME(6) NOT NULL DEFAULT NOW(6)", "ALTER TABLE t ADD COLUMN u VARCHAR(40) NOT NULL DEFAULT UUID()",
			"INSERT INTO t (id) VALUES (3)", "ALTER TABLE t ADD COLUMN n INT AUTO_INCREMENT UNIQUE", "INSERT INTO t (id) VALUES (4)")},
		{name: "truncate", only: "mariadb", steps: with("TRUNCATE TABLE t", "INSERT INTO t VALUES (5, 5)", "TRUNCATE t"), check: expect("SELECT COUNT(*) FROM t", "0")},
		{name: "rename two tables at once", only: "mariadb", steps: with("CREATE TABLE s (id INT PRIMARY KEY, w INT)", "INSERT INTO s VALUES (7, 7)", "RENAME TABLE t TO x, s TO t, x TO s", "INSERT INTO t VALUES (8, 8)", "INSERT INTO s VALUES (8, 8)")},
		{name: "change the key", only: "mariadb", steps: with("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (v)", "UPDATE t SET v = 20 WHERE v = 2", "DELETE FROM t WHERE v = 1")},
		{name: "routines", only: "mariadb", steps: with("CREATE PROCEDURE raise_all(IN n INT) BEGIN UPDATE t SET v = v + n; INSERT INTO t VALUES (n, n); END", "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2", "CALL raise_all(40)", "DROP PROCEDURE raise_all"),
			check: expect("SELECT twice(SUM(v)) FROM t", "246")},
		{name: "in a transaction", only: "sqlite", steps: with("tx:INSERT INTO t VALUES (3, 3);CREATE TABLE n (id INT PRIMARY KEY, v TEXT);INSERT INTO n VALUES (1, 'a');ALTER TABLE t ADD COLUMN w INT DEFAULT 4;UPDATE t SET w = 5 WHERE id = 1"),
			check: expect("SELECT SUM(w) FROM t", "13")},
		{name: "several in one text", steps: with("CREATE TABLE m (id INT PRIMARY KEY); INSERT INTO m VALUES (1); CREATE INDEX mi ON m (id)")},
	})
}

// A failed schema statement changes nothing anywhere.
func TestSchemaStatementFails(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 1)")
		for _, s := range []string{"CREATE TABLE t (id INT PRIMARY KEY)", "DROP TABLE nix", "CREATE UNIQUE INDEX u ON t (v)", "ALTER TABLE t ADD COLUMN v INT", "CREATE TABEL x"} {
			_, err := f.Master.Exec(s)
			require.Error(t, err, s)
		}
		_, err := f.Replicas[0].Exec("CREATE TABLE x (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		f.Do("INSERT INTO t VALUES (3, 3)")
		f.Level()
	})
}

// The numbers that programs keep in a SQLite file are replicated, in snapshots of either kind too.
func TestUserVersion(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "PRAGMA user_version = 7", "PRAGMA main.application_id(-8)")
	require.Equal(t, []string{"7"}, f.Strings(f.Master.DB(), "PRAGMA user_version"))
	numbers := func(want ...string) {
		t.Helper()
		f.Level()
		for _, n := range append(f.Replicas, f.Master) {
			require.Equal(t, want, []string{f.One(n, "PRAGMA user_version"), f.One(n, "PRAGMA application_id")}, n.ID)
		}
	}
	numbers("7", "-8")
	f.Tx("PRAGMA application_id = 0", "INSERT INTO t VALUES (1)", "PRAGMA user_version = 0x10")
	numbers("16", "0")
	_, err := f.Replicas[0].Exec("PRAGMA user_version = 9")
	require.ErrorIs(t, err, ddb.ErrNotMaster)
	for _, virtual := range []bool{false, true} { // with one the rows travel, not the file
		if virtual {
			f.Bypass("CREATE VIRTUAL TABLE words USING fts5(w)")
		}
		r := f.NewNode(fmt.Sprint("late", virtual))
		_, err = r.Raw.Exec("PRAGMA application_id = 5")
		require.NoError(t, err)
		f.OpenReplica(r)
		f.Replicas = append(f.Replicas, r)
		numbers("16", "0")
	}
}

// A cascade is followed when several of its ways meet in one key, when a user's trigger changes the row that starts it, and
// when another client has just made the foreign key.
func TestCascadesThatMeet(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE p (id INT PRIMARY KEY, x INT NOT NULL UNIQUE, y INT NOT NULL UNIQUE, v INT)",
		"CREATE TABLE c (a INT, b INT, PRIMARY KEY (a, b), FOREIGN KEY (a) REFERENCES p (x) ON UPDATE CASCADE, FOREIGN KEY (b) REFERENCES p (y) ON UPDATE CASCADE)",
		"CREATE TABLE m1 (x INT PRIMARY KEY, FOREIGN KEY (x) REFERENCES p (id) ON UPDATE CASCADE ON DELETE CASCADE)",
		"CREATE TABLE m2 (x INT PRIMARY KEY, FOREIGN KEY (x) REFERENCES p (id) ON UPDATE CASCADE)",
		"CREATE TABLE d (a INT, b INT, PRIMARY KEY (a, b), FOREIGN KEY (a) REFERENCES m1 (x) ON UPDATE CASCADE, FOREIGN KEY (b) REFERENCES m2 (x) ON UPDATE CASCADE)",
		"INSERT INTO p VALUES (1, 1, 1, 0), (2, 2, 2, 0), (3, 3, 3, 0)", "INSERT INTO c VALUES (1, 1), (1, 2)", "INSERT INTO m1 VALUES (1), (2), (3)", "INSERT INTO m2 VALUES (1), (2)", "INSERT INTO d VALUES (1, 1), (1, 2)")
	f.Level()
	f.Do("UPDATE p SET id = 10, x = 10, y = 20 WHERE id = 1")
	f.Level()
	f.Do("CREATE TRIGGER moves BEFORE UPDATE ON p FOR EACH ROW SET NEW.id = OLD.id + NEW.v, NEW.x = OLD.x + NEW.v",
		"CREATE TRIGGER brings BEFORE DELETE ON p FOR EACH ROW UPDATE m1 SET x = OLD.id WHERE x = 4", "INSERT INTO p VALUES (4, 4, 4, 0)", "INSERT INTO m1 VALUES (4)")
	f.Level()
	f.Do("UPDATE p SET v = 100 WHERE id <= 10 AND id <> 4", "DELETE FROM m1 WHERE x = 103", "DELETE FROM p WHERE id = 103")
	f.Level()
	f.Do("CREATE TABLE e (id INT PRIMARY KEY, v INT)", "CREATE TABLE g (id INT PRIMARY KEY, e INT, FOREIGN KEY (e) REFERENCES e (id) ON DELETE CASCADE)",
		"INSERT INTO e VALUES (1, 102), (2, 110)", "INSERT INTO g VALUES (1, 1), (2, 2)", "DELETE FROM c", "DELETE FROM d", "DELETE FROM m1", "DELETE FROM m2")
	f.Level()
	f.Bypass("ALTER TABLE e ADD FOREIGN KEY (v) REFERENCES p (id) ON DELETE CASCADE", "DELETE FROM p WHERE id = 110")
	f.Level()
	require.Equal(t, "1", f.One(f.Master, "SELECT COUNT(*) FROM g"))
}

// Pragmas that run in no transaction, or write, answer through the Cluster as without ddb, on a replica too that has been given
// the right to those of the master.
func TestPragmas(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	f.Grant(ddb.ReadRows | ddb.ChangeRows | ddb.Administer)
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	for _, q := range []string{"PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA optimize", "PRAGMA incremental_vacuum", "PRAGMA integrity_check",
		"PRAGMA foreign_key_check", "PRAGMA journal_mode", "PRAGMA data_version", "PRAGMA table_info(t)", "PRAGMA page_count", "PRAGMA shrink_memory", "VACUUM"} {
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			rows, err := n.Query(q)
			require.NoError(t, err, "%s on %s", q, n.ID)
			for rows.Next() {
			}
			require.NoError(t, rows.Err(), "%s on %s", q, n.ID)
			require.NoError(t, rows.Close())
			_, err = n.Exec(q)
			require.NoError(t, err, "%s on %s", q, n.ID)
		}
	}
	var busy, log, moved int
	require.NoError(t, f.Master.QueryRow("PRAGMA wal_checkpoint").Scan(&busy, &log, &moved))
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
}
