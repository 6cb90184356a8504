package schema_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// keeping opens a cluster whose master has tables that cannot be replicated, with views of them, beside a good one.
func keeping(t *testing.T, engine testcluster.Engine) *testcluster.Fixture {
	f := testcluster.NewFixture(t, engine, 1)
	f.Tune = func(o *ddb.Options) { o.Heartbeat = 5 * time.Second } // a busy machine is no lost link
	keyless := "CREATE TABLE older (a INT, b INT, c INT)"
	if engine == "sqlite" {
		keyless = "CREATE TABLE older (_rowid_ INT, rowid INT, oid INT)" // all three names of the rowid are hidden
		f.Bypass("CREATE VIRTUAL TABLE words USING fts5(body)", "INSERT INTO words VALUES ('one'), ('two')")
	} else {
		f.Bypass("CREATE TABLE words (body TEXT)", "INSERT INTO words VALUES ('one'), ('two')")
	}
	f.Bypass(keyless, "INSERT INTO older VALUES (1, 2, 3), (3, 4, 5)",
		"CREATE VIEW vo AS SELECT * FROM older", "CREATE VIEW a AS SELECT * FROM vo",
		"CREATE TABLE good (id INT PRIMARY KEY)", "INSERT INTO good VALUES (1), (2)", "CREATE VIEW vg AS SELECT id AS elder FROM good")
	f.OpenMaster()
	f.OpenReplica(f.Replicas[0])
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	return f
}

// What cannot be replicated is not on a replica, and whoever reads it, by whatever way, reads the master.
func TestReadsOfKeptTables(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := keeping(t, engine)
		r := f.Replicas[0]
		two := func(table string) {
			query := "SELECT COUNT(*) FROM " + table
			for _, c := range []*ddb.Cluster{f.Master.Cluster, r.Cluster} {
				var n int
				require.NoError(t, c.QueryRowContext(f.Ctx, query).Scan(&n), "%s on %s", table, c.ID())
				require.Equal(t, 2, n, table)
				require.NoError(t, c.DB().QueryRowContext(ddb.WithKill(f.Ctx), query).Scan(&n), "%s on %s", table, c.ID())
				require.Equal(t, 2, n, table)
				rows, err := c.QueryContext(f.Ctx, "SELECT * FROM "+table)
				require.NoError(t, err, table)
				for n = 0; rows.Next(); n++ {
				}
				require.NoError(t, rows.Close())
				require.Equal(t, 2, n, table)
				tx, err := c.BeginTx(f.Ctx, &sql.TxOptions{ReadOnly: true})
				require.NoError(t, err)
				require.NoError(t, tx.QueryRow(query).Scan(&n), "%s in a transaction on %s", table, c.ID())
				require.Equal(t, 2, n, table)
				require.NoError(t, tx.Commit())
			}
		}
		for _, table := range []string{"older", "vo", "a", "words", "good", "vg"} {
			two(table)
		}
		for _, table := range []string{"older", "vo", "a", "words"} {
			_, err := r.Raw.Exec("SELECT 1 FROM " + table)
			require.Error(t, err, table)
		}
		require.Equal(t, "2", f.One(r, "SELECT COUNT(*) FROM vg"))
		require.ErrorContains(t, r.QueryRow("SELECT * FROM nowhere").Scan(new(int)), "nowhere")
		if engine == "mariadb" { // a table that loses its key behind ddb's back
			f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
			f.Bypass("ALTER TABLE t DROP PRIMARY KEY", "INSERT INTO t VALUES (2)")
			require.NoError(t, f.Master.WaitLevel(f.Ctx))
			two("t")
		}
	})
}

// Statements about what is kept on the master run there, and stop no replica.
func TestStatementsOnKeptTables(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := keeping(t, engine)
		f.Do("CREATE VIEW w AS SELECT * FROM words", "DROP VIEW w",
			"CREATE TRIGGER tr AFTER INSERT ON good FOR EACH ROW BEGIN DELETE FROM older WHERE 1 = 0; END", "DROP TRIGGER tr",
			"ALTER TABLE older RENAME TO elder", "DROP VIEW a", "DROP VIEW vo", "DROP VIEW vg", "CREATE VIEW vg AS SELECT id FROM good",
			"DROP TABLE words", "INSERT INTO good VALUES (3)")
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		require.Equal(t, ddb.Active, f.Replicas[0].Nodes()[0].State, "%+v", f.Replicas[0].Nodes()[0])
		require.Equal(t, "3", f.One(f.Master, "SELECT COUNT(*) FROM good"))
		f.Do("DROP TABLE elder")
		f.Level()
		if engine == "mariadb" { // a table that is given its key, and a view that has waited for it
			f.Bypass("CREATE TABLE later (k INT)", "INSERT INTO later VALUES (1)", "CREATE VIEW vl AS SELECT k FROM later")
			f.Do("ALTER TABLE later ADD PRIMARY KEY (k)")
			f.Level()
		}
	})
}

// To read a view that calls a function which writes is to write: it is done on the master, wherever it is asked for.
func TestViewThatWrites(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	r := f.Replicas[0]
	f.Do("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)", "CREATE TABLE one (id INT PRIMARY KEY)", "INSERT INTO one VALUES (1)",
		"CREATE FUNCTION noted() RETURNS INT BEGIN INSERT INTO t VALUES (); RETURN 1; END",
		"CREATE FUNCTION through() RETURNS INT RETURN noted()", "CREATE FUNCTION pure(a INT) RETURNS INT RETURN REPLACE(a, 1, 2)",
		"CREATE VIEW w AS SELECT noted() AS n FROM one", "CREATE VIEW x AS SELECT through() AS n FROM one", "CREATE VIEW p AS SELECT pure(id) AS n FROM one")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	for _, c := range []*ddb.Cluster{f.Master.Cluster, r.Cluster} {
		for _, view := range []string{"w", "x"} {
			var n int
			require.NoError(t, c.QueryRowContext(f.Ctx, "SELECT n FROM "+view).Scan(&n))
			require.Equal(t, 1, n)
		}
	}
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	require.Equal(t, "4", f.One(f.Master, "SELECT COUNT(*) FROM t"))
	require.Equal(t, "4", f.One(r, "SELECT COUNT(*) FROM t"))
	require.Equal(t, "2", f.One(r, "SELECT n FROM p"))
}

// A view that takes a lock takes it on the master, where the lock is one for all nodes.
func TestViewThatLocks(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	r := f.Replicas[0]
	f.Do("CREATE TABLE one (id INT PRIMARY KEY)", "INSERT INTO one VALUES (1)", "CREATE VIEW direct AS SELECT GET_LOCK('"+f.Master.Name+"', 0) AS n FROM one",
		"CREATE FUNCTION locked() RETURNS INT RETURN get_lock('"+f.Master.Name+"', 0)", "CREATE VIEW behind AS SELECT locked() AS n FROM one", "CREATE VIEW above AS SELECT n FROM behind")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	for _, view := range []string{"direct", "behind", "above"} {
		var node string
		var n int
		require.NoError(t, r.QueryRowContext(ddb.WithAnswer(f.Ctx, &node), "SELECT n FROM "+view).Scan(&n))
		require.NotEqual(t, "r1", node, view)
		require.Equal(t, "1", f.One(r, "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = ? AND table_name = ?", r.Name, view), "it is on the replica for the day of its promotion")
	}
}

// A view whose table is gone stops neither a replica nor a new one, and is there again when its table is.
func TestViewWithoutItsTable(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 2)
	f.Bypass("CREATE TABLE a (id INT PRIMARY KEY)", "CREATE VIEW va AS SELECT id FROM a", "CREATE VIEW vva AS SELECT id FROM va", "DROP TABLE a")
	f.OpenMaster()
	f.OpenReplica(f.Replicas[0])
	views := func(n *testcluster.Node) string {
		return f.One(n, "SELECT GROUP_CONCAT(table_name ORDER BY 1) FROM information_schema.views WHERE table_schema = ?", n.Name)
	}
	f.Do("CREATE TABLE b (id INT PRIMARY KEY)", "CREATE VIEW vb AS SELECT id FROM b", "DROP TABLE b", "CREATE TABLE c (id INT PRIMARY KEY)", "CREATE VIEW vc AS SELECT id FROM c")
	f.Bypass("DROP TABLE c")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	require.Equal(t, ddb.Active, f.Replicas[0].Nodes()[0].State, "%+v", f.Replicas[0].Nodes()[0])
	f.OpenReplica(f.Replicas[1])
	for _, r := range f.Replicas {
		require.Empty(t, views(r))
	}
	for _, table := range []string{"a", "b", "c"} {
		f.Do("CREATE TABLE "+table+" (id INT PRIMARY KEY)", "INSERT INTO "+table+" VALUES (1)")
	}
	f.Level()
	require.Equal(t, "va,vb,vc,vva", views(f.Replicas[0]))
}

// A read that calls a function of the user's goes to the master, also where the name is one that other servers have built in.
func TestFunctionsNamedLikeBuiltIns(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)")
	f.Bypass("CREATE FUNCTION bin_to_uuid(x INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (NULL); RETURN x; END")
	f.Level()
	for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
		var x int
		require.NoError(t, n.QueryRowContext(ddb.WithConsistency(f.Ctx, ddb.Eventual), "SELECT Bin_To_UUID(7)").Scan(&x))
		require.Equal(t, 7, x)
		f.Level()
	}
	require.Equal(t, "2", f.One(f.Master, "SELECT COUNT(*) FROM t"))
}
