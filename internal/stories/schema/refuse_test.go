package schema_test

import (
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// What followers would not get, or could not follow, is refused by name; what is there already is the master's own.
func TestRefusedKinds(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Bypass("CREATE SEQUENCE s", "CREATE EVENT e ON SCHEDULE EVERY 1 HOUR DO DO 1")
	for statement, name := range map[string]string{
		"CREATE SEQUENCE seq": "sequence seq",
		"CREATE OR REPLACE EVENT ev ON SCHEDULE EVERY 1 HOUR DO DELETE FROM t":                                                          "event ev",
		"CREATE TABLE a (id BIGINT PRIMARY KEY DEFAULT NEXT VALUE FOR s)":                                                               "sequence",
		"CREATE TABLE a (id INT, s DATE, e DATE, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS))":                            "WITHOUT OVERLAPS",
		"CREATE TABLE a (id INT PRIMARY KEY, s DATETIME, e DATETIME, PERIOD FOR p (s, e), UNIQUE (id, p WITHOUT OVERLAPS))":             "WITHOUT OVERLAPS",
		"CREATE TABLE a (i INT, s TIMESTAMP(3), e TIMESTAMP(3), PERIOD FOR p (s, e), UNIQUE(i, p WITHOUT OVERLAPS), v INT PRIMARY KEY)": "WITHOUT OVERLAPS",
	} {
		_, err := f.Master.Exec(statement)
		require.ErrorIs(t, err, ddb.ErrNotReplicable, statement)
		require.ErrorContains(t, err, name)
	}
	f.Do("CREATE TABLE a (id INT PRIMARY KEY, s DATE, e DATE, PERIOD FOR p (s, e), UNIQUE (id, s, e))", "INSERT INTO a VALUES (1, '2020-01-01', '2020-12-31')",
		"DELETE FROM a FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01' WHERE id = 0", "ALTER SEQUENCE s RESTART 5", "ALTER EVENT e DISABLE", "DROP EVENT e")
	f.Level()
	require.Equal(t, "0", f.One(f.Replicas[0], "SELECT COUNT(*) FROM information_schema.events WHERE event_schema = ?", f.Replicas[0].Name))
	require.Equal(t, "5", f.One(f.Master, "SELECT NEXT VALUE FOR s"))
	_, err := f.Replicas[0].Raw.Exec("SELECT 1 FROM s")
	require.Error(t, err)
	f.Do("DROP SEQUENCE s")
	f.Level()
}

// MariaDB cannot undo an ALTER: the refusal says that it has run, and the table is the master's own until it is put right.
func TestRefusedButDone(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	_, err := f.Master.Exec("ALTER TABLE t DROP PRIMARY KEY")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.ErrorContains(t, err, "has run")
	f.Do("INSERT INTO t VALUES (2)")
	f.Bypass("CREATE TABLE own (id INT)")
	f.Do("CREATE OR REPLACE TABLE own (id INT, v INT)", "DROP TABLE own")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	var n int
	require.NoError(t, f.Replicas[0].QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	require.Equal(t, 2, n)
	f.Do("ALTER TABLE t ADD PRIMARY KEY (id)")
	f.Level()
}

// A table that another client makes while the master compares the schema is known afterwards, though followers do not get
// it: it is its owner's to replace and to drop.
func TestKeptWhileCompared(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 1)
	d := &testcluster.HookDialect{Dialect: mysql.Dialect{}}
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.Dialect = d
		}
	}
	f.OpenAll()
	var once sync.Once
	meanwhile := func(do func() error) error {
		once.Do(func() { f.Bypass("CREATE TABLE own (id INT)") })
		return do()
	}
	d.Capture.Store(&meanwhile)
	f.Bypass("CREATE TABLE t (id INT PRIMARY KEY)")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	f.Do("CREATE OR REPLACE TABLE own (id INT, v INT)", "DROP TABLE own")
	f.Level()
}

// Accounts belong to a server: statements about them run on the master's, and are in no entry and in no log.
func TestAccountsAreNotShipped(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 1)
	var log testcluster.Buffer
	f.Tune = func(o *ddb.Options) {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log})
		if o.Role != ddb.Replica {
			o.Nodes = map[string]ddb.NodeAccess{"r1": {SQL: ddb.Administer}}
		}
	}
	f.OpenAll()
	account := f.Master.Name + "@localhost"
	t.Cleanup(func() {
		f.Master.Raw.Exec("DROP USER IF EXISTS " + account)
		f.Master.Raw.Exec("DROP ROLE IF EXISTS " + f.Master.Name + "_role")
	})
	before := f.Master.Position().LSN
	f.Do("CREATE USER "+account+" IDENTIFIED BY 'topsecret'", "ALTER USER "+account+" IDENTIFIED BY 'topsecret2'", "CREATE ROLE "+f.Master.Name+"_role")
	_, err := f.Replicas[0].Exec("RENAME USER " + account + " TO " + f.Master.Name + "@'127.0.0.1'")
	require.NoError(t, err)
	f.Do("DROP USER " + f.Master.Name + "@'127.0.0.1'")
	f.Level()
	require.Equal(t, before, f.Master.Position().LSN)
	require.Equal(t, ddb.Active, f.Replicas[0].Nodes()[0].State)
	require.NotContains(t, log.String(), "topsecret")
}

// A transaction goes on where a schema statement in it is refused before it is run, and where it cannot be, the error says
// that the server has committed.
func TestRefusedInTransaction(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	tx, err := f.Master.BeginTx(f.Ctx, nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	for _, refused := range []string{"CREATE TABLE keyless (id INT, v INT UNIQUE KEY)", "CREATE TABLE IF NOT EXISTS keyless (id INT)",
		"CREATE TABLE mysql.elsewhere (id INT PRIMARY KEY)", "DROP DATABASE mysql", "CREATE SEQUENCE s"} {
		_, err = tx.Exec(refused)
		require.ErrorIs(t, err, ddb.ErrNotReplicable, refused)
	}
	require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM t"), "nothing is committed")
	_, err = tx.Exec("CREATE TABLE apart (id INT PRIMARY KEY) ENGINE=MyISAM")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.ErrorContains(t, err, "stands")
	require.Equal(t, "1", f.One(f.Master, "SELECT COUNT(*) FROM t"))
	_, err = tx.Exec("CREATE TABLE IF NOT EXISTS t (id INT)")
	require.NoError(t, err, "it is there, with a key")
	require.NoError(t, tx.Commit())
	f.Level()
}
