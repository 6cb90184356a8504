package ddb_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// BenchmarkSnapWrite is a local write on a snap whose link is down.
func BenchmarkSnapWrite(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := newBenchShop(b)
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range writers {
				all.Go(func() {
					for next.Add(1) <= int64(b.N) {
						_, err := s.ExecContext(b.Context(), "INSERT INTO items (writer, body) VALUES (?, ?)", 1, strings.Repeat("x", 100))
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}

func newBenchShop(b *testing.B) *ddb.Cluster {
	f := testcluster.NewFixture(b, "sqlite", 1)
	f.OpenMaster()
	f.Do("CREATE TABLE items (id INTEGER PRIMARY KEY, writer INTEGER NOT NULL, body TEXT NOT NULL)")
	r := f.Replicas[0]
	require.NoError(b, f.Open(r, func(o *ddb.Options) {
		o.Role, o.Master, o.QueueMaxBatches, o.QueueMaxBytes = ddb.Snap, "master", math.MaxInt32, math.MaxInt64
	}))
	require.NoError(b, r.WaitReady(f.Ctx))
	r.Fault.CutAll()
	return r.Cluster
}
