package ddb_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// What a schema statement has made is seen by the next read, however far the replica is behind, and with
// WaitReplicas the replica has it when the statement returns.
func TestSchemaSession(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.openAll()
		f.replicas[0].fault.SetLatency(30 * time.Millisecond)
		for i := range 10 {
			f.do(fmt.Sprintf("CREATE TABLE made%d (id INT PRIMARY KEY)", i))
			var n int
			require.NoError(t, f.m.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
			f.do(fmt.Sprintf("DROP TABLE made%d", i))
			require.Error(t, f.m.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
		}
	})
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.tune = func(o *ddb.Options) { o.WaitReplicas = 1 }
		f.openAll()
		f.do("CREATE TABLE made (id INT PRIMARY KEY)")
		var n int
		require.NoError(t, f.replicas[0].raw.QueryRow("SELECT count(*) FROM made").Scan(&n))
	})
}

// Who waits for another's schema statement stops waiting when the context ends.
func TestSchemaHeedsContext(t *testing.T) {
	f := newCluster(t, "mariadb", 0)
	f.do("CREATE TABLE t (id INT PRIMARY KEY)")
	holder, err := f.m.raw.Conn(f.ctx)
	require.NoError(t, err)
	defer holder.Close()
	_, err = holder.ExecContext(f.ctx, "LOCK TABLES t WRITE")
	require.NoError(t, err)
	altered := make(chan error, 1)
	go func() {
		_, err := f.m.ExecContext(f.ctx, "ALTER TABLE t ADD COLUMN v INT")
		altered <- err
	}()
	require.Eventually(t, func() bool {
		return f.one(f.m, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info LIKE 'ALTER%'") == "1"
	}, patience, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(f.ctx, 50*time.Millisecond)
	defer cancel()
	_, err = f.m.ExecContext(ctx, "CREATE TABLE u (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, altered, "the ALTER still waits")
	_, err = holder.ExecContext(f.ctx, "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, <-altered)
}

// script runs statements on one connection of the program's own, through ddb on the master.
func (f *fixture) script(statements ...string) {
	f.Helper()
	c, err := f.m.Conn(f.ctx)
	require.NoError(f, err)
	defer c.Close()
	for _, s := range statements {
		_, err := c.ExecContext(f.ctx, s)
		require.NoError(f, err, s)
	}
}

// A schema statement means what it means without ddb: sql_mode, time zone, collation, variables and database are the session's.
func TestSchemaStatementsRunInTheProgramsSession(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(20), ts TIMESTAMP NULL)",
		"INSERT INTO t VALUES (1, 1000, 'twelve', '2024-05-05 12:00:00')")
	for _, strict := range []string{"ALTER TABLE t MODIFY v TINYINT", "ALTER TABLE t MODIFY s INT"} {
		_, err := f.m.Exec(strict)
		require.Error(t, err, strict)
	}
	require.Equal(t, "1000 twelve", f.one(f.m, "SELECT CONCAT(v, ' ', s) FROM t"))
	f.do("CREATE VIEW same AS SELECT 'a' = 'A' AS eq")
	require.Equal(t, "1", f.one(f.m, "SELECT eq FROM same"))
	f.script("SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', @v = 7", `ALTER TABLE "t" MODIFY v TINYINT`,
		`ALTER TABLE t MODIFY ts DATETIME`, `CREATE TABLE "made" (id INT PRIMARY KEY) AS SELECT 1 AS id, @v AS v`,
		"CREATE TABLE stamped (id INT PRIMARY KEY, ts TIMESTAMP DEFAULT '2024-05-05 12:00:00')", "SET time_zone = 'SYSTEM'",
		"INSERT INTO stamped (id) VALUES (1)")
	require.Equal(t, "127 2024-05-05 17:00:00 2024-05-05 07:00:00 7", f.one(f.m, "SELECT CONCAT_WS(' ', t.v, t.ts, stamped.ts, made.v) FROM t, stamped, made"))
	f.level()
}

// Its database is the session's too, also where a table of that name is in the one that the node was opened with.
func TestSchemaStatementsFollowUse(t *testing.T) {
	f := newCluster(t, "mariadb", 0)
	other, apart := f.m.name+"_other", f.m.name+"_apart"
	t.Cleanup(func() {
		f.m.raw.Exec("DROP DATABASE IF EXISTS " + other)
		f.m.raw.Exec("DROP DATABASE IF EXISTS " + apart)
	})
	f.do("CREATE DATABASE "+other, "CREATE TABLE "+other+".t (id INT PRIMARY KEY)", "CREATE TABLE t (id INT PRIMARY KEY)")
	f.bypass("CREATE DATABASE " + apart)
	f.script("USE "+other, "CREATE TABLE fresh (id INT PRIMARY KEY)", "DROP TABLE t")
	require.Equal(t, []string{f.m.name + "|t", other + "|fresh"}, f.strings(f.m.raw,
		"SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (?, ?) ORDER BY 1", f.m.name, other))
	c, err := f.m.Conn(f.ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.ExecContext(f.ctx, "LOCK TABLES t WRITE")
	require.NoError(t, err)
	_, err = c.ExecContext(f.ctx, "ALTER TABLE t ADD COLUMN v INT")
	require.ErrorIs(t, err, ddb.ErrNotReplicable, "triggers could not follow")
	_, err = c.ExecContext(f.ctx, "UNLOCK TABLES")
	require.NoError(t, err)
	tx, err := f.m.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for _, s := range []string{"USE " + apart, "INSERT INTO " + f.m.name + ".t VALUES (1)"} {
		_, err = tx.Exec(s)
		require.NoError(t, err, s)
	}
	_, err = tx.Exec("CREATE TABLE fresh (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	_, err = tx.Exec("USE " + f.m.name)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, "0", f.one(f.m, "SELECT COUNT(*) FROM t"))
}

// A temporary table stands in front of a table of its name for its connection, and for nobody else: neither a statement on
// it nor a pass takes one for the other.
func TestTemporaryTablesHideOthersFromTheirSessionOnly(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newCluster(t, engine, 1)
		f.do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)", "CREATE TABLE u (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 2)")
		f.level()
		before := f.dump(f.m)
		on := []string{"CREATE INDEX i ON t (v)", "ALTER TABLE t ADD COLUMN w INT", "INSERT INTO t (id) VALUES (9)", "DROP TABLE t"}
		if engine == "mariadb" {
			on = append([]string{"TRUNCATE TABLE t"}, on...)
		}
		f.script(append([]string{"CREATE TEMPORARY TABLE t (id INTEGER PRIMARY KEY, v INT)"}, on...)...)
		require.Equal(t, before, f.dump(f.m))
		f.level()
		f.script("CREATE TEMPORARY TABLE mine (id INTEGER PRIMARY KEY)", "ALTER TABLE u ADD COLUMN w INT", "DROP TABLE t")
		f.level()
		require.NotContains(t, f.dump(f.m), "-- t")
	})
}

// In a transaction a temporary table commits nothing, and is gone with its connection.
func TestTemporaryTablesInTransaction(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)")
	tx, err := f.m.Begin()
	require.NoError(t, err)
	for _, s := range []string{"DELETE FROM t WHERE id = 1", "CREATE TEMPORARY TABLE mine LIKE t", "DROP TEMPORARY TABLE mine", "CREATE TEMPORARY TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (7)"} {
		_, err = tx.Exec(s)
		require.NoError(t, err, s)
	}
	require.NoError(t, tx.Rollback())
	f.do("UPDATE t SET v = 10 WHERE id = 1")
	f.level()
	require.Equal(t, "2", f.one(f.replicas[0], "SELECT COUNT(*) FROM t"))
	f.tx("CREATE TEMPORARY TABLE copy LIKE t", "INSERT INTO copy SELECT * FROM t", "CREATE TABLE kept (PRIMARY KEY (id)) AS SELECT * FROM copy",
		"CREATE TABLE like_it LIKE copy", "DROP TABLE copy")
	f.level()
	require.Equal(t, "2", f.one(f.replicas[0], "SELECT COUNT(*) FROM kept"))
}

// Temporary tables that a procedure has left on a connection of the pool are not what passes read.
func TestPassesMeetNoTemporaryTables(t *testing.T) {
	f := newFixture(t, "mariadb", 1)
	f.m.raw.SetMaxOpenConns(8)
	f.bypass("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE PROCEDURE hide() CREATE TEMPORARY TABLE t (id INT PRIMARY KEY)")
	var conns []*sql.Conn
	for range 8 {
		c, err := f.m.raw.Conn(f.ctx)
		require.NoError(t, err)
		_, err = c.ExecContext(f.ctx, "CALL hide()")
		require.NoError(t, err)
		conns = append(conns, c)
	}
	f.m.raw.SetMaxIdleConns(8)
	for _, c := range conns {
		c.Close()
	}
	f.openMaster()
	f.openReplica(f.replicas[0])
	require.NoError(t, f.m.WaitLevel(f.ctx))
	require.Equal(t, "1", f.one(f.replicas[0], "SELECT COUNT(*) FROM t"))
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
			f := newCluster(t, "mariadb", 0)
			f.do("CREATE TABLE t (id INT PRIMARY KEY)")
			tx, err := f.m.Begin()
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO t VALUES (1)")
			require.NoError(t, err)
			tx.Exec(c.statement, c.args...)
			_, err = tx.Exec("INSERT INTO t VALUES (2)")
			require.NoError(t, err)
			require.NoError(t, tx.Rollback())
			want := map[bool]string{true: "1", false: ""}[c.commits]
			require.Equal(t, want, f.one(f.m, "SELECT GROUP_CONCAT(id) FROM t"))
		})
	}
}

// A text of several statements with a schema statement among them is run statement by statement in a transaction and on a
// connection with a state of its own too, so that followers get what a statement does with that state, and not elsewhere.
func TestSchemaAmongSeveral(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newCluster(t, engine, 1)
		f.tx("CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO a VALUES (2)")
		f.level()
		require.Equal(t, "2", f.one(f.m, "SELECT COUNT(*) FROM a"))
		if engine == "mariadb" {
			f.script("SET @v = 7", "CREATE TABLE b (id INT PRIMARY KEY, v INT); INSERT INTO b VALUES (1, @v); ALTER TABLE b ADD COLUMN w INT DEFAULT 3")
			f.script("SET @v = 8; CREATE TABLE c (id INT PRIMARY KEY) AS SELECT @v AS id")
			require.Equal(t, "7 3 8", f.one(f.m, "SELECT CONCAT_WS(' ', v, w, c.id) FROM b, c"))
			require.Equal(t, "1", f.one(f.m, "SELECT COUNT(*) FROM `"+f.m.name+"_ddb`.journal WHERE payload LIKE '%ADD COLUMN w%'"), "replicas run it themselves")
		}
		f.level()
		_, err := f.replicas[0].Exec("INSERT INTO a VALUES (3); CREATE TABLE d (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.Equal(t, "2", f.one(f.m, "SELECT COUNT(*) FROM a"), "none of it has run")
	})
}
