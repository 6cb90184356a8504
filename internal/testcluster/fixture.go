package testcluster

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/inmem"
)

// Fixture is a master with replicas, each on a database of its own, linked in memory. Each replica dials through faults of
// its own. The nodes are closed and opened as the test likes; they are closed when it ends.
type Fixture struct {
	testing.TB
	Engine   Engine
	Ctx      context.Context // ends with the test, or after ten times [Patience]
	Net      *inmem.Network
	Master   *Node
	Replicas []*Node
	Tune     func(*ddb.Options) // nil, or changes the options of every node
}

// Node is one node of a [Fixture]. Its database outlives its Cluster.
type Node struct {
	*ddb.Cluster // nil while the node is closed
	ID           string
	Name         string // of the file, or of the database on the server
	Raw          *sql.DB
	Fault        *fault.Transport // what the node dials through
}

// NewFixture makes the databases and opens nothing yet.
func NewFixture(tb testing.TB, e Engine, replicas int) *Fixture {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*Patience)
	tb.Cleanup(cancel)
	f := &Fixture{TB: tb, Engine: e, Ctx: ctx, Net: inmem.New()}
	f.Master = f.NewNode("master")
	for i := range replicas {
		f.Replicas = append(f.Replicas, f.NewNode(fmt.Sprintf("r%d", i+1)))
	}
	return f
}

// OpenFixture is [NewFixture] with all nodes open and level.
func OpenFixture(tb testing.TB, e Engine, replicas int) *Fixture {
	tb.Helper()
	f := NewFixture(tb, e, replicas)
	f.OpenAll()
	return f
}

// NewNode makes a node that is not open, and none of the Replicas.
func (f *Fixture) NewNode(id string) *Node {
	f.Helper()
	d := f.Engine.Open(f)
	n := &Node{ID: id, Name: d.Name, Raw: d.DB, Fault: fault.New(f.Net)}
	f.Cleanup(n.Stop)
	return n
}

// AddElsewhere adds a replica, which is not open, on another MariaDB server.
func (f *Fixture) AddElsewhere(s *testdb.Server) {
	f.Helper()
	n := &Node{ID: fmt.Sprintf("e%d", len(f.Replicas)+1), Name: s.NewDatabase(f), Fault: fault.New(f.Net)}
	n.Raw = s.Open(f, n.Name)
	f.Cleanup(n.Stop)
	f.Replicas = append(f.Replicas, n)
}

// OpenAll opens all nodes and waits until they are level.
func (f *Fixture) OpenAll() {
	f.Helper()
	f.OpenMaster()
	for _, r := range f.Replicas {
		f.OpenReplica(r)
	}
	f.Level()
}

// Options returns those of a node, which dials through t. They are quick ones: a test waits for nothing but what happens.
func (f *Fixture) Options(n *Node, t transport.Transport) ddb.Options {
	return ddb.Options{ID: n.ID, Transport: t, Heartbeat: 100 * time.Millisecond, PollInterval: 5 * time.Millisecond, Logger: quietLogger()}
}

// Grant gives the statements of every follower these rights on the master.
func (f *Fixture) Grant(r ddb.Rights) {
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica && o.Role != ddb.Snap {
			o.Nodes = map[string]ddb.NodeAccess{"": {SQL: r}}
		}
	}
}

// OpenMaster opens the master, which listens as "master".
func (f *Fixture) OpenMaster() {
	f.Helper()
	require.NoError(f, f.Open(f.Master, func(o *ddb.Options) { o.Listen = "master" }))
}

// OpenReplica opens a replica and waits until it is ready.
func (f *Fixture) OpenReplica(r *Node) {
	f.Helper()
	require.NoError(f, f.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
	require.NoError(f, r.WaitReady(f.Ctx))
}

// Open opens a node with [Fixture.Options] as tune and then Tune have changed them.
func (f *Fixture) Open(n *Node, tune func(*ddb.Options)) error {
	o := f.Options(n, n.Fault)
	tune(&o)
	if f.Tune != nil {
		f.Tune(&o)
	}
	c, err := ddb.Open(f.Ctx, n.Raw, o)
	if err == nil {
		n.Cluster = c
	}
	return err
}

// Stop closes the Cluster, if it is open.
func (n *Node) Stop() {
	if n.Cluster != nil {
		n.Cluster.Close()
		n.Cluster = nil
	}
}

// Do runs statements through ddb on the master.
func (f *Fixture) Do(statements ...string) {
	f.Helper()
	for _, s := range statements {
		_, err := f.Master.ExecContext(f.Ctx, s)
		require.NoError(f, err, s)
	}
}

// Bypass runs statements on the master's database without ddb.
func (f *Fixture) Bypass(statements ...string) {
	f.Helper()
	for _, s := range statements {
		_, err := f.Master.Raw.ExecContext(f.Ctx, s)
		require.NoError(f, err, s)
	}
}

// Tx runs statements in one transaction through ddb.
func (f *Fixture) Tx(statements ...string) {
	f.Helper()
	tx, err := f.Master.BeginTx(f.Ctx, nil)
	require.NoError(f, err)
	defer tx.Rollback()
	for _, s := range statements {
		_, err := tx.ExecContext(f.Ctx, s)
		require.NoError(f, err, s)
	}
	require.NoError(f, tx.Commit())
}

// One returns the first column of the first row of a query on a node's database.
func (f *Fixture) One(n *Node, query string, args ...any) string {
	f.Helper()
	var s sql.NullString
	require.NoError(f, n.Raw.QueryRowContext(f.Ctx, query, args...).Scan(&s), query)
	return s.String
}

// Level waits until every replica has everything, and compares all nodes.
func (f *Fixture) Level() {
	f.Helper()
	ctx := f.Ctx
	require.NoError(f, f.Master.WaitLevel(ctx))
	// A master that has just been opened does not know yet who follows it.
	for _, r := range f.Replicas {
		for r.Cluster != nil && r.Position().LSN < f.Master.Position().LSN {
			_, changed := r.Watch()
			select {
			case <-changed:
			case <-ctx.Done():
				require.NoError(f, ctx.Err(), "%s is behind: %+v", r.ID, r.Nodes())
			}
		}
	}
	f.Same()
}

// Same compares the databases of all nodes that are open, byte for byte.
func (f *Fixture) Same() {
	f.Helper()
	want := f.Dump(f.Master)
	for _, r := range f.Replicas {
		if r.Cluster != nil {
			require.Equal(f, want, f.Dump(r), "replica %s (%+v)", r.ID, r.Nodes()[0])
		}
	}
}

// Restart closes and opens all nodes: what they know must be in their databases.
func (f *Fixture) Restart() {
	f.Helper()
	f.Master.Stop()
	for _, r := range f.Replicas {
		r.Stop()
	}
	f.OpenAll()
}
