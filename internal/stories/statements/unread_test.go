package statements_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// unread are texts of which the database would run more than can be told, each with a statement that is refused, or goes another
// way, when it can be told.
var unread = map[string][]string{
	"sqlite": {
		"PRAGMA query_only=ON /* open", "PRAGMA query_only=ON\x00", "PRAGMA ignore_check_constraints=ON; /* open", "ATTACH ':memory:' AS elsewhere /* open",
		"BEGIN /* open", "COMMIT /* open", "ROLLBACK\x00", "SAVEPOINT s /* open", "CREATE TABLE x (id INTEGER PRIMARY KEY) /* open", "CREATE TABLE x (id INTEGER PRIMARY KEY)\x00",
		"CREATE TABLE x (id INTEGER PRIMARY KEY); /* open", "CREATE TEMP TABLE t (id INTEGER PRIMARY KEY) /* open", "DROP TABLE t; SELECT 'open", "DROP TABLE t; SELECT [open", "INSERT INTO t VALUES (10); COMMIT; INSERT INTO t VALUES (11); SELECT 'open",
		"INSERT INTO t VALUES (10); COMMIT; INSERT INTO t VALUES (11); /* open", "\ufeff/* a */DELETE FROM t /* open", "DELETE FROM t\x00 WHERE 0",
	},
	"mariadb": {
		"DROP TABLE t; SELECT 'open", "SELECT 1; DROP TABLE t; SELECT `open", "CREATE TABLE x (id INT PRIMARY KEY); SELECT 1 /* open", "DELETE FROM t; DELETE FROM t /*! open", "DELETE FROM t; SELECT \"open",
	},
}

// A text that does not end is refused before any of it has run, on every way, and leaves the connections as they were.
func TestUnreadRefused(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		f.Level()
		before := f.Dump(f.Master)
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			for _, s := range unread[string(engine)] {
				for way, err := range testcluster.Ways(f.Ctx, n.Cluster, s) {
					require.ErrorIs(t, err, ddb.ErrNotReplicable, "%s on %s: %q", way, n.ID, s)
				}
			}
			_, err := n.ExecContext(f.Ctx, "INSERT INTO t VALUES (2)")
			require.NoError(t, err)
			_, err = n.ExecContext(f.Ctx, "DELETE FROM t WHERE id = 2")
			require.NoError(t, err)
		}
		f.Level()
		require.Equal(t, before, f.Dump(f.Master))
	})
}

// What SQLite takes for white space, a byte order mark, hides no statement and no name.
func TestByteOrderMarkHidesNothing(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	for way, err := range testcluster.Ways(f.Ctx, f.Master.Cluster, "DELETE FROM \ufeff_ddb_meta WHERE 0") {
		require.ErrorIs(t, err, ddb.ErrNotAllowed, way)
	}
	for _, s := range []string{"\ufeff\ufeffPRAGMA query_only = ON", "PRAGMA \ufeffquery_only = ON", "\ufeffBEGIN"} {
		_, err := f.Master.ExecContext(f.Ctx, s)
		require.ErrorIs(t, err, ddb.ErrNotReplicable, "%q", s)
	}
	require.NoError(t, testcluster.Drain(f.Replicas[0].QueryContext(f.Ctx, "WITH c AS (SELECT 1) \ufeffDELETE FROM t")))
	f.Level()
	require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM t"))
}

// What SQLite takes for the name of a parameter, quotes in parentheses too, is one, and hides nothing behind it.
func TestParameterNameHidesNothing(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	value := sql.Named("a(')", 1)
	for s, want := range map[string]error{"SELECT @a(');DELETE FROM _ddb_meta--')": ddb.ErrNotAllowed, "SELECT :a(');PRAGMA query_only=ON--')": ddb.ErrNotReplicable} {
		require.ErrorIs(t, testcluster.Drain(f.Master.QueryContext(f.Ctx, s, value)), want, s)
		_, err := f.Master.ExecContext(f.Ctx, s, value)
		require.ErrorIs(t, err, want, s)
	}
	require.NoError(t, testcluster.Drain(f.Replicas[0].QueryContext(f.Ctx, "SELECT :a(');DELETE FROM t--')", value)))
	f.Level()
	require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM t"))
}

// Where a no-break space is white space, as in latin1, it hides no statement and no name.
func TestNoBreakSpaceHidesNothing(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 0)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	conn, err := f.Master.Conn(f.Ctx)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(f.Ctx, "SET NAMES latin1")
	require.NoError(t, err)
	_, err = conn.ExecContext(f.Ctx, "DELETE FROM\xa0"+f.Master.Name+"_ddb.meta WHERE 0")
	require.ErrorIs(t, err, ddb.ErrNotAllowed)
	_, err = conn.ExecContext(f.Ctx, "DROP\xa0TABLE t")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.NoError(t, testcluster.Drain(conn.QueryContext(f.Ctx, "SELECT 'à' FROM t")))
}
