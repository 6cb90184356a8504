package ddb_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// keeping opens a cluster whose master has tables that cannot be replicated, with views of them, beside a good one.
func keeping(t *testing.T, engine string) *fixture {
	f := newFixture(t, engine, 1)
	f.tune = func(o *ddb.Options) { o.Heartbeat = 5 * time.Second } // a busy machine is no lost link
	keyless := "CREATE TABLE older (a INT, b INT, c INT)"
	if engine == "sqlite" {
		keyless = "CREATE TABLE older (_rowid_ INT, rowid INT, oid INT)" // all three names of the rowid are hidden
		f.bypass("CREATE VIRTUAL TABLE words USING fts5(body)", "INSERT INTO words VALUES ('one'), ('two')")
	} else {
		f.bypass("CREATE TABLE words (body TEXT)", "INSERT INTO words VALUES ('one'), ('two')")
	}
	f.bypass(keyless, "INSERT INTO older VALUES (1, 2, 3), (3, 4, 5)",
		"CREATE VIEW vo AS SELECT * FROM older", "CREATE VIEW a AS SELECT * FROM vo",
		"CREATE TABLE good (id INT PRIMARY KEY)", "INSERT INTO good VALUES (1), (2)", "CREATE VIEW vg AS SELECT id AS elder FROM good")
	f.openMaster()
	f.openReplica(f.replicas[0])
	require.NoError(t, f.m.WaitLevel(f.ctx))
	return f
}

// What cannot be replicated is not on a replica, and whoever reads it, by whatever way, reads the master.
func TestReadsOfKeptTables(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := keeping(t, engine)
		r := f.replicas[0]
		two := func(table string) {
			query := "SELECT COUNT(*) FROM " + table
			for _, c := range []*ddb.Cluster{f.m.Cluster, r.Cluster} {
				var n int
				require.NoError(t, c.QueryRowContext(f.ctx, query).Scan(&n), "%s on %s", table, c.ID())
				require.Equal(t, 2, n, table)
				require.NoError(t, c.DB().QueryRowContext(ddb.WithKill(f.ctx), query).Scan(&n), "%s on %s", table, c.ID())
				require.Equal(t, 2, n, table)
				rows, err := c.QueryContext(f.ctx, "SELECT * FROM "+table)
				require.NoError(t, err, table)
				for n = 0; rows.Next(); n++ {
				}
				require.NoError(t, rows.Close())
				require.Equal(t, 2, n, table)
				tx, err := c.BeginTx(f.ctx, &sql.TxOptions{ReadOnly: true})
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
			_, err := r.raw.Exec("SELECT 1 FROM " + table)
			require.Error(t, err, table)
		}
		require.Equal(t, "2", f.one(r, "SELECT COUNT(*) FROM vg"))
		require.ErrorContains(t, r.QueryRow("SELECT * FROM nowhere").Scan(new(int)), "nowhere")
		if engine == "mariadb" { // a table that loses its key behind ddb's back
			f.do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
			f.bypass("ALTER TABLE t DROP PRIMARY KEY", "INSERT INTO t VALUES (2)")
			require.NoError(t, f.m.WaitLevel(f.ctx))
			two("t")
		}
	})
}

// Statements about what is kept on the master run there, and stop no replica.
func TestStatementsOnKeptTables(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := keeping(t, engine)
		f.do("CREATE VIEW w AS SELECT * FROM words", "DROP VIEW w",
			"CREATE TRIGGER tr AFTER INSERT ON good FOR EACH ROW BEGIN DELETE FROM older WHERE 1 = 0; END", "DROP TRIGGER tr",
			"ALTER TABLE older RENAME TO elder", "DROP VIEW a", "DROP VIEW vo", "DROP VIEW vg", "CREATE VIEW vg AS SELECT id FROM good",
			"DROP TABLE words", "INSERT INTO good VALUES (3)")
		require.NoError(t, f.m.WaitLevel(f.ctx))
		require.Equal(t, ddb.Active, f.replicas[0].Nodes()[0].State, "%+v", f.replicas[0].Nodes()[0])
		require.Equal(t, "3", f.one(f.m, "SELECT COUNT(*) FROM good"))
		f.do("DROP TABLE elder")
		f.level()
		if engine == "mariadb" { // a table that is given its key, and a view that has waited for it
			f.bypass("CREATE TABLE later (k INT)", "INSERT INTO later VALUES (1)", "CREATE VIEW vl AS SELECT k FROM later")
			f.do("ALTER TABLE later ADD PRIMARY KEY (k)")
			f.level()
		}
	})
}

// To read a view that calls a function which writes is to write: it is done on the master, wherever it is asked for.
func TestViewThatWrites(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	r := f.replicas[0]
	f.do("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)", "CREATE TABLE one (id INT PRIMARY KEY)", "INSERT INTO one VALUES (1)",
		"CREATE FUNCTION noted() RETURNS INT BEGIN INSERT INTO t VALUES (); RETURN 1; END",
		"CREATE FUNCTION through() RETURNS INT RETURN noted()", "CREATE FUNCTION pure(a INT) RETURNS INT RETURN REPLACE(a, 1, 2)",
		"CREATE VIEW w AS SELECT noted() AS n FROM one", "CREATE VIEW x AS SELECT through() AS n FROM one", "CREATE VIEW p AS SELECT pure(id) AS n FROM one")
	require.NoError(t, f.m.WaitLevel(f.ctx))
	for _, c := range []*ddb.Cluster{f.m.Cluster, r.Cluster} {
		for _, view := range []string{"w", "x"} {
			var n int
			require.NoError(t, c.QueryRowContext(f.ctx, "SELECT n FROM "+view).Scan(&n))
			require.Equal(t, 1, n)
		}
	}
	require.NoError(t, f.m.WaitLevel(f.ctx))
	require.Equal(t, "4", f.one(f.m, "SELECT COUNT(*) FROM t"))
	require.Equal(t, "4", f.one(r, "SELECT COUNT(*) FROM t"))
	require.Equal(t, "2", f.one(r, "SELECT n FROM p"))
}

// A view that takes a lock takes it on the master, where the lock is one for all nodes.
func TestViewThatLocks(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	r := f.replicas[0]
	f.do("CREATE TABLE one (id INT PRIMARY KEY)", "INSERT INTO one VALUES (1)", "CREATE VIEW direct AS SELECT GET_LOCK('"+f.m.name+"', 0) AS n FROM one",
		"CREATE FUNCTION locked() RETURNS INT RETURN get_lock('"+f.m.name+"', 0)", "CREATE VIEW behind AS SELECT locked() AS n FROM one", "CREATE VIEW above AS SELECT n FROM behind")
	require.NoError(t, f.m.WaitLevel(f.ctx))
	for _, view := range []string{"direct", "behind", "above"} {
		var node string
		var n int
		require.NoError(t, r.QueryRowContext(ddb.WithAnswer(f.ctx, &node), "SELECT n FROM "+view).Scan(&n))
		require.NotEqual(t, "r1", node, view)
		require.Equal(t, "1", f.one(r, "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = ? AND table_name = ?", r.name, view), "it is on the replica for the day of its promotion")
	}
}

// A view whose table is gone stops neither a replica nor a new one, and is there again when its table is.
func TestViewWithoutItsTable(t *testing.T) {
	f := newFixture(t, "mariadb", 2)
	f.bypass("CREATE TABLE a (id INT PRIMARY KEY)", "CREATE VIEW va AS SELECT id FROM a", "CREATE VIEW vva AS SELECT id FROM va", "DROP TABLE a")
	f.openMaster()
	f.openReplica(f.replicas[0])
	views := func(n *testNode) string {
		return f.one(n, "SELECT GROUP_CONCAT(table_name ORDER BY 1) FROM information_schema.views WHERE table_schema = ?", n.name)
	}
	f.do("CREATE TABLE b (id INT PRIMARY KEY)", "CREATE VIEW vb AS SELECT id FROM b", "DROP TABLE b", "CREATE TABLE c (id INT PRIMARY KEY)", "CREATE VIEW vc AS SELECT id FROM c")
	f.bypass("DROP TABLE c")
	require.NoError(t, f.m.WaitLevel(f.ctx))
	require.Equal(t, ddb.Active, f.replicas[0].Nodes()[0].State, "%+v", f.replicas[0].Nodes()[0])
	f.openReplica(f.replicas[1])
	for _, r := range f.replicas {
		require.Empty(t, views(r))
	}
	for _, table := range []string{"a", "b", "c"} {
		f.do("CREATE TABLE "+table+" (id INT PRIMARY KEY)", "INSERT INTO "+table+" VALUES (1)")
	}
	f.level()
	require.Equal(t, "va,vb,vc,vva", views(f.replicas[0]))
}

// A read that calls a function of the user's goes to the master, also where the name is one that other servers have built in.
func TestFunctionsNamedLikeBuiltIns(t *testing.T) {
	f := newCluster(t, "mariadb", 1)
	f.do("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)")
	f.bypass("CREATE FUNCTION bin_to_uuid(x INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (NULL); RETURN x; END")
	f.level()
	for _, n := range []*testNode{f.m, f.replicas[0]} {
		var x int
		require.NoError(t, n.QueryRowContext(ddb.WithConsistency(f.ctx, ddb.Eventual), "SELECT Bin_To_UUID(7)").Scan(&x))
		require.Equal(t, 7, x)
		f.level()
	}
	require.Equal(t, "2", f.one(f.m, "SELECT COUNT(*) FROM t"))
}
