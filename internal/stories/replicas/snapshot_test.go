package replicas_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// loadOf writes to the table t of the master until the returned function is called.
func loadOf(f *testcluster.Fixture, writers int) (stop func()) {
	ctx, cancel := context.WithCancel(f.Ctx)
	var tasks sync.WaitGroup
	for w := range writers {
		tasks.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := w*1_000_000 + i%500
				_, err := f.Master.Exec("REPLACE INTO t (id, u, v) VALUES (?, ?, ?)", id, -w*1_000_000-i-1, strings.Repeat("x", i%50))
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
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.OpenMaster()
		f.Do(loadTable, "CREATE TABLE other (id INT PRIMARY KEY, v VARCHAR(100))")
		f.Tx(strings.Replace(manyRows(engine, 40_000), "the first value of the row", strings.Repeat("v", 50), 1))
		stop := loadOf(f, 3)
		r := f.Replicas[0]
		var most, begun atomic.Int64
		r.Fault.SetBandwidth(4 << 20)
		half, file := make(chan struct{}), make(chan struct{})
		var once, fileOnce sync.Once
		fell := atomic.Bool{}
		err := f.Open(r, func(o *ddb.Options) {
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
			await(t, f.Ctx, file)
			r.Fault.Cut("master")
			r.Fault.Heal("master")
		}
		await(t, f.Ctx, half)
		r.Fault.Cut("master")
		require.Error(t, r.WaitReady(expired(f.Ctx)))
		r.Fault.Heal("master")
		r.Fault.SetBandwidth(0)
		require.NoError(t, r.WaitReady(f.Ctx))
		stop()
		f.Level()
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
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.OpenMaster()
		f.Do(loadTable)
		f.Tx(manyRows(engine, 20_000))
		stop := loadOf(f, 2)
		r := f.Replicas[0]
		r.Fault.SetBandwidth(1 << 20)
		started := make(chan struct{})
		var once sync.Once
		require.NoError(t, f.Open(r, func(o *ddb.Options) {
			o.Role, o.Master = ddb.Replica, "master"
			o.OnProgress = func(ddb.Progress) { once.Do(func() { close(started) }) }
		}))
		<-started
		f.Do("ALTER TABLE t ADD COLUMN w INT DEFAULT 3", "CREATE TABLE fresh (id INT PRIMARY KEY)", "INSERT INTO fresh VALUES (1)", "CREATE INDEX tw ON t (w)")
		r.Fault.SetBandwidth(0)
		require.NoError(t, r.WaitReady(f.Ctx))
		stop()
		f.Level()
	})
}

// The first snap makes a master on SQLite install triggers for its keys. A snapshot that is under way goes on all the same.
func TestFirstSnapDuringSnapshot(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 2)
	f.Tune = func(o *ddb.Options) { o.Heartbeat = 10 * time.Second } // nothing but the triggers may end a snapshot, no silence on a busy machine either
	f.OpenMaster()
	const large = 8_000 // rows of 1 kB: more than all buffers on the way hold
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)", fmt.Sprintf(
		"INSERT INTO t (v) WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT randomblob(1000) FROM n", large))
	r, snap := f.Replicas[0], f.Replicas[1]
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var most atomic.Int64
	var fell atomic.Bool
	require.NoError(t, f.Open(r, func(o *ddb.Options) {
		o.Role, o.Master = ddb.Replica, "master"
		o.OnProgress = func(p ddb.Progress) {
			if p.Bytes < most.Swap(p.Bytes) && !p.Done {
				fell.Store(true)
			}
			once.Do(func() { close(begun); <-goOn })
		}
	}))
	await(t, f.Ctx, begun)
	err := f.Open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" })
	if err == nil {
		err = snap.WaitReady(f.Ctx)
	}
	close(goOn)
	require.NoError(t, err)
	require.NoError(t, r.WaitReady(f.Ctx))
	f.Level()
	require.False(t, fell.Load(), "the snapshot began anew")
}

// The log tells how large a snapshot was, by its bytes where it came as a file.
func TestSnapshotSizeIsLogged(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.OpenMaster()
		f.Do("CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO u VALUES (1)")
		var log testcluster.Buffer
		f.Tune = func(o *ddb.Options) { o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) }
		f.OpenReplica(f.Replicas[0])
		require.Regexp(t, `the snapshot is loaded:.* bytes=[1-9]`, log.String())
		require.NotContains(t, log.String(), "rows=0")
	})
}
