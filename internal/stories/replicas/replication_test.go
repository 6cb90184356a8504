package replicas_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A replica becomes the master: the epoch rises, the others follow it, the old master comes back as a replica.
func TestPromotion(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.OpenMaster()
		f.Do(loadTable, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')")
		for _, r := range f.Replicas {
			f.OpenReplica(r)
		}
		f.Level()
		old, fresh, other := f.Master, f.Replicas[0], f.Replicas[1]
		other.Stop()
		fresh.Stop()
		f.Do("INSERT INTO t VALUES (3, 3, 'only the old master has it')")
		f.Bypass("INSERT INTO t VALUES (4, 4, 'it too')")
		old.Stop()
		f.Master, f.Replicas = fresh, []*testcluster.Node{other}
		f.OpenMaster()
		require.EqualValues(t, 2, f.Master.Position().Epoch)
		f.Do("INSERT INTO t VALUES (5, 5, 'of the new reign')")
		f.OpenReplica(other)
		f.Level()
		// The old master does not come back unasked, and whoever followed the new one does not follow it again.
		err := f.Open(old, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" })
		require.ErrorIs(t, err, ddb.ErrWrongRole)
		require.ErrorContains(t, err, "Rejoin")
		require.NoError(t, f.Open(old, func(o *ddb.Options) { o.Listen = "old" }))
		other.Stop()
		require.NoError(t, f.Open(other, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "old" }))
		require.ErrorIs(t, other.WaitReady(f.Ctx), ddb.ErrOldEpoch)
		other.Stop()
		old.Stop()
		f.OpenReplica(other)
		require.NoError(t, f.Open(old, func(o *ddb.Options) { o.Role, o.Master, o.Rejoin = ddb.Replica, "master", true }))
		require.NoError(t, old.WaitReady(f.Ctx))
		f.Replicas = append(f.Replicas, old)
		f.Do("UPDATE t SET v = 'z' WHERE id = 1")
		f.Level()
		require.Equal(t, "1,2,5", strings.Join(f.Strings(old.Raw, "SELECT id FROM t ORDER BY id"), ","))
	})
}

// What Exec refuses, Query refuses too: schema statements elsewhere than on the master, tables without a key, BEGIN on a pool.
func TestQueryIsNoWayAround(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
		_, err := f.Master.Query("CREATE TABLE nokey (a INT)")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		_, err = f.Master.Query("BEGIN")
		require.ErrorContains(t, err, "use Begin")
		_, err = f.Master.Query("INSERT INTO t VALUES (1); CREATE TABLE nokey (a INT)")
		require.Error(t, err)
		rows, err := f.Master.Query("CREATE TABLE u (id INT PRIMARY KEY)")
		require.NoError(t, err)
		require.False(t, rows.Next())
		require.NoError(t, rows.Close())
		f.Do("INSERT INTO u VALUES (1)")
		f.Level()
		r := f.Replicas[0]
		_, err = r.Query("CREATE TABLE v (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		tx, err := r.Begin()
		require.NoError(t, err)
		_, err = tx.Query("DROP TABLE u")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.NoError(t, tx.Rollback())
		require.Equal(t, "1", f.One(f.Master, "SELECT COUNT(*) FROM u"))
	})
}

// A replica that has lost its master answers eventual reads, which ask for nothing, and no others.
func TestReadsWithoutMaster(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (7)")
		f.Level()
		r := f.Replicas[0]
		f.Master.Stop()
		for { // what Watch returns is what reads are routed by
			nodes, changed := r.Watch()
			if slices.ContainsFunc(nodes, func(n ddb.NodeStatus) bool { return n.Local && n.State == ddb.Inactive }) {
				break
			}
			await(t, f.Ctx, changed)
		}
		read := func(ctx context.Context) (id int, err error) {
			return id, r.QueryRowContext(ctx, "SELECT id FROM t").Scan(&id)
		}
		for _, ctx := range []context.Context{f.Ctx, ddb.WithConsistency(f.Ctx, ddb.Strong), ddb.WithMaxStaleness(f.Ctx, time.Hour)} {
			_, err := read(ctx)
			require.Error(t, err)
		}
		eventual := ddb.WithConsistency(f.Ctx, ddb.Eventual)
		id, err := read(eventual)
		for err != nil { // until the view has heard of the state
			_, changed := r.Watch()
			await(t, f.Ctx, changed)
			id, err = read(eventual)
		}
		require.Equal(t, 7, id)
	})
}

// A replica that has entries of another history is refused, loses nothing, and may give them up.
func TestForkIsDetected(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.OpenMaster()
		f.Do(loadTable)
		for _, r := range f.Replicas {
			f.OpenReplica(r)
		}
		a, b := f.Replicas[0], f.Replicas[1]
		a.Stop()
		f.Do("INSERT INTO t VALUES (1, 1, 'b has it')")
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		b.Stop()
		f.Master.Stop()
		f.Master, f.Replicas = a, []*testcluster.Node{b}
		f.OpenMaster()
		f.Do("INSERT INTO t VALUES (2, 2, 'b has it not')")
		require.NoError(t, f.Open(b, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
		require.ErrorIs(t, b.WaitReady(f.Ctx), ddb.ErrForked)
		require.Equal(t, "1", f.One(b, "SELECT COUNT(*) FROM t WHERE id = 1"))
		b.Stop()
		require.NoError(t, f.Open(b, func(o *ddb.Options) { o.Role, o.Master, o.Rejoin = ddb.Replica, "master", true }))
		require.NoError(t, b.WaitReady(f.Ctx))
		f.Level()
	})
}

// A write that must be confirmed says so when it is not, and stands all the same.
func TestWaitReplicas(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.Tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 2, 500*time.Millisecond }
		f.OpenMaster()
		_, err := f.Master.Exec(loadTable)
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		res, err := f.Master.Exec("INSERT INTO t VALUES (1, 1, 'nobody follows')")
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		require.NotNil(t, res)
		// On MariaDB the @ binds the connection, as it may be a variable's.
		_, err = f.Master.DB().ExecContext(f.Ctx, "INSERT INTO t VALUES (2, 2, 'nobody@nowhere')")
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		for _, r := range f.Replicas {
			f.OpenReplica(r)
		}
		f.Level()
		f.Master.Stop()
		f.Tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 2, testcluster.Patience }
		f.OpenMaster()
		for i := range 10 {
			_, err = f.Master.Exec("INSERT INTO t VALUES (?, ?, 'confirmed')", i+10, i+10)
			require.NoError(t, err)
			for _, r := range f.Replicas {
				require.Equal(t, "1", f.One(r, "SELECT COUNT(*) FROM t WHERE id = ?", i+10))
			}
		}
		f.Tx("DELETE FROM t WHERE id = 10")
		f.Level()
	})
}

// Reads see what they ask for, however slow the links are.
func TestConsistency(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.OpenMaster()
		f.Do(loadTable, "INSERT INTO t VALUES (1, 0, 'x')")
		for _, r := range f.Replicas {
			f.OpenReplica(r)
		}
		f.Level()
		for _, r := range f.Replicas {
			r.Fault.SetLatency(50 * time.Millisecond)
		}
		read := func(ctx context.Context, c *ddb.Cluster) (u int) {
			t.Helper()
			require.NoError(t, c.QueryRowContext(ctx, "SELECT u FROM t WHERE id = 1").Scan(&u))
			return u
		}
		for i := range 20 {
			writer := []*testcluster.Node{f.Master, f.Replicas[0], f.Replicas[1]}[i%3]
			_, err := writer.Exec("UPDATE t SET u = ? WHERE id = 1", i)
			require.NoError(t, err)
			require.Equal(t, i, read(f.Ctx, writer.Cluster), "a Cluster sees its own writes")
			var node string
			strong := ddb.WithAnswer(ddb.WithConsistency(f.Ctx, ddb.Strong), &node)
			require.Equal(t, i, read(strong, f.Replicas[(i+1)%2].Cluster))
			require.Equal(t, "master", node)
			require.LessOrEqual(t, read(ddb.WithConsistency(f.Ctx, ddb.Eventual), f.Replicas[0].Cluster), i)
			for _, d := range []time.Duration{-time.Second, 0, time.Millisecond} {
				require.Equal(t, i, read(ddb.WithMaxStaleness(f.Ctx, d), f.Replicas[1].Cluster), "no replica is that fresh")
			}
		}
		_, err := f.Replicas[0].QueryContext(ddb.WithNode(f.Ctx, "nobody"), "SELECT 1")
		require.Error(t, err)
	})
}

// A node that fails during a read is left out, and the read is answered elsewhere.
func TestReadIsRetried(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 2)
	f.Do(loadTable, "INSERT INTO t VALUES (1, 7, 'x')")
	f.Level()
	for i := range 200 {
		if i == 20 {
			f.Replicas[0].Fault.Cut("master")
		}
		if i == 100 {
			f.Replicas[1].Stop()
		}
		var u int
		require.NoError(t, f.Master.QueryRow("SELECT u FROM t WHERE id = 1").Scan(&u))
		require.Equal(t, 7, u)
	}
}

// Health changes are told in order, maintenance keeps reads away, and the floor serves when all lag.
func TestHealth(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 2)
	var mu sync.Mutex
	seen := map[string][]ddb.State{}
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.OnHealth = func(s ddb.NodeStatus) { mu.Lock(); seen[s.ID] = append(seen[s.ID], s.State); mu.Unlock() }
		}
	}
	f.OpenMaster()
	f.Do(loadTable)
	for _, r := range f.Replicas {
		f.OpenReplica(r)
	}
	until := func(id string, s ddb.State) {
		t.Helper()
		for {
			list, changed := f.Master.Watch()
			for _, n := range list {
				if n.ID == id && n.State == s {
					return
				}
			}
			select {
			case <-changed:
			case <-f.Ctx.Done():
				t.Fatalf("%s is not %s: %+v", id, s, list)
			}
		}
	}
	until("r1", ddb.Active)
	until("r2", ddb.Active)
	require.NoError(t, f.Master.Maintain("r1", true))
	reads := func(id string) uint64 {
		for _, n := range f.Master.Nodes() {
			if n.ID == id {
				return n.Reads
			}
		}
		return 0
	}
	before := reads("r1")
	for range 20 {
		var n int
		require.NoError(t, f.Master.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	}
	require.Equal(t, before, reads("r1"))
	require.NotZero(t, reads("r2"))
	require.NoError(t, f.Master.Maintain("r1", false))
	require.Error(t, f.Master.Maintain("nobody", true))
	f.Replicas[0].Fault.Hang("master")
	until("r1", ddb.Inactive)
	f.Replicas[0].Fault.Heal("master")
	until("r1", ddb.Active)
	f.Replicas[1].Stop()
	until("r2", ddb.Inactive)
	f.Master.Stop() // which waits until all is told
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, ddb.Inactive, seen["r2"][len(seen["r2"])-1])
	require.Contains(t, seen["r1"], ddb.Inactive)
}

// Detach leaves no trace of ddb, on a master and on a replica.
func TestDetach(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		trigger := "CREATE TRIGGER mine AFTER INSERT ON t BEGIN UPDATE t SET v = 'm' WHERE id = new.id; END"
		all := "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name <> 'sqlite_sequence' ORDER BY 1, 2"
		if engine == "mariadb" {
			trigger = "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET new.v = 'm'"
			all = "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema LIKE '" + strings.TrimSuffix(f.Master.Name, "master") +
				"master%' UNION ALL SELECT trigger_schema, trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = '" + f.Master.Name + "' ORDER BY 1, 2"
		}
		f.Bypass(loadTable, "CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)", trigger, "INSERT INTO t VALUES (1, 1, 'a')")
		before := f.Strings(f.Master.Raw, all)
		f.OpenAll()
		f.Do("INSERT INTO t VALUES (2, 2, 'b')")
		f.Level()
		require.NotEqual(t, before, f.Strings(f.Master.Raw, all))
		require.Error(t, ddb.Detach(f.Ctx, f.Master.Raw, ddb.Options{}), "a node uses it")
		require.ErrorIs(t, ddb.Detach(f.Ctx, f.Master.Raw, ddb.Options{ID: "no id!"}), ddb.ErrOptions)
		f.Master.Stop()
		f.Replicas[0].Stop()
		require.NoError(t, ddb.Detach(f.Ctx, f.Master.Raw, ddb.Options{}))
		require.Equal(t, before, f.Strings(f.Master.Raw, all))
		f.Bypass("INSERT INTO t VALUES (3, 3, 'c')", "DELETE FROM t WHERE id = 1")
		require.NoError(t, ddb.Detach(f.Ctx, f.Replicas[0].Raw, ddb.Options{Role: ddb.Replica}))
		require.Equal(t, "2", f.One(f.Replicas[0], "SELECT COUNT(*) FROM t"))
		// A detached database can be adopted again.
		f.OpenMaster()
		require.Equal(t, uint64(1), f.Master.Position().Epoch)
	})
}

// Close lets a transaction end: it commits, and is confirmed by replicas.
func TestCloseLetsTransactionsEnd(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.Tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 1, testcluster.Patience }
		f.OpenMaster()
		f.Tune = nil
		f.OpenReplica(f.Replicas[0])
		f.Do("CREATE TABLE u (id INT PRIMARY KEY)")
		tx, err := f.Master.BeginTx(f.Ctx, nil)
		require.NoError(t, err)
		closed := make(chan error, 1)
		go func() { closed <- f.Master.Cluster.Close() }()
		require.Eventually(t, func() bool { return errors.Is(f.Master.Ping(), ddb.ErrClosed) }, testcluster.Patience, time.Millisecond)
		_, err = tx.Exec("INSERT INTO u VALUES (1)")
		require.NoError(t, err)
		require.Empty(t, closed)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-closed)
		require.Equal(t, "1", f.One(f.Replicas[0], "SELECT COUNT(*) FROM u"))
	})
}
