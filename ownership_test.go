package ddb_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// A second node on a database that has one is refused, and the first does not notice.
func TestSecondMaster(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
		again := f.Master.Raw
		if engine == "sqlite" {
			again = testdb.OpenSQLite(t, f.Master.Name)
		}
		_, err := ddb.Open(f.Ctx, again, ddb.Options{ID: "m2"})
		wantError(t, err, ddb.ErrSecondMaster, "m2", "another ddb node")
		_, err = ddb.Open(f.Ctx, again, ddb.Options{ID: "r9", Role: ddb.Replica, Transport: f.Net, Master: "master"})
		wantError(t, err, ddb.ErrSecondMaster, "r9", "another ddb node")
		f.Do("INSERT INTO t VALUES (1)")
		level(t, f)
	})
}

// A node does not take over a database of another role, or data that it did not put there.
func TestDatabaseOfAnother(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		f.Master.Stop()
		_, err := ddb.Open(f.Ctx, f.Master.Raw, ddb.Options{ID: "r8", Role: ddb.Replica, Transport: f.Net, Master: "elsewhere"})
		wantError(t, err, ddb.ErrWrongRole, "master", "Detach")
		other := f.NewNode("r9")
		_, err = other.Raw.Exec("CREATE TABLE mine (id INT PRIMARY KEY)")
		require.NoError(t, err)
		_, err = ddb.Open(f.Ctx, other.Raw, ddb.Options{ID: "r9", Role: ddb.Replica, Transport: f.Net, Master: "elsewhere"})
		wantError(t, err, ddb.ErrOptions, "r9", "mine", "empty database", "Rejoin")
		require.Equal(t, "0", f.One(other, "SELECT count(*) FROM mine"))
		f.OpenMaster()
		waitFor(t, f.Master.Cluster, "r1", isActive)
		level(t, f)
		require.Equal(t, "1", f.One(f.Master, "SELECT count(*) FROM t"))
	})
}

// A snap's database is opened under the snap's own id only, by which the master counts its batches.
func TestSnapUnderAnotherID(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "a")
	require.NoError(t, s.Nodes["a"].Close())
	o := s.Opts["a"]
	o.ID = "b"
	_, err := ddb.Open(s.Ctx, s.DBs["a"], o)
	wantError(t, err, ddb.ErrWrongRole, "snap a", `ID "a"`, "Detach")
	s.Open("a", s.Opts["a"])
}

// Each replicated database has one node, those that CREATE DATABASE has added too, and DROP DATABASE frees the name.
func TestOneNodePerDatabase(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	second, third := f.NewNode("second"), f.Master.Name+"_more"
	require.NoError(t, f.Open(f.Master, func(o *ddb.Options) { o.Listen, o.Databases = "master", []string{f.Master.Name, second.Name} }))
	t.Cleanup(func() { f.Master.Raw.Exec("DROP DATABASE IF EXISTS " + third) })
	f.Do("CREATE DATABASE " + third)
	other := f.NewNode("other")
	for _, name := range []string{second.Name, third} {
		err := f.Open(other, func(o *ddb.Options) { o.Databases = []string{other.Name, name} })
		wantError(t, err, ddb.ErrSecondMaster, "other", name, "another ddb node")
	}
	f.Do("DROP DATABASE " + third)
	require.NoError(t, f.Open(other, func(o *ddb.Options) {}))
	_, err := other.ExecContext(f.Ctx, "CREATE DATABASE "+third)
	require.NoError(t, err)
	_, err = f.Master.ExecContext(f.Ctx, "CREATE DATABASE "+third)
	wantError(t, err, ddb.ErrSecondMaster, third)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
}

// A server that is killed takes the node's lock with it. The node has it again before it makes an entry, and closes well.
func TestLockAfterServerRestart(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	s := testdb.MariaDB(t)
	f.AddElsewhere(s)
	f.Master, f.Replicas = f.Replicas[0], nil
	f.OpenMaster()
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	s.Kill()
	require.NoError(t, s.Start())
	for ctx := f.Ctx; ; {
		if _, err := f.Master.ExecContext(ctx, "INSERT IGNORE INTO t VALUES (1)"); err == nil && f.Master.WaitLevel(ctx) == nil {
			break
		}
		require.NoError(t, ctx.Err())
	}
	_, err := ddb.Open(f.Ctx, f.Master.Raw, ddb.Options{ID: "m2"})
	wantError(t, err, ddb.ErrSecondMaster, "m2", "another ddb node")
	require.NoError(t, f.Master.Close())
}

// stealLock ends the connection that holds the node's lock and takes the lock in its place.
func stealLock(f *testcluster.Fixture, n *testcluster.Node) (giveBack func()) {
	f.Helper()
	key := "ddb:" + n.Name
	holder := f.One(n, "SELECT IS_USED_LOCK(?)", key)
	thief, err := n.Raw.Conn(f.Ctx)
	require.NoError(f, err)
	got := make(chan error, 1)
	go func() {
		var one int
		got <- thief.QueryRowContext(f.Ctx, "SELECT GET_LOCK(?, 60)", key).Scan(&one)
	}()
	for f.One(n, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT GET_LOCK%60)'") == "0" {
	}
	_, err = n.Raw.ExecContext(f.Ctx, "KILL "+holder)
	require.NoError(f, err)
	require.NoError(f, <-got)
	return func() {
		_, err := thief.ExecContext(f.Ctx, "DO RELEASE_LOCK(?)", key)
		require.NoError(f, err)
		require.NoError(f, thief.Close())
	}
}

// A node that loses its database to another says so and goes on when it has it back, unless another master was there.
func TestLockLostToAnother(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	f.Level()
	failed := func(reason string) func(ddb.NodeStatus) bool {
		return func(s ddb.NodeStatus) bool { return s.State == ddb.Failed && strings.Contains(s.Reason, reason) }
	}
	for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
		giveBack := stealLock(f, n)
		waitFor(t, n.Cluster, n.ID, failed("another ddb node"))
		f.Do("REPLACE INTO t VALUES (1)") // is kept
		giveBack()
		f.Level()
	}
	giveBack := stealLock(f, f.Master)
	journal := "`" + f.Master.Name + "_ddb`.journal"
	f.Bypass("INSERT INTO " + journal + " SELECT seq + (1 << 20), epoch, at, final, records, bytes, REVERSE(hash), payload FROM " + journal + " ORDER BY seq DESC LIMIT 1")
	giveBack()
	waitFor(t, f.Master.Cluster, f.Master.ID, failed("another hand"))
	wantError(t, f.Master.WaitLevel(f.Ctx), ddb.ErrSecondMaster)
}
