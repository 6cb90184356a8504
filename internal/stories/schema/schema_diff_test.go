package schema_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// runBehind runs a schema statement through ddb that waits for a transaction, and meanwhile something else. holder is
// a statement of the transaction.
func runBehind(f *testcluster.Fixture, holder, statement string, meanwhile func()) {
	f.Helper()
	tx, err := f.Master.Raw.BeginTx(f.Ctx, nil)
	require.NoError(f, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(f.Ctx, holder)
	require.NoError(f, err)
	done := make(chan error, 1)
	go func() { _, err := f.Master.ExecContext(f.Ctx, statement); done <- err }()
	require.Eventually(f, func() bool {
		return f.One(f.Master, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info = ?", statement) != "0"
	}, testcluster.Patience, time.Millisecond)
	meanwhile()
	require.NoError(f, tx.Commit())
	require.NoError(f, <-done)
}

// What another client does to other tables while a schema statement waits is shipped, never taken for known.
func TestSchemaChangesBesideStatement(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)")
	for i, other := range []string{"TRUNCATE b", "ALTER TABLE b ADD COLUMN z INT DEFAULT 3", "DROP TABLE b", "RENAME TABLE b TO c"} {
		f.Do("CREATE OR REPLACE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1), (2)")
		f.Level()
		runBehind(f, "SELECT * FROM a", fmt.Sprintf("ALTER TABLE a ADD COLUMN w%d INT DEFAULT 7", i), func() { f.Bypass(other) })
		f.Level()
	}
}

// Replicas do not run a statement that works on the master only because of what a transaction before it has done.
func TestSchemaStatementBehindTransaction(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 1)")
	f.Level()
	runBehind(f, "UPDATE t SET v = 2 WHERE id = 2", "ALTER TABLE t ADD UNIQUE (v)", func() {})
	f.Level()
}

// Statements that move rows between tables, or let cascades loose on them, lose none of the writes beside them.
func TestSchemaStatementsBesideWriters(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN MAXVALUE)", "CREATE TABLE s (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id INT PRIMARY KEY, p INT, KEY (p))", "INSERT INTO p SELECT seq FROM seq_1_to_2000",
		"CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)",
		"INSERT INTO c SELECT seq, seq FROM seq_1_to_2000", "INSERT INTO d SELECT seq, seq FROM seq_1_to_2000")
	f.Level()
	ctx, cancel := context.WithCancel(f.Ctx)
	var tasks sync.WaitGroup
	for w := range 2 {
		tasks.Go(func() { // errors are part of it: tables come and go
			for i := w; ctx.Err() == nil; i += 2 {
				f.Master.ExecContext(ctx, fmt.Sprintf("INSERT INTO s VALUES (%d, 1)", i))
				f.Master.ExecContext(ctx, fmt.Sprintf("DELETE FROM s WHERE id = %d", i-20))
				f.Master.ExecContext(ctx, fmt.Sprintf("DELETE FROM p WHERE id = %d", i))
			}
		})
	}
	f.Do("ALTER TABLE t EXCHANGE PARTITION a WITH TABLE s", "RENAME TABLE s TO x, p TO s, x TO p", "RENAME TABLE s TO x, p TO s, x TO p",
		"DELETE FROM c WHERE p NOT IN (SELECT id FROM p)", "ALTER TABLE s MODIFY id BIGINT", "ALTER TABLE s RENAME TO q", "ALTER TABLE q RENAME TO s")
	f.Master.ExecContext(f.Ctx, "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE") // fails if a row of p went meanwhile
	cancel()
	tasks.Wait()
	f.Level()
}

// A foreign key that another client adds, and uses before it is noticed, changes tables that it did not alter.
func TestForeignKeyBehindBack(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id INT PRIMARY KEY, p INT)",
		"CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)", "INSERT INTO d VALUES (1, 1), (2, 2)")
	f.Level()
	f.Bypass("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE", "DELETE FROM p WHERE id = 1")
	f.Level()
}

// Columns and indexes of a table of any size are added on replicas by the statement itself, beside writers too.
func TestAdditiveStatementsShipNoRows(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_1000")
	for _, s := range []string{"ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 7", "CREATE INDEX i ON t (v)", "DROP INDEX i ON t", "ALTER TABLE t ADD UNIQUE (v)",
		"CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)"} {
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		f.Do(s)
		require.Equal(t, "0", f.One(f.Master, "SELECT SUM(records) FROM `"+f.Master.Name+"_ddb`.journal WHERE seq >> 20 = (SELECT MAX(seq) >> 20 FROM `"+f.Master.Name+"_ddb`.journal)"), s)
		f.Level()
	}
}

// What a CREATE TABLE means does not depend on the defaults of a replica's database, and those of the master's are not changed.
func TestCreateTableBesideDefaults(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 1)
	_, err := f.Replicas[0].Raw.ExecContext(f.Ctx, "ALTER DATABASE CHARACTER SET latin1")
	require.NoError(t, err)
	f.OpenAll()
	f.Do("CREATE TABLE t (k VARCHAR(10) PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES ('日本', 'ö€')")
	_, err = f.Master.ExecContext(f.Ctx, "ALTER DATABASE CHARACTER SET ucs2")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	f.Level()
}

// DROP of a table with a dot in its name drops no other, and a view whose table is gone stops nobody.
func TestDropSparesOthers(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE `a.b` (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1)", "CREATE VIEW v AS SELECT * FROM `a.b`")
	f.Level()
	f.Bypass("DROP TABLE `a.b`")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	require.Eventually(t, func() bool {
		return f.One(f.Replicas[0], "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = DATABASE()") == "b"
	}, testcluster.Patience, 10*time.Millisecond)
	f.Bypass("DROP VIEW v")
	f.Level()
}

// While a schema statement waits for a transaction, writes to other tables reach the replicas.
func TestSchemaStatementLetsPassesGoOn(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)")
	f.Level()
	runBehind(f, "SELECT * FROM a", "ALTER TABLE a ADD COLUMN w INT", func() {
		f.Do("INSERT INTO b VALUES (1)")
		require.Eventually(t, func() bool { return f.One(f.Replicas[0], "SELECT COUNT(*) FROM b") == "1" }, 5*time.Second, 10*time.Millisecond)
	})
	f.Level()
}

// What another client changes of a table's definition without touching its rows reaches the replicas: comments and options too.
func TestCommentsBehindBack(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT, KEY k (v))", "INSERT INTO t VALUES (1, 1)")
	for _, s := range []string{"ALTER TABLE t COMMENT 'of the table'", "ALTER TABLE t MODIFY v INT COMMENT 'of the column'",
		"ALTER TABLE t DROP KEY k, ADD KEY k (v) COMMENT 'of the index'", "ALTER TABLE t ALTER INDEX k IGNORED", "ALTER TABLE t STATS_PERSISTENT=1"} {
		f.Bypass(s)
		f.Level()
	}
}

// What another client alters of a table between the last look at it and the statement that alters it through ddb is
// shipped too, just before it and just after.
func TestAltersOfTheSameTable(t *testing.T) {
	d := &testcluster.HookDialect{Dialect: mysql.Dialect{}}
	f := testcluster.NewFixture(t, "mariadb", 1)
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.Dialect = d
		}
	}
	f.OpenAll()
	f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	for i, theirs := range []string{"ALTER TABLE t ADD COLUMN w INT DEFAULT 7", "ALTER TABLE t MODIFY v INT FIRST", "CREATE INDEX k ON t (w)",
		"ALTER TABLE t ADD CONSTRAINT c CHECK (w > 1)", "ALTER TABLE t COMMENT 'theirs'"} {
		f.Level()
		beside := func(statement string, run func() error) error {
			if !strings.Contains(statement, "ours") {
				return run()
			}
			if i%2 == 1 {
				defer f.Bypass(theirs)
			} else {
				f.Bypass(theirs)
			}
			return run()
		}
		d.Run.Store(&beside)
		f.Do(fmt.Sprintf("ALTER TABLE t ADD COLUMN ours%d INT DEFAULT 5", i))
		d.Run.Store(nil)
		f.Level()
	}
}
