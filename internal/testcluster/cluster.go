package testcluster

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/transport/inmem"
)

// Patience is how long a test waits for what must come, on the busiest machine. It is never measured.
const Patience = time.Minute

// Heartbeat is that of all nodes. It is short, so that a fallen node is soon seen.
const Heartbeat = 200 * time.Millisecond

// Cluster is a master and those who follow it.
type Cluster struct {
	Network *inmem.Network
	Master  *ddb.Cluster
	DB      *sql.DB // the master's
	tb      testing.TB
}

// New opens a master, which listens as "master", over a database of the test.
func New(tb testing.TB, db *sql.DB) *Cluster {
	tb.Helper()
	c := &Cluster{Network: inmem.New(), DB: db, tb: tb}
	c.Master = c.open(db, ddb.Options{Listen: "master"})
	return c
}

// Follow opens a replica or snap over a database of the test, and returns it when it is ready.
func (c *Cluster) Follow(role ddb.Role, id string, db *sql.DB) *ddb.Cluster {
	c.tb.Helper()
	node := c.open(db, ddb.Options{ID: id, Role: role, Master: "master"})
	require.NoError(c.tb, node.WaitReady(Context(c.tb)))
	return node
}

func (c *Cluster) open(db *sql.DB, o ddb.Options) *ddb.Cluster {
	c.tb.Helper()
	o.Transport, o.Logger, o.Heartbeat = c.Network, Logger(c.tb), Heartbeat
	node, err := ddb.Open(Context(c.tb), db, o)
	require.NoError(c.tb, err)
	c.tb.Cleanup(func() { require.NoError(c.tb, node.Close()) })
	return node
}

// Exec runs a statement on the master.
func (c *Cluster) Exec(query string, args ...any) {
	c.tb.Helper()
	_, err := c.Master.Exec(query, args...)
	require.NoError(c.tb, err, query)
}

// Wait returns when the condition holds, and fails the test when it does not within [Patience].
func Wait(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for end := time.Now().Add(Patience); !condition(); {
		require.True(tb, time.Now().Before(end), "never came: %s", what)
		select {
		case <-tb.Context().Done():
			tb.Fatal(what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Context returns one that outlives the test's own, for what is closed by its cleanups, and ends all the same.
func Context(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 5*Patience)
	tb.Cleanup(cancel)
	return ctx
}

// Logger writes warnings and errors into the test's log.
func Logger(tb testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: logWriter{tb}})
}

type logWriter struct{ tb testing.TB }

func (w logWriter) Write(b []byte) (int, error) { w.tb.Log(string(b)); return len(b), nil }
