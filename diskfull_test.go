package ddb_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// limitSQLite opens a database file that may not grow beyond so many pages of 4 KiB.
func limitSQLite(t *testing.T, path string, pages int) *sql.DB {
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(path)+fmt.Sprintf("&_pragma=max_page_count(%d)", pages))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// A full disk under the master fails the write that does not fit and no other; with room again
// the same master goes on, and nothing acknowledged is missing.
func TestFullDiskOnMaster(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	limited := limitSQLite(t, f.Master.Name, 200)
	whole := f.Master.Raw
	f.Master.Raw = limited
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
	acknowledged := 0
	var err error
	for ; acknowledged < 1000; acknowledged++ {
		if _, err = f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, zeroblob(4000))", acknowledged); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "ddb: exec")
	require.ErrorIs(t, err, ddb.ErrDiskFull)
	require.ErrorContains(t, err, "node master: make room")
	require.Positive(t, acknowledged)
	require.Equal(t, fmt.Sprint(acknowledged), f.One(f.Master, "SELECT count(*) FROM t"), "the refused write is there, or another is gone")
	f.Master.Stop() // the last ones may find room in the journal only now
	f.Master.Raw = whole
	f.OpenMaster()
	f.Do("INSERT INTO t VALUES (5000, 'room again')")
	waitFor(t, f.Master.Cluster, "r1", isActive)
	level(t, f)
}

// A full disk under a replica stops the replica visibly; the master goes on, and with room again
// the replica catches up.
func TestFullDiskOnReplica(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	r := f.Replicas[0]
	limited, whole := limitSQLite(t, r.Name, 200), r.Raw
	r.Raw = limited
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
	for i := range 300 {
		_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, zeroblob(4000))", i)
		require.NoError(t, err)
	}
	n := waitFor(t, r.Cluster, "r1", func(n ddb.NodeStatus) bool { return strings.Contains(n.Reason, "full") })
	require.NotEqual(t, ddb.Active, n.State)
	var count int
	require.NoError(t, f.Master.QueryRowContext(f.Ctx, "SELECT count(*) FROM t").Scan(&count))
	require.Equal(t, 300, count)
	r.Stop()
	r.Raw = whole
	f.OpenReplica(r)
	level(t, f)
}
