package ddb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// watchedQueue is a program's own pending queue: ddb's, with a look at what goes through it.
type watchedQueue struct {
	ddb.PendingQueue
	given, acked atomic.Uint64 // the last entries
	broken       atomic.Bool
}

func (q *watchedQueue) Next(ctx context.Context, lsn ddb.LSN, index, limit int) ([]ddb.Part, error) {
	if q.broken.Load() {
		return nil, errBrittle
	}
	parts, err := q.PendingQueue.Next(ctx, lsn, index, limit)
	for _, p := range parts {
		for was := q.given.Load(); uint64(p.LSN) > was && !q.given.CompareAndSwap(was, uint64(p.LSN)); was = q.given.Load() {
		}
	}
	return parts, err
}

func (q *watchedQueue) Ack(ctx context.Context, lsn ddb.LSN) error {
	q.acked.Store(uint64(lsn))
	return q.PendingQueue.Ack(ctx, lsn)
}

// What a master ships comes from the program's own pending queue, and so does what is told of it.
func TestOwnQueue(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		var queue atomic.Pointer[watchedQueue]
		f.Tune = func(o *ddb.Options) {
			o.Queue = func(follower string, j ddb.Journal, acked ddb.LSN) ddb.PendingQueue {
				q := &watchedQueue{PendingQueue: ddb.NewPendingQueue(j, acked)}
				if follower == "r1" {
					queue.Store(q)
				}
				return q
			}
		}
		f.OpenAll()
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		f.Level()
		end := uint64(f.Master.Position().LSN)
		require.Eventually(t, func() bool {
			q := queue.Load()
			return q.given.Load() >= end && q.acked.Load() >= end
		}, testcluster.Patience, time.Millisecond)
		// While it gives nothing, what waits is counted; afterwards all of it arrives.
		queue.Load().broken.Store(true)
		f.Do("INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)")
		require.Eventually(t, func() bool {
			for _, n := range f.Master.Nodes() {
				if n.ID == "r1" && n.Pending >= 1 && n.PendingBytes > 0 {
					return true
				}
			}
			return false
		}, testcluster.Patience, 10*time.Millisecond)
		f.Level() // a new connection has a new queue
	})
}

// The program's own checker takes a node out of the reads and lets it back in; all nodes say why.
func TestOwnHealthChecker(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 2)
	checker := new(ddb.FixedChecker)
	for _, n := range []string{"master", "r1", "r2"} {
		checker.Set(n, ddb.Report{}, nil)
	}
	f.Tune = func(o *ddb.Options) { o.HealthChecker, o.MaxLag = checker, time.Minute }
	f.OpenAll()
	is := func(id string, state ddb.State, reason string) {
		t.Helper()
		for _, at := range []*testcluster.Node{f.Master, f.Replicas[0], f.Replicas[1]} {
			require.Eventually(t, func() bool {
				for _, n := range at.Nodes() {
					if n.ID == id && n.State == state && (reason == "" || n.Reason == reason) {
						return true
					}
				}
				return false
			}, testcluster.Patience, 10*time.Millisecond, "at %s: %v", at.ID, fmt.Sprint(at.Nodes()))
		}
	}
	readsOf := func(id string) (n uint64) {
		for _, s := range f.Master.Nodes() {
			if s.ID == id {
				n = s.Reads
			}
		}
		return n
	}
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	f.Level()
	is("r1", ddb.Active, "")
	checker.Set("r1", ddb.Report{}, errors.New("the disk is nearly full"))
	is("r1", ddb.Inactive, "the disk is nearly full")
	before := readsOf("r1")
	for range 10 {
		require.NoError(t, f.Master.QueryRowContext(f.Ctx, "SELECT count(*) FROM t").Scan(new(int)))
	}
	require.Equal(t, before, readsOf("r1"))
	require.GreaterOrEqual(t, readsOf("r2"), uint64(10))
	// Nor does it read there itself while it has its master.
	require.NoError(t, f.Replicas[0].QueryRowContext(ddb.WithConsistency(f.Ctx, ddb.Eventual), "SELECT count(*) FROM t").Scan(new(int)))
	for _, s := range f.Replicas[0].Nodes() {
		require.True(t, !s.Local || s.Reads == 0, "%d reads", s.Reads)
	}
	f.Do("INSERT INTO t VALUES (1)")
	f.Level() // it follows all the same
	checker.Set("r1", ddb.Report{Lag: time.Hour}, nil)
	is("r1", ddb.Lagging, "behind by 1h0m0s")
	checker.Set("r1", ddb.Report{}, nil)
	is("r1", ddb.Active, "")
	checker.Set("master", ddb.Report{Lag: ddb.LagUnknown}, nil)
	is("master", ddb.Inactive, "")
	f.Do("INSERT INTO t VALUES (2)") // it takes the writes all the same
	f.Level()
	checker.Set("master", ddb.Report{}, nil)
	is("master", ddb.Active, "")
}

// A journal that tells its size is trimmed, wherever it lies.
func TestOwnJournalTrimmed(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 0)
	j := ddb.NewMemoryJournal()
	f.Tune = func(o *ddb.Options) { o.Journal, o.JournalMaxBytes = j, 4<<10 }
	f.OpenMaster()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	for i := range 20 {
		f.Do(fmt.Sprintf("INSERT INTO t VALUES (%d, '%01000d')", i, i))
		require.NoError(t, ddb.Pass(f.Ctx, f.Master.Cluster)) // an entry of its own
	}
	first, last, err := j.Bounds(f.Ctx)
	require.NoError(t, err)
	require.NoError(t, ddb.TrimJournal(f.Ctx, f.Master.Cluster))
	then, end, err := j.Bounds(f.Ctx)
	require.NoError(t, err)
	require.Greater(t, then.LSN, first.LSN)
	require.Equal(t, last, end)
	require.Greater(t, end.LSN, then.LSN)
}

// A whole cluster runs in memory: the SQLite dialect's twin, with every byte of the protocol the same.
func TestClusterInMemory(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 2)
	for _, n := range append(f.Replicas, f.Master) {
		db, err := sql.Open("sqlite", "file:inmem_"+n.ID+"?mode=memory&cache=shared&_pragma=busy_timeout(10000)")
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		n.Raw = db
	}
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 20 {
				if _, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t (v) VALUES (?)", fmt.Sprint(w, i)); err != nil {
					t.Error("write", err)
				}
				if err := f.Master.QueryRowContext(f.Ctx, "SELECT count(*) FROM t").Scan(new(int)); err != nil {
					t.Error("read", err)
				}
			}
		})
	}
	all.Wait()
	f.Level()
	require.Equal(t, "160", f.One(f.Replicas[1], "SELECT count(*) FROM t"))
}

// A journal that is too small for a follower that is away costs it a snapshot; one that is connected loses nothing.
func TestJournalRetention(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.Tune = func(o *ddb.Options) { o.JournalMaxBytes = 2000 }
		f.OpenMaster()
		f.Do("CREATE TABLE t (id INT PRIMARY KEY, u BIGINT UNIQUE, v VARCHAR(60))")
		for _, r := range f.Replicas {
			f.OpenReplica(r)
		}
		away := f.Replicas[1]
		away.Stop()
		for i := range 300 {
			f.Do(fmt.Sprintf("INSERT INTO t VALUES (%d, %d, 'some text to fill the journal')", i, i))
		}
		require.NoError(t, ddb.TrimJournal(f.Ctx, f.Master.Cluster))
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		require.NoError(t, ddb.TrimJournal(f.Ctx, f.Master.Cluster))
		list, err := f.Master.Tail(f.Ctx, 1000)
		require.NoError(t, err)
		require.Less(t, len(list), 100)
		var taken atomic.Bool
		require.NoError(t, f.Open(away, func(o *ddb.Options) {
			o.Role, o.Master = ddb.Replica, "master"
			o.OnProgress = func(p ddb.Progress) { taken.Store(p.Done) }
		}))
		for away.Position().LSN < f.Master.Position().LSN {
			_, changed := away.Watch()
			<-changed
		}
		f.Level()
		require.True(t, taken.Load(), "it needed a snapshot")
	})
}
