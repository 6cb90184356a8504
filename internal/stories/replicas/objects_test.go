package replicas_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// The user's own triggers, generated columns and views.
func TestTriggersAndViews(t *testing.T) {
	cases := []hardCase{
		{name: "triggers act once", only: "sqlite", steps: []string{
			"CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)",
			"CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT)",
			"CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log (what) VALUES ('new ' || new.id); UPDATE t SET v = v + 1 WHERE id = new.id; END",
			"INSERT INTO t VALUES (1, 1), (2, 2)",
			"DROP TRIGGER noted",
			"CREATE TRIGGER gone AFTER DELETE ON t BEGIN INSERT INTO log (what) VALUES ('gone ' || old.id); END",
			"DELETE FROM t WHERE id = 1",
		}, check: expect("SELECT count(*) FROM log", "3")},
		{name: "triggers act once", only: "mariadb", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, v INT)",
			"CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40))",
			"CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('new ', new.id))",
			"CREATE TRIGGER raised BEFORE INSERT ON t FOR EACH ROW SET new.v = new.v + 1",
			"INSERT INTO t VALUES (1, 1), (2, 2)",
			"DROP TRIGGER noted",
			"CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('gone ', old.id))",
			"DELETE FROM t WHERE id = 1",
		}, check: expect("SELECT COUNT(*) FROM log", "3")},
		{name: "generated columns", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT GENERATED ALWAYS AS (a * 2) VIRTUAL, c VARCHAR(20) GENERATED ALWAYS AS (a + 1) STORED, d INT)",
			"CREATE INDEX tb ON t (b)",
			"INSERT INTO t (id, a, d) VALUES (1, 5, 1), (2, NULL, 2)",
			"UPDATE t SET a = 7 WHERE id = 2",
		}, check: expect("SELECT b + c FROM t WHERE id = 2", "22")},
		{name: "views", steps: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, v INT)",
			"CREATE VIEW big AS SELECT id, v FROM t WHERE v > 10",
			"CREATE VIEW bigger AS SELECT id FROM big WHERE v > 100",
			"INSERT INTO t VALUES (1, 5), (2, 50), (3, 500)",
		}, check: expect("SELECT COUNT(*) FROM bigger", "1")},
		{name: "views, triggers and generated columns that existed before", before: []string{
			"CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT GENERATED ALWAYS AS (v + 1) STORED)",
			"CREATE VIEW zz AS SELECT id FROM t", "CREATE VIEW aa AS SELECT id FROM zz",
			"INSERT INTO t (id, v) VALUES (1, 5)",
		}, steps: []string{"UPDATE t SET v = 6", "raw:UPDATE t SET v = v + 1"}, check: expect("SELECT w FROM t", "8")},
	}
	runCases(t, cases)
}

// A replica that is promoted has the triggers that the master had, whatever became of their tables meanwhile, and when
// its first promotion was cut off in the middle too.
func TestTriggersOfPromoted(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		create := func(name, table string) string {
			if engine == "mariadb" {
				return "CREATE TRIGGER " + name + " AFTER INSERT ON " + table + " FOR EACH ROW SET @seen = new.id"
			}
			return "CREATE TRIGGER " + name + " AFTER INSERT ON " + table + " BEGIN UPDATE " + table + " SET v = 1 WHERE id = new.id; END"
		}
		for _, table := range []string{"dropped", "made_anew", "renamed", "altered", "kept"} {
			f.Do("CREATE TABLE "+table+" (id INT PRIMARY KEY, v INT)", create("on_"+table, table))
		}
		f.Do("DROP TABLE dropped", "DROP TABLE made_anew", "CREATE TABLE made_anew (id INT PRIMARY KEY, v INT)", "ALTER TABLE renamed RENAME TO moved",
			"ALTER TABLE altered ADD COLUMN w INT", "DROP TRIGGER on_kept", create("on_kept", "kept"))
		f.Level()
		triggers := func(n *testcluster.Node) []string {
			if engine == "mariadb" {
				return f.Strings(n.Raw, "SELECT trigger_name, event_object_table, action_statement FROM information_schema.triggers WHERE trigger_schema = ? AND trigger_name LIKE 'on%' ORDER BY 1", n.Name)
			}
			return f.Strings(n.Raw, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'on%' ORDER BY 1")
		}
		want, r := triggers(f.Master), f.Replicas[0]
		require.Len(t, want, 3)
		require.Empty(t, triggers(r))
		f.Master.Stop()
		r.Stop()
		_, err := r.Raw.ExecContext(f.Ctx, create("on_kept", "kept"))
		require.NoError(t, err)
		require.NoError(t, f.Open(r, func(o *ddb.Options) { o.Listen = "master" }))
		require.Equal(t, want, triggers(r))
	})
}

// Databases made and dropped through ddb are replicated from then on, by snapshots and after restarts too.
func TestDatabases(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	elsewhere := testdb.MariaDB(t) // the same names cannot be used twice on one server
	f.AddElsewhere(elsewhere)
	f.OpenAll()
	t.Cleanup(func() {
		f.Master.Raw.Exec("DROP DATABASE IF EXISTS extra")
		f.Master.Raw.Exec("DROP DATABASE IF EXISTS second")
	})
	same := func() {
		t.Helper()
		f.Level()
		for _, q := range []string{"SELECT GROUP_CONCAT(schema_name) FROM information_schema.schemata WHERE schema_name IN ('extra', 'second')",
			"SELECT GROUP_CONCAT(table_schema, table_name ORDER BY 1) FROM information_schema.tables WHERE table_schema IN ('extra', 'second')"} {
			require.Equal(t, f.One(f.Master, q), f.One(f.Replicas[0], q))
		}
		for _, table := range f.Strings(f.Master.Raw, "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema IN ('extra', 'second')") {
			require.Equal(t, f.Strings(f.Master.Raw, "CHECKSUM TABLE "+table+" EXTENDED"), f.Strings(f.Replicas[0].Raw, "CHECKSUM TABLE "+table+" EXTENDED"))
		}
	}
	f.Do("CREATE DATABASE extra", "CREATE TABLE extra.t (id INT PRIMARY KEY, v INT)", "INSERT INTO extra.t VALUES (1, 1)")
	f.Bypass("INSERT INTO extra.t VALUES (2, 2)", "CREATE DATABASE second", "CREATE TABLE second.old (id INT PRIMARY KEY)", "INSERT INTO second.old VALUES (5)")
	_, err := f.Master.Exec("CREATE TABLE second.fresh (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	f.Do("CREATE DATABASE IF NOT EXISTS second", "INSERT INTO second.old VALUES (6)")
	same()
	require.Equal(t, "2", f.One(f.Replicas[0], "SELECT COUNT(*) FROM second.old"))
	f.Restart()
	f.Do("UPDATE extra.t SET v = v + 1", "CREATE TABLE extra.u (id INT PRIMARY KEY)", "INSERT INTO extra.u VALUES (1)")
	same()
	f.AddElsewhere(testdb.MariaDB(t))
	f.Replicas[0].Stop()
	f.Replicas = f.Replicas[1:]
	f.OpenReplica(f.Replicas[0]) // by a snapshot
	same()
	f.Do("DROP DATABASE extra")
	f.Bypass("INSERT INTO second.old VALUES (7)")
	same()
	for _, s := range []string{"DROP DATABASE " + f.Master.Name, "CREATE DATABASE " + f.Master.Name + "_ddb", "DROP DATABASE mysql", "CREATE DATABASE second"} {
		_, err := f.Master.Exec(s)
		require.Error(t, err, s)
	}
	f.Do("DROP DATABASE second")
	same()
}

// A database dropped by another client goes on the followers too, and nothing else with it that has the same name elsewhere.
func TestDatabaseDroppedOutside(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	f.AddElsewhere(testdb.MariaDB(t)) // the same names cannot be used twice on one server
	f.OpenAll()
	t.Cleanup(func() { f.Master.Raw.Exec("DROP DATABASE IF EXISTS beside") })
	f.Do("CREATE DATABASE beside", "CREATE TABLE beside.t (id INT PRIMARY KEY)", "CREATE VIEW beside.v AS SELECT 1",
		"CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT 2", "INSERT INTO t VALUES (1)")
	f.Level()
	f.Bypass("DROP DATABASE beside")
	f.Do("INSERT INTO t VALUES (2)")
	f.Level()
	require.Equal(t, "0", f.One(f.Replicas[0], "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'beside'"))
	require.Equal(t, "2", f.One(f.Replicas[0], "SELECT COUNT(*) FROM t"))
}

// Indexes reach replicas however they came about: in a transaction, by another client, with a table made anew, and
// where a table's name begins as another's.
func TestIndexes(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)", "CREATE UNIQUE INDEX tv ON t (v)", "CREATE INDEX tw ON t (v, id)",
		"CREATE TABLE `t.a` (id INTEGER PRIMARY KEY, v INT)", "CREATE INDEX tx ON `t.a` (v)", "INSERT INTO t VALUES (1, 1)")
	f.Tx("ALTER TABLE t ADD COLUMN w INT")
	f.Level()
	f.Tx("CREATE INDEX ty ON t (w)")
	f.Level()
	f.Tx("CREATE TABLE u (id INTEGER PRIMARY KEY, v INT)", "CREATE UNIQUE INDEX uv ON u (v)", "DROP INDEX tw")
	f.Level()
	for _, s := range []string{"CREATE INDEX tz ON t (v, w)", "ALTER TABLE t ADD COLUMN x INT", "DROP INDEX tv"} {
		f.Bypass(s)
		f.Do("INSERT INTO u DEFAULT VALUES") // what is collected with it tells of the schema too
		f.Level()
	}
}

// What another client does to views, routines and tables of any name is noticed, and so is the loss of a trigger of ddb's.
func TestBypassedObjects(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE `tägliche größe` (id INT PRIMARY KEY)", "CREATE TABLE `Таблица` (id INT PRIMARY KEY)", "CREATE TABLE t (id INT PRIMARY KEY)",
		"INSERT INTO `tägliche größe` VALUES (1)", "INSERT INTO `Таблица` VALUES (1)", "INSERT INTO t VALUES (1)",
		"CREATE VIEW v AS SELECT id FROM t WHERE id > 10", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1")
	f.Level()
	f.Bypass("TRUNCATE `tägliche größe`", "TRUNCATE `Таблица`", "ALTER VIEW v AS SELECT id FROM t WHERE id > 0", "CREATE OR REPLACE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 2")
	f.Level()
	r := f.Replicas[0]
	require.Equal(t, "1", f.One(r, "SELECT COUNT(*) FROM v"))
	require.Equal(t, "2", f.One(r, "SELECT f()"))
	dropInsertTrigger := func() {
		f.Bypass("DROP TRIGGER "+f.One(f.Master, "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 't' AND EVENT_MANIPULATION = 'INSERT'"),
			"INSERT INTO t SELECT MAX(id) + 1 FROM t")
	}
	dropInsertTrigger()
	f.Level()
	f.Master.Stop()
	dropInsertTrigger()
	f.OpenMaster()
	require.NoError(t, r.WaitReady(f.Ctx))
	f.Level()
	require.Equal(t, "3", f.One(r, "SELECT COUNT(*) FROM t"))
	before := f.Master.Position()
	f.Level() // what was noticed once is not found again
	require.Equal(t, before, f.Master.Position())
}
