package ddb_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/ddbtest"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
)

// journals opens each journal that ddb brings, by the engine that keeps it.
func journals() map[string]func(t *testing.T) ddb.Journal {
	in := func(d dialect.Dialect, open func(t *testing.T) *sql.DB) func(t *testing.T) ddb.Journal {
		return func(t *testing.T) ddb.Journal { return ddb.DefaultJournal(t, open(t), d) }
	}
	return map[string]func(t *testing.T) ddb.Journal{
		"memory": func(*testing.T) ddb.Journal { return ddb.NewMemoryJournal() },
		"sqlite": in(sqlite.Dialect{}, func(t *testing.T) *sql.DB { _, db := testdb.SQLite(t); return db }),
		"mariadb": in(mysql.Dialect{}, func(t *testing.T) *sql.DB {
			s := testdb.SharedMariaDB(t)
			return s.Open(t, s.NewDatabase(t))
		}),
	}
}

// Every journal keeps the same promises.
func TestJournals(t *testing.T) {
	for name, open := range journals() {
		t.Run(name, func(t *testing.T) {
			ddbtest.Journal(t, open, func(t *testing.T, j ddb.Journal) ddb.Journal { return j })
		})
	}
}

// A pending queue is a view of a journal, whichever keeps it.
func TestPendingQueues(t *testing.T) {
	for name, open := range journals() {
		t.Run(name, func(t *testing.T) {
			ddbtest.PendingQueue(t, func(t *testing.T) (ddb.PendingQueue, func(...ddb.Part) error) {
				j := open(t)
				return ddb.NewPendingQueue(j, 0), func(p ...ddb.Part) error { return j.Append(context.Background(), p...) }
			})
		})
	}
}

// Every picker picks what it may, and starves nobody.
func TestPickers(t *testing.T) {
	for name, p := range map[string]ddb.Picker{"round robin": ddb.RoundRobin(), "least busy": ddb.LeastBusy(), "low latency": ddb.LowLatency()} {
		t.Run(name, func(t *testing.T) { ddbtest.Picker(t, p) })
	}
	// The two that look choose the better one.
	busy := []ddb.Candidate{{ID: "a", InUse: 3}, {ID: "b", InUse: 1}, {ID: "c", InUse: 2}}
	slow := []ddb.Candidate{{ID: "a", Latency: 9}, {ID: "b", Latency: 5}}
	for range 20 {
		require.Equal(t, 1, ddb.LeastBusy().Pick(busy))
		require.Equal(t, 1, ddb.LowLatency().Pick(slow))
	}
}

// Checkers tell a node that serves from one that is gone.
func TestHealthCheckers(t *testing.T) {
	_, healthy := testdb.SQLite(t)
	_, gone := testdb.SQLite(t)
	require.NoError(t, gone.Close())
	t.Run("ping", func(t *testing.T) { ddbtest.HealthChecker(t, ddb.PingChecker{}, "a", healthy, gone) })
	t.Run("fixed", func(t *testing.T) {
		f := new(ddb.FixedChecker)
		f.Set("a", ddb.Report{}, nil)
		ddbtest.HealthChecker(t, f, "a", healthy, gone)
	})
}
