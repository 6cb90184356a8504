package ddb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// load writes to the table t of the master until the returned function is called.
func (f *fixture) load(writers int) (stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	var tasks sync.WaitGroup
	for w := range writers {
		tasks.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := w*1_000_000 + i%500
				_, err := f.m.Exec("REPLACE INTO t (id, u, v) VALUES (?, ?, ?)", id, -w*1_000_000-i-1, strings.Repeat("x", i%50))
				if err != nil {
					f.Errorf("load: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); tasks.Wait() }
}

const loadTable = "CREATE TABLE t (id INT PRIMARY KEY, u BIGINT UNIQUE, v VARCHAR(60))"

// A replica that joins under load and is cut in the middle of its snapshot goes on where it was.
func TestSnapshotIsResumed(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.openMaster()
		f.do(loadTable, "CREATE TABLE other (id INT PRIMARY KEY, v VARCHAR(100))")
		f.tx(strings.Replace(manyRows(engine, 40_000), "the first value of the row", strings.Repeat("v", 50), 1))
		stop := f.load(3)
		r := f.replicas[0]
		var most, begun atomic.Int64
		r.fault.SetBandwidth(4 << 20)
		half, file := make(chan struct{}), make(chan struct{})
		var once, fileOnce sync.Once
		fell := atomic.Bool{}
		err := f.open(r, func(o *ddb.Options) {
			o.Role, o.Master = ddb.Replica, "master"
			o.OnProgress = func(p ddb.Progress) {
				if p.Rows < most.Load() && !p.Done {
					fell.Store(true)
				}
				most.Store(p.Rows)
				if p.Bytes > 0 && !p.Done {
					fileOnce.Do(func() { close(file) })
				}
				if begun.Add(1); p.Rows > 15_000 {
					once.Do(func() { close(half) })
				}
			}
		})
		require.NoError(t, err)
		if engine == "sqlite" { // the first attempt is a file, which is not resumed: the rows travel then
			await(t, f.ctx, file)
			r.fault.Cut("master")
			r.fault.Heal("master")
		}
		await(t, f.ctx, half)
		r.fault.Cut("master")
		require.Error(t, r.WaitReady(expired(f.ctx)))
		r.fault.Heal("master")
		r.fault.SetBandwidth(0)
		require.NoError(t, r.WaitReady(f.ctx))
		stop()
		f.level()
		require.False(t, fell.Load(), "the snapshot began anew")
	})
}

// await waits for an event.
func await(t *testing.T, ctx context.Context, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-ctx.Done():
		t.Fatal("it did not happen")
	}
}

// expired returns a context that is over.
func expired(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// Schema statements while a snapshot is taken: the replica ends equal.
func TestSchemaChangesDuringSnapshot(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.openMaster()
		f.do(loadTable)
		f.tx(manyRows(engine, 20_000))
		stop := f.load(2)
		r := f.replicas[0]
		r.fault.SetBandwidth(1 << 20)
		started := make(chan struct{})
		var once sync.Once
		require.NoError(t, f.open(r, func(o *ddb.Options) {
			o.Role, o.Master = ddb.Replica, "master"
			o.OnProgress = func(ddb.Progress) { once.Do(func() { close(started) }) }
		}))
		<-started
		f.do("ALTER TABLE t ADD COLUMN w INT DEFAULT 3", "CREATE TABLE fresh (id INT PRIMARY KEY)", "INSERT INTO fresh VALUES (1)", "CREATE INDEX tw ON t (w)")
		r.fault.SetBandwidth(0)
		require.NoError(t, r.WaitReady(f.ctx))
		stop()
		f.level()
	})
}

// The first snap makes a master on SQLite install triggers for its keys. A snapshot that is under way goes on all the same.
func TestFirstSnapDuringSnapshot(t *testing.T) {
	f := newFixture(t, "sqlite", 2)
	f.tune = func(o *ddb.Options) { o.Heartbeat = 10 * time.Second } // nothing but the triggers may end a snapshot, no silence on a busy machine either
	f.openMaster()
	const large = 8_000 // rows of 1 kB: more than all buffers on the way hold
	f.do("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)", fmt.Sprintf(
		"INSERT INTO t (v) WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT randomblob(1000) FROM n", large))
	r, snap := f.replicas[0], f.replicas[1]
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var most atomic.Int64
	var fell atomic.Bool
	require.NoError(t, f.open(r, func(o *ddb.Options) {
		o.Role, o.Master = ddb.Replica, "master"
		o.OnProgress = func(p ddb.Progress) {
			if p.Bytes < most.Swap(p.Bytes) && !p.Done {
				fell.Store(true)
			}
			once.Do(func() { close(begun); <-goOn })
		}
	}))
	await(t, f.ctx, begun)
	err := f.open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" })
	if err == nil {
		err = snap.WaitReady(f.ctx)
	}
	close(goOn)
	require.NoError(t, err)
	require.NoError(t, r.WaitReady(f.ctx))
	f.level()
	require.False(t, fell.Load(), "the snapshot began anew")
}

// A journal that is too small for a follower that is away costs it a snapshot; one that is connected loses nothing.
func TestJournalRetention(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.tune = func(o *ddb.Options) { o.JournalMaxBytes = 2000 }
		f.openMaster()
		f.do(loadTable)
		for _, r := range f.replicas {
			f.openReplica(r)
		}
		away := f.replicas[1]
		away.close()
		for i := range 300 {
			f.do(fmt.Sprintf("INSERT INTO t VALUES (%d, %d, 'some text to fill the journal')", i, i))
		}
		require.NoError(t, ddb.TrimJournal(f.ctx, f.m.Cluster))
		require.NoError(t, f.m.WaitLevel(f.ctx))
		require.NoError(t, ddb.TrimJournal(f.ctx, f.m.Cluster))
		list, err := f.m.Tail(f.ctx, 1000)
		require.NoError(t, err)
		require.Less(t, len(list), 100)
		var taken atomic.Bool
		require.NoError(t, f.open(away, func(o *ddb.Options) {
			o.Role, o.Master = ddb.Replica, "master"
			o.OnProgress = func(p ddb.Progress) { taken.Store(p.Done) }
		}))
		for away.Position().LSN < f.m.Position().LSN {
			_, changed := away.Watch()
			<-changed
		}
		f.level()
		require.True(t, taken.Load(), "it needed a snapshot")
	})
}

// A replica becomes the master: the epoch rises, the others follow it, the old master comes back as a replica.
func TestPromotion(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.openMaster()
		f.do(loadTable, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')")
		for _, r := range f.replicas {
			f.openReplica(r)
		}
		f.level()
		old, fresh, other := f.m, f.replicas[0], f.replicas[1]
		other.close()
		fresh.close()
		f.do("INSERT INTO t VALUES (3, 3, 'only the old master has it')")
		f.bypass("INSERT INTO t VALUES (4, 4, 'it too')")
		old.close()
		f.m, f.replicas = fresh, []*testNode{other}
		f.openMaster()
		require.EqualValues(t, 2, f.m.Position().Epoch)
		f.do("INSERT INTO t VALUES (5, 5, 'of the new reign')")
		f.openReplica(other)
		f.level()
		// The old master does not come back unasked, and whoever followed the new one does not follow it again.
		err := f.open(old, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" })
		require.ErrorIs(t, err, ddb.ErrWrongRole)
		require.ErrorContains(t, err, "Rejoin")
		require.NoError(t, f.open(old, func(o *ddb.Options) { o.Listen = "old" }))
		other.close()
		require.NoError(t, f.open(other, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "old" }))
		require.ErrorIs(t, other.WaitReady(f.ctx), ddb.ErrOldEpoch)
		other.close()
		old.close()
		f.openReplica(other)
		require.NoError(t, f.open(old, func(o *ddb.Options) { o.Role, o.Master, o.Rejoin = ddb.Replica, "master", true }))
		require.NoError(t, old.WaitReady(f.ctx))
		f.replicas = append(f.replicas, old)
		f.do("UPDATE t SET v = 'z' WHERE id = 1")
		f.level()
		require.Equal(t, "1,2,5", strings.Join(f.strings(old.raw, "SELECT id FROM t ORDER BY id"), ","))
	})
}

// What Exec refuses, Query refuses too: schema statements elsewhere than on the master, tables without a key, BEGIN on a pool.
func TestQueryIsNoWayAround(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newCluster(t, engine, 1)
		f.do("CREATE TABLE t (id INT PRIMARY KEY)")
		_, err := f.m.Query("CREATE TABLE nokey (a INT)")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		_, err = f.m.Query("BEGIN")
		require.ErrorContains(t, err, "use Begin")
		_, err = f.m.Query("INSERT INTO t VALUES (1); CREATE TABLE nokey (a INT)")
		require.Error(t, err)
		rows, err := f.m.Query("CREATE TABLE u (id INT PRIMARY KEY)")
		require.NoError(t, err)
		require.False(t, rows.Next())
		require.NoError(t, rows.Close())
		f.do("INSERT INTO u VALUES (1)")
		f.level()
		r := f.replicas[0]
		_, err = r.Query("CREATE TABLE v (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		tx, err := r.Begin()
		require.NoError(t, err)
		_, err = tx.Query("DROP TABLE u")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.NoError(t, tx.Rollback())
		require.Equal(t, "1", f.one(f.m, "SELECT COUNT(*) FROM u"))
	})
}

// A replica that has lost its master answers eventual reads, which ask for nothing, and no others.
func TestReadsWithoutMaster(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newCluster(t, engine, 1)
		f.do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (7)")
		f.level()
		r := f.replicas[0]
		f.m.close()
		for r.Nodes()[0].State != ddb.Inactive {
			_, changed := r.Watch()
			await(t, f.ctx, changed)
		}
		read := func(ctx context.Context) (id int, err error) {
			return id, r.QueryRowContext(ctx, "SELECT id FROM t").Scan(&id)
		}
		for _, ctx := range []context.Context{f.ctx, ddb.WithConsistency(f.ctx, ddb.Strong), ddb.WithMaxStaleness(f.ctx, time.Hour)} {
			_, err := read(ctx)
			require.Error(t, err)
		}
		eventual := ddb.WithConsistency(f.ctx, ddb.Eventual)
		id, err := read(eventual)
		for err != nil { // until the view has heard of the state
			_, changed := r.Watch()
			await(t, f.ctx, changed)
			id, err = read(eventual)
		}
		require.Equal(t, 7, id)
	})
}

// A replica that has entries of another history is refused, loses nothing, and may give them up.
func TestForkIsDetected(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.openMaster()
		f.do(loadTable)
		for _, r := range f.replicas {
			f.openReplica(r)
		}
		a, b := f.replicas[0], f.replicas[1]
		a.close()
		f.do("INSERT INTO t VALUES (1, 1, 'b has it')")
		require.NoError(t, f.m.WaitLevel(f.ctx))
		b.close()
		f.m.close()
		f.m, f.replicas = a, []*testNode{b}
		f.openMaster()
		f.do("INSERT INTO t VALUES (2, 2, 'b has it not')")
		require.NoError(t, f.open(b, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
		require.ErrorIs(t, b.WaitReady(f.ctx), ddb.ErrForked)
		require.Equal(t, "1", f.one(b, "SELECT COUNT(*) FROM t WHERE id = 1"))
		b.close()
		require.NoError(t, f.open(b, func(o *ddb.Options) { o.Role, o.Master, o.Rejoin = ddb.Replica, "master", true }))
		require.NoError(t, b.WaitReady(f.ctx))
		f.level()
	})
}

// A write that must be confirmed says so when it is not, and stands all the same.
func TestWaitReplicas(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 2, 500*time.Millisecond }
		f.openMaster()
		_, err := f.m.Exec(loadTable)
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		res, err := f.m.Exec("INSERT INTO t VALUES (1, 1, 'nobody follows')")
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		require.NotNil(t, res)
		// On MariaDB the @ binds the connection, as it may be a variable's.
		_, err = f.m.DB().ExecContext(f.ctx, "INSERT INTO t VALUES (2, 2, 'nobody@nowhere')")
		require.ErrorIs(t, err, ddb.ErrNotConfirmed)
		for _, r := range f.replicas {
			f.openReplica(r)
		}
		f.level()
		f.m.close()
		f.tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 2, patience }
		f.openMaster()
		for i := range 10 {
			_, err = f.m.Exec("INSERT INTO t VALUES (?, ?, 'confirmed')", i+10, i+10)
			require.NoError(t, err)
			for _, r := range f.replicas {
				require.Equal(t, "1", f.one(r, "SELECT COUNT(*) FROM t WHERE id = ?", i+10))
			}
		}
		f.tx("DELETE FROM t WHERE id = 10")
		f.level()
	})
}

// Reads see what they ask for, however slow the links are.
func TestConsistency(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.openMaster()
		f.do(loadTable, "INSERT INTO t VALUES (1, 0, 'x')")
		for _, r := range f.replicas {
			f.openReplica(r)
		}
		f.level()
		for _, r := range f.replicas {
			r.fault.SetLatency(50 * time.Millisecond)
		}
		read := func(ctx context.Context, c *ddb.Cluster) (u int) {
			t.Helper()
			require.NoError(t, c.QueryRowContext(ctx, "SELECT u FROM t WHERE id = 1").Scan(&u))
			return u
		}
		for i := range 20 {
			writer := []*testNode{f.m, f.replicas[0], f.replicas[1]}[i%3]
			_, err := writer.Exec("UPDATE t SET u = ? WHERE id = 1", i)
			require.NoError(t, err)
			require.Equal(t, i, read(f.ctx, writer.Cluster), "a Cluster sees its own writes")
			var node string
			strong := ddb.WithAnswer(ddb.WithConsistency(f.ctx, ddb.Strong), &node)
			require.Equal(t, i, read(strong, f.replicas[(i+1)%2].Cluster))
			require.Equal(t, "master", node)
			require.LessOrEqual(t, read(ddb.WithConsistency(f.ctx, ddb.Eventual), f.replicas[0].Cluster), i)
			for _, d := range []time.Duration{-time.Second, 0, time.Millisecond} {
				require.Equal(t, i, read(ddb.WithMaxStaleness(f.ctx, d), f.replicas[1].Cluster), "no replica is that fresh")
			}
		}
		_, err := f.replicas[0].QueryContext(ddb.WithNode(f.ctx, "nobody"), "SELECT 1")
		require.Error(t, err)
	})
}

// A node that fails during a read is left out, and the read is answered elsewhere.
func TestReadIsRetried(t *testing.T) {
	f := newCluster(t, "sqlite", 2)
	f.do(loadTable, "INSERT INTO t VALUES (1, 7, 'x')")
	f.level()
	for i := range 200 {
		if i == 20 {
			f.replicas[0].fault.Cut("master")
		}
		if i == 100 {
			f.replicas[1].close()
		}
		var u int
		require.NoError(t, f.m.QueryRow("SELECT u FROM t WHERE id = 1").Scan(&u))
		require.Equal(t, 7, u)
	}
}

// Health changes are told in order, maintenance keeps reads away, and the floor serves when all lag.
func TestHealth(t *testing.T) {
	f := newFixture(t, "sqlite", 2)
	var mu sync.Mutex
	seen := map[string][]ddb.State{}
	f.tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.OnHealth = func(s ddb.NodeStatus) { mu.Lock(); seen[s.ID] = append(seen[s.ID], s.State); mu.Unlock() }
		}
	}
	f.openMaster()
	f.do(loadTable)
	for _, r := range f.replicas {
		f.openReplica(r)
	}
	until := func(id string, s ddb.State) {
		t.Helper()
		for {
			list, changed := f.m.Watch()
			for _, n := range list {
				if n.ID == id && n.State == s {
					return
				}
			}
			select {
			case <-changed:
			case <-f.ctx.Done():
				t.Fatalf("%s is not %s: %+v", id, s, list)
			}
		}
	}
	until("r1", ddb.Active)
	until("r2", ddb.Active)
	require.NoError(t, f.m.Maintain("r1", true))
	reads := func(id string) uint64 {
		for _, n := range f.m.Nodes() {
			if n.ID == id {
				return n.Reads
			}
		}
		return 0
	}
	before := reads("r1")
	for range 20 {
		var n int
		require.NoError(t, f.m.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	}
	require.Equal(t, before, reads("r1"))
	require.NotZero(t, reads("r2"))
	require.NoError(t, f.m.Maintain("r1", false))
	require.Error(t, f.m.Maintain("nobody", true))
	f.replicas[0].fault.Hang("master")
	until("r1", ddb.Inactive)
	f.replicas[0].fault.Heal("master")
	until("r1", ddb.Active)
	f.replicas[1].close()
	until("r2", ddb.Inactive)
	f.m.close() // which waits until all is told
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, ddb.Inactive, seen["r2"][len(seen["r2"])-1])
	require.Contains(t, seen["r1"], ddb.Inactive)
}

// Detach leaves no trace of ddb, on a master and on a replica.
func TestDetach(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		trigger := "CREATE TRIGGER mine AFTER INSERT ON t BEGIN UPDATE t SET v = 'm' WHERE id = new.id; END"
		all := "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name <> 'sqlite_sequence' ORDER BY 1, 2"
		if engine == "mariadb" {
			trigger = "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET new.v = 'm'"
			all = "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema LIKE '" + strings.TrimSuffix(f.m.name, "master") +
				"master%' UNION ALL SELECT trigger_schema, trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = '" + f.m.name + "' ORDER BY 1, 2"
		}
		f.bypass(loadTable, "CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)", trigger, "INSERT INTO t VALUES (1, 1, 'a')")
		before := f.strings(f.m.raw, all)
		f.openAll()
		f.do("INSERT INTO t VALUES (2, 2, 'b')")
		f.level()
		require.NotEqual(t, before, f.strings(f.m.raw, all))
		require.Error(t, ddb.Detach(f.ctx, f.m.raw, ddb.Options{}), "a node uses it")
		require.ErrorIs(t, ddb.Detach(f.ctx, f.m.raw, ddb.Options{ID: "no id!"}), ddb.ErrOptions)
		f.m.close()
		f.replicas[0].close()
		require.NoError(t, ddb.Detach(f.ctx, f.m.raw, ddb.Options{}))
		require.Equal(t, before, f.strings(f.m.raw, all))
		f.bypass("INSERT INTO t VALUES (3, 3, 'c')", "DELETE FROM t WHERE id = 1")
		require.NoError(t, ddb.Detach(f.ctx, f.replicas[0].raw, ddb.Options{Role: ddb.Replica}))
		require.Equal(t, "2", f.one(f.replicas[0], "SELECT COUNT(*) FROM t"))
		// A detached database can be adopted again.
		f.openMaster()
		require.Equal(t, uint64(1), f.m.Position().Epoch)
	})
}

// Close lets a transaction end: it commits, and is confirmed by replicas.
func TestCloseLetsTransactionsEnd(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.tune = func(o *ddb.Options) { o.WaitReplicas, o.WaitTimeout = 1, patience }
		f.openMaster()
		f.tune = nil
		f.openReplica(f.replicas[0])
		f.do("CREATE TABLE u (id INT PRIMARY KEY)")
		tx, err := f.m.BeginTx(f.ctx, nil)
		require.NoError(t, err)
		closed := make(chan error, 1)
		go func() { closed <- f.m.Cluster.Close() }()
		require.Eventually(t, func() bool { return errors.Is(f.m.Ping(), ddb.ErrClosed) }, patience, time.Millisecond)
		_, err = tx.Exec("INSERT INTO u VALUES (1)")
		require.NoError(t, err)
		require.Empty(t, closed)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-closed)
		require.Equal(t, "1", f.one(f.replicas[0], "SELECT COUNT(*) FROM u"))
	})
}

// The log tells how large a snapshot was, by its bytes where it came as a file.
func TestSnapshotSizeIsLogged(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.openMaster()
		f.do("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)")
		var log safeBuffer
		f.tune = func(o *ddb.Options) { o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) }
		f.openReplica(f.replicas[0])
		require.Regexp(t, `the snapshot is loaded:.* bytes=[1-9]`, log.String())
		require.NotContains(t, log.String(), "rows=0")
	})
}
