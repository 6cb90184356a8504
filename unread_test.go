package ddb_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
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
	onEngines(t, func(t *testing.T, engine string) {
		f := openedForState(t, engine)
		f.do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		f.level()
		before := f.dump(f.m)
		for _, n := range []*testNode{f.m, f.replicas[0]} {
			for _, s := range unread[engine] {
				for way, err := range ways(f.ctx, n.Cluster, s) {
					require.ErrorIs(t, err, ddb.ErrNotReplicable, "%s on %s: %q", way, n.id, s)
				}
			}
			_, err := n.ExecContext(f.ctx, "INSERT INTO t VALUES (2)")
			require.NoError(t, err)
			_, err = n.ExecContext(f.ctx, "DELETE FROM t WHERE id = 2")
			require.NoError(t, err)
		}
		f.level()
		require.Equal(t, before, f.dump(f.m))
	})
}

// What SQLite takes for white space, a byte order mark, hides no statement and no name.
func TestByteOrderMarkHidesNothing(t *testing.T) {
	f := newCluster(t, "sqlite", 1)
	f.do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	for way, err := range ways(f.ctx, f.m.Cluster, "DELETE FROM \ufeff_ddb_meta WHERE 0") {
		require.ErrorIs(t, err, ddb.ErrNotAllowed, way)
	}
	for _, s := range []string{"\ufeff\ufeffPRAGMA query_only = ON", "PRAGMA \ufeffquery_only = ON", "\ufeffBEGIN"} {
		_, err := f.m.ExecContext(f.ctx, s)
		require.ErrorIs(t, err, ddb.ErrNotReplicable, "%q", s)
	}
	require.NoError(t, drain(f.replicas[0].QueryContext(f.ctx, "WITH c AS (SELECT 1) \ufeffDELETE FROM t")))
	f.level()
	require.Equal(t, "0", f.one(f.m, "SELECT COUNT(*) FROM t"))
}

// What SQLite takes for the name of a parameter, quotes in parentheses too, is one, and hides nothing behind it.
func TestParameterNameHidesNothing(t *testing.T) {
	f := newCluster(t, "sqlite", 1)
	f.do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	value := sql.Named("a(')", 1)
	for s, want := range map[string]error{"SELECT @a(');DELETE FROM _ddb_meta--')": ddb.ErrNotAllowed, "SELECT :a(');PRAGMA query_only=ON--')": ddb.ErrNotReplicable} {
		require.ErrorIs(t, drain(f.m.QueryContext(f.ctx, s, value)), want, s)
		_, err := f.m.ExecContext(f.ctx, s, value)
		require.ErrorIs(t, err, want, s)
	}
	require.NoError(t, drain(f.replicas[0].QueryContext(f.ctx, "SELECT :a(');DELETE FROM t--')", value)))
	f.level()
	require.Equal(t, "0", f.one(f.m, "SELECT COUNT(*) FROM t"))
}

// Where a no-break space is white space, as in latin1, it hides no statement and no name.
func TestNoBreakSpaceHidesNothing(t *testing.T) {
	f := newCluster(t, "mariadb", 0)
	f.do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	conn, err := f.m.Conn(f.ctx)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(f.ctx, "SET NAMES latin1")
	require.NoError(t, err)
	_, err = conn.ExecContext(f.ctx, "DELETE FROM\xa0"+f.m.name+"_ddb.meta WHERE 0")
	require.ErrorIs(t, err, ddb.ErrNotAllowed)
	_, err = conn.ExecContext(f.ctx, "DROP\xa0TABLE t")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.NoError(t, drain(conn.QueryContext(f.ctx, "SELECT 'à' FROM t")))
}
