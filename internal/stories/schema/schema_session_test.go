package schema_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// What a schema statement has made is seen by the next read, however far the replica is behind, and with
// WaitReplicas the replica has it when the statement returns.
func TestSchemaSession(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.OpenAll()
		f.Replicas[0].Fault.SetLatency(30 * time.Millisecond)
		for i := range 10 {
			f.Do(fmt.Sprintf("CREATE TABLE made%d (id INT PRIMARY KEY)", i))
			var n int
			require.NoError(t, f.Master.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
			f.Do(fmt.Sprintf("DROP TABLE made%d", i))
			require.Error(t, f.Master.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
		}
	})
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.Tune = func(o *ddb.Options) { o.WaitReplicas = 1 }
		f.OpenAll()
		f.Do("CREATE TABLE made (id INT PRIMARY KEY)")
		var n int
		require.NoError(t, f.Replicas[0].Raw.QueryRow("SELECT count(*) FROM made").Scan(&n))
	})
}

// Who waits for another's schema statement stops waiting when the context ends.
func TestSchemaHeedsContext(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 0)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	holder, err := f.Master.Raw.Conn(f.Ctx)
	require.NoError(t, err)
	defer holder.Close()
	_, err = holder.ExecContext(f.Ctx, "LOCK TABLES t WRITE")
	require.NoError(t, err)
	altered := make(chan error, 1)
	go func() {
		_, err := f.Master.ExecContext(f.Ctx, "ALTER TABLE t ADD COLUMN v INT")
		altered <- err
	}()
	require.Eventually(t, func() bool {
		return f.One(f.Master, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info LIKE 'ALTER%'") == "1"
	}, testcluster.Patience, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(f.Ctx, 50*time.Millisecond)
	defer cancel()
	_, err = f.Master.ExecContext(ctx, "CREATE TABLE u (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, altered, "the ALTER still waits")
	_, err = holder.ExecContext(f.Ctx, "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, <-altered)
}

// runScript runs statements on one connection of the program's own, through ddb on the master.
func runScript(f *testcluster.Fixture, statements ...string) {
	f.Helper()
	c, err := f.Master.Conn(f.Ctx)
	require.NoError(f, err)
	defer c.Close()
	for _, s := range statements {
		_, err := c.ExecContext(f.Ctx, s)
		require.NoError(f, err, s)
	}
}

// A schema statement means what it means without ddb: sql_mode, time zone, collation, variables and database are the session's.
func TestSchemaStatementsRunInTheProgramsSession(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(20), ts TIMESTAMP NULL)",
		"INSERT INTO t VALUES (1, 1000, 'twelve', '2024-05-05 12:00:00')")
	for _, strict := range []string{"ALTER TABLE t MODIFY v TINYINT", "ALTER TABLE t MODIFY s INT"} {
		_, err := f.Master.Exec(strict)
		require.Error(t, err, strict)
	}
	require.Equal(t, "1000 twelve", f.One(f.Master, "SELECT CONCAT(v, ' ', s) FROM t"))
	f.Do("CREATE VIEW same AS SELECT 'a' = 'A' AS eq")
	require.Equal(t, "1", f.One(f.Master, "SELECT eq FROM same"))
	runScript(f, "SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', @v = 7", `ALTER TABLE "t" MODIFY v TINYINT`,
		`ALTER TABLE t MODIFY ts DATETIME`, `CREATE TABLE "made" (id INT PRIMARY KEY) AS SELECT 1 AS id, @v AS v`,
		"CREATE TABLE stamped (id INT PRIMARY KEY, ts TIMESTAMP DEFAULT '2024-05-05 12:00:00')", "SET time_zone = 'SYSTEM'",
		"INSERT INTO stamped (id) VALUES (1)")
	require.Equal(t, "127 2024-05-05 17:00:00 2024-05-05 07:00:00 7", f.One(f.Master, "SELECT CONCAT_WS(' ', t.v, t.ts, stamped.ts, made.v) FROM t, stamped, made"))
	f.Level()
}

// Its database is the session's too, also where a table of that name is in the one that the node was opened with.
func TestSchemaStatementsFollowUse(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 0)
	other, apart := f.Master.Name+"_other", f.Master.Name+"_apart"
	t.Cleanup(func() {
		f.Master.Raw.Exec("DROP DATABASE IF EXISTS " + other)
		f.Master.Raw.Exec("DROP DATABASE IF EXISTS " + apart)
	})
	f.Do("CREATE DATABASE "+other, "CREATE TABLE "+other+".t (id INT PRIMARY KEY)", "CREATE TABLE t (id INT PRIMARY KEY)")
	f.Bypass("CREATE DATABASE " + apart)
	runScript(f, "USE "+other, "CREATE TABLE fresh (id INT PRIMARY KEY)", "DROP TABLE t")
	require.Equal(t, []string{f.Master.Name + "|t", other + "|fresh"}, f.Strings(f.Master.Raw,
		"SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (?, ?) ORDER BY 1", f.Master.Name, other))
	c, err := f.Master.Conn(f.Ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.ExecContext(f.Ctx, "LOCK TABLES t WRITE")
	require.NoError(t, err)
	_, err = c.ExecContext(f.Ctx, "ALTER TABLE t ADD COLUMN v INT")
	require.ErrorIs(t, err, ddb.ErrNotReplicable, "triggers could not follow")
	_, err = c.ExecContext(f.Ctx, "UNLOCK TABLES")
	require.NoError(t, err)
	tx, err := f.Master.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for _, s := range []string{"USE " + apart, "INSERT INTO " + f.Master.Name + ".t VALUES (1)"} {
		_, err = tx.Exec(s)
		require.NoError(t, err, s)
	}
	_, err = tx.Exec("CREATE TABLE fresh (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	_, err = tx.Exec("USE " + f.Master.Name)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM t"))
}

// A temporary table stands in front of a table of its name for its connection, and for nobody else: neither a statement on
// it nor a pass takes one for the other.
func TestTemporaryTablesHideOthersFromTheirSessionOnly(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)", "CREATE TABLE u (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 2)")
		f.Level()
		before := f.Dump(f.Master)
		on := []string{"CREATE INDEX i ON t (v)", "ALTER TABLE t ADD COLUMN w INT", "INSERT INTO t (id) VALUES (9)", "DROP TABLE t"}
		if engine == "mariadb" {
			on = append([]string{"TRUNCATE TABLE t"}, on...)
		}
		runScript(f, append([]string{"CREATE TEMPORARY TABLE t (id INTEGER PRIMARY KEY, v INT)"}, on...)...)
		require.Equal(t, before, f.Dump(f.Master))
		f.Level()
		runScript(f, "CREATE TEMPORARY TABLE mine (id INTEGER PRIMARY KEY)", "ALTER TABLE u ADD COLUMN w INT", "DROP TABLE t")
		f.Level()
		require.NotContains(t, f.Dump(f.Master), "-- t")
	})
}

// In a transaction a temporary table commits nothing, and is gone with its connection.
func TestTemporaryTablesInTransaction(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)")
	tx, err := f.Master.Begin()
	require.NoError(t, err)
	for _, s := range []string{"DELETE FROM t WHERE id = 1", "CREATE TEMPORARY TABLE mine LIKE t", "DROP TEMPORARY TABLE mine", "CREATE TEMPORARY TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (7)"} {
		_, err = tx.Exec(s)
		require.NoError(t, err, s)
	}
	require.NoError(t, tx.Rollback())
	f.Do("UPDATE t SET v = 10 WHERE id = 1")
	f.Level()
	require.Equal(t, "2", f.One(f.Replicas[0], "SELECT COUNT(*) FROM t"))
	f.Tx("CREATE TEMPORARY TABLE copy LIKE t", "INSERT INTO copy SELECT * FROM t", "CREATE TABLE kept (PRIMARY KEY (id)) AS SELECT * FROM copy",
		"CREATE TABLE like_it LIKE copy", "DROP TABLE copy")
	f.Level()
	require.Equal(t, "2", f.One(f.Replicas[0], "SELECT COUNT(*) FROM kept"))
}

// Temporary tables that a procedure has left on a connection of the pool are not what passes read.
func TestPassesMeetNoTemporaryTables(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 1)
	f.Master.Raw.SetMaxOpenConns(8)
	f.Bypass("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE PROCEDURE hide() CREATE TEMPORARY TABLE t (id INT PRIMARY KEY)")
	var conns []*sql.Conn
	for range 8 {
		c, err := f.Master.Raw.Conn(f.Ctx)
		require.NoError(t, err)
		_, err = c.ExecContext(f.Ctx, "CALL hide()")
		require.NoError(t, err)
		conns = append(conns, c)
	}
	f.Master.Raw.SetMaxIdleConns(8)
	for _, c := range conns {
		c.Close()
	}
	f.OpenMaster()
	f.OpenReplica(f.Replicas[0])
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	require.Equal(t, "1", f.One(f.Replicas[0], "SELECT COUNT(*) FROM t"))
}

// A schema statement commits the transaction where the server would, and leaves it alone where the server would or ddb refuses it.
func TestSchemaStatementsInTransaction(t *testing.T) {
	for _, c := range []struct {
		statement string
		args      []any
		commits   bool
	}{
		{statement: "CREATE TABLE nonsense ("},
		{statement: "CREATE TABLE n (id GARBAGE)"},
		{statement: "CREATE TABLE n (id INT PRIMARY KEY)", args: []any{1}},
		{statement: "ALTER TABLE gone ADD COLUMN x INT", commits: true},
		{statement: "CREATE TABLE n (id INT PRIMARY KEY) AS SELECT * FROM gone", commits: true},
		{statement: "CREATE TABLE n (id INT PRIMARY KEY)", commits: true},
	} {
		t.Run(c.statement, func(t *testing.T) {
			f := testcluster.OpenFixture(t, "mariadb", 0)
			f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
			tx, err := f.Master.Begin()
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO t VALUES (1)")
			require.NoError(t, err)
			tx.Exec(c.statement, c.args...)
			_, err = tx.Exec("INSERT INTO t VALUES (2)")
			require.NoError(t, err)
			require.NoError(t, tx.Rollback())
			want := map[bool]string{true: "1", false: ""}[c.commits]
			require.Equal(t, want, f.One(f.Master, "SELECT GROUP_CONCAT(id) FROM t"))
		})
	}
}

// A text of several statements with a schema statement among them is run statement by statement in a transaction and on a
// connection with a state of its own too, so that followers get what a statement does with that state, and not elsewhere.
func TestSchemaAmongSeveral(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Tx("CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO a VALUES (2)")
		f.Level()
		require.Equal(t, "2", f.One(f.Master, "SELECT COUNT(*) FROM a"))
		if engine == "mariadb" {
			runScript(f, "SET @v = 7", "CREATE TABLE b (id INT PRIMARY KEY, v INT); INSERT INTO b VALUES (1, @v); ALTER TABLE b ADD COLUMN w INT DEFAULT 3")
			runScript(f, "SET @v = 8; CREATE TABLE c (id INT PRIMARY KEY) AS SELECT @v AS id")
			require.Equal(t, "7 3 8", f.One(f.Master, "SELECT CONCAT_WS(' ', v, w, c.id) FROM b, c"))
			require.Equal(t, "1", f.One(f.Master, "SELECT COUNT(*) FROM `"+f.Master.Name+"_ddb`.journal WHERE payload LIKE '%ADD COLUMN w%'"), "replicas run it themselves")
		}
		f.Level()
		_, err := f.Replicas[0].Exec("INSERT INTO a VALUES (3); CREATE TABLE d (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.Equal(t, "2", f.One(f.Master, "SELECT COUNT(*) FROM a"), "none of it has run")
	})
}
