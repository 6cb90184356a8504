package ddb_test

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
)

// behind runs a schema statement through ddb that waits for a transaction, and meanwhile something else. holder is
// a statement of the transaction.
func (f *fixture) behind(holder, statement string, meanwhile func()) {
	f.Helper()
	tx, err := f.m.raw.BeginTx(f.ctx, nil)
	require.NoError(f, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(f.ctx, holder)
	require.NoError(f, err)
	done := make(chan error, 1)
	go func() { _, err := f.m.ExecContext(f.ctx, statement); done <- err }()
	require.Eventually(f, func() bool {
		return f.one(f.m, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info = ?", statement) != "0"
	}, patience, time.Millisecond)
	meanwhile()
	require.NoError(f, tx.Commit())
	require.NoError(f, <-done)
}

// What another client does to other tables while a schema statement waits is shipped, never taken for known.
func TestSchemaChangesBesideStatement(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)")
	for i, other := range []string{"TRUNCATE b", "ALTER TABLE b ADD COLUMN z INT DEFAULT 3", "DROP TABLE b", "RENAME TABLE b TO c"} {
		f.do("CREATE OR REPLACE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1), (2)")
		f.level()
		f.behind("SELECT * FROM a", fmt.Sprintf("ALTER TABLE a ADD COLUMN w%d INT DEFAULT 7", i), func() { f.bypass(other) })
		f.level()
	}
}

// Replicas do not run a statement that works on the master only because of what a transaction before it has done.
func TestSchemaStatementBehindTransaction(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 1)")
	f.level()
	f.behind("UPDATE t SET v = 2 WHERE id = 2", "ALTER TABLE t ADD UNIQUE (v)", func() {})
	f.level()
}

// Statements that move rows between tables, or let cascades loose on them, lose none of the writes beside them.
func TestSchemaStatementsBesideWriters(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN MAXVALUE)", "CREATE TABLE s (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id INT PRIMARY KEY, p INT, KEY (p))", "INSERT INTO p SELECT seq FROM seq_1_to_2000",
		"CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)",
		"INSERT INTO c SELECT seq, seq FROM seq_1_to_2000", "INSERT INTO d SELECT seq, seq FROM seq_1_to_2000")
	f.level()
	ctx, cancel := context.WithCancel(f.ctx)
	var tasks sync.WaitGroup
	for w := range 2 {
		tasks.Go(func() { // errors are part of it: tables come and go
			for i := w; ctx.Err() == nil; i += 2 {
				f.m.ExecContext(ctx, fmt.Sprintf("INSERT INTO s VALUES (%d, 1)", i))
				f.m.ExecContext(ctx, fmt.Sprintf("DELETE FROM s WHERE id = %d", i-20))
				f.m.ExecContext(ctx, fmt.Sprintf("DELETE FROM p WHERE id = %d", i))
			}
		})
	}
	f.do("ALTER TABLE t EXCHANGE PARTITION a WITH TABLE s", "RENAME TABLE s TO x, p TO s, x TO p", "RENAME TABLE s TO x, p TO s, x TO p",
		"DELETE FROM c WHERE p NOT IN (SELECT id FROM p)", "ALTER TABLE s MODIFY id BIGINT", "ALTER TABLE s RENAME TO q", "ALTER TABLE q RENAME TO s")
	f.m.ExecContext(f.ctx, "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE") // fails if a row of p went meanwhile
	cancel()
	tasks.Wait()
	f.level()
}

// A foreign key that another client adds, and uses before it is noticed, changes tables that it did not alter.
func TestForeignKeyBehindBack(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id INT PRIMARY KEY, p INT)",
		"CREATE TABLE d (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)", "INSERT INTO d VALUES (1, 1), (2, 2)")
	f.level()
	f.bypass("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE", "DELETE FROM p WHERE id = 1")
	f.level()
}

// Columns and indexes of a table of any size are added on replicas by the statement itself, beside writers too.
func TestAdditiveStatementsShipNoRows(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_1000")
	for _, s := range []string{"ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 7", "CREATE INDEX i ON t (v)", "DROP INDEX i ON t", "ALTER TABLE t ADD UNIQUE (v)",
		"CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)"} {
		require.NoError(t, f.m.WaitLevel(f.ctx))
		f.do(s)
		require.Equal(t, "0", f.one(f.m, "SELECT SUM(records) FROM `"+f.m.name+"_ddb`.journal WHERE seq >> 20 = (SELECT MAX(seq) >> 20 FROM `"+f.m.name+"_ddb`.journal)"), s)
		f.level()
	}
}

// What a CREATE TABLE means does not depend on the defaults of a replica's database, and those of the master's are not changed.
func TestCreateTableBesideDefaults(t *testing.T) {
	f := newFixture(t, "mariadb", 1)
	_, err := f.replicas[0].raw.ExecContext(f.ctx, "ALTER DATABASE CHARACTER SET latin1")
	require.NoError(t, err)
	f.openAll()
	f.do("CREATE TABLE t (k VARCHAR(10) PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES ('日本', 'ö€')")
	_, err = f.m.ExecContext(f.ctx, "ALTER DATABASE CHARACTER SET ucs2")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	f.level()
}

// DROP of a table with a dot in its name drops no other, and a view whose table is gone stops nobody.
func TestDropSparesOthers(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE `a.b` (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1)", "CREATE VIEW v AS SELECT * FROM `a.b`")
	f.level()
	f.bypass("DROP TABLE `a.b`")
	require.NoError(t, f.m.WaitLevel(f.ctx))
	require.Eventually(t, func() bool {
		return f.one(f.replicas[0], "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = DATABASE()") == "b"
	}, patience, 10*time.Millisecond)
	f.bypass("DROP VIEW v")
	f.level()
}

// While a schema statement waits for a transaction, writes to other tables reach the replicas.
func TestSchemaStatementLetsPassesGoOn(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)")
	f.level()
	f.behind("SELECT * FROM a", "ALTER TABLE a ADD COLUMN w INT", func() {
		f.do("INSERT INTO b VALUES (1)")
		require.Eventually(t, func() bool { return f.one(f.replicas[0], "SELECT COUNT(*) FROM b") == "1" }, 5*time.Second, 10*time.Millisecond)
	})
	f.level()
}

// What another client changes of a table's definition without touching its rows reaches the replicas: comments and options too.
func TestCommentsBehindBack(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT, KEY k (v))", "INSERT INTO t VALUES (1, 1)")
	for _, s := range []string{"ALTER TABLE t COMMENT 'of the table'", "ALTER TABLE t MODIFY v INT COMMENT 'of the column'",
		"ALTER TABLE t DROP KEY k, ADD KEY k (v) COMMENT 'of the index'", "ALTER TABLE t ALTER INDEX k IGNORED", "ALTER TABLE t STATS_PERSISTENT=1"} {
		f.bypass(s)
		f.level()
	}
}

// What another client alters of a table between the last look at it and the statement that alters it through ddb is
// shipped too, just before it and just after.
func TestAltersOfTheSameTable(t *testing.T) {
	d := &hookDialect{Dialect: mysql.Dialect{}}
	f := newFixture(t, "mariadb", 1)
	f.tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.Dialect = d
		}
	}
	f.openAll()
	f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	for i, theirs := range []string{"ALTER TABLE t ADD COLUMN w INT DEFAULT 7", "ALTER TABLE t MODIFY v INT FIRST", "CREATE INDEX k ON t (w)",
		"ALTER TABLE t ADD CONSTRAINT c CHECK (w > 1)", "ALTER TABLE t COMMENT 'theirs'"} {
		f.level()
		beside := func(statement string, run func() error) error {
			if !strings.Contains(statement, "ours") {
				return run()
			}
			if i%2 == 1 {
				defer f.bypass(theirs)
			} else {
				f.bypass(theirs)
			}
			return run()
		}
		d.run.Store(&beside)
		f.do(fmt.Sprintf("ALTER TABLE t ADD COLUMN ours%d INT DEFAULT 5", i))
		d.run.Store(nil)
		f.level()
	}
}
