//go:build unix

package haproxy_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/tcp"
)

const (
	testTimeout = 3 * time.Minute // of everything together; nothing is judged by time
	database    = "app"
	readers     = 8
	writers     = 2
	clientName  = "app"
)

var clientPassword = rand.Text()

func TestMain(m *testing.M) { testdb.Main(m) }

// The file as it is shipped is one that haproxy accepts.
func TestConfigurationIsValid(t *testing.T) {
	out, err := haproxyCommand(t, "-c", "-f", configuration).CombinedOutput()
	require.NoError(t, err, string(out))
}

// Two MariaDB nodes behind the real haproxy: reads go to the replica, and to the
// master while the replica is unfit in one way or another; writes go to the master throughout.
func TestReadsOutliveAReplica(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	haproxyCommand(t) // skips before the servers are started
	master, replica := startCluster(ctx, t)
	p := startHAProxy(ctx, t, master, replica)
	p.waitStatus(ctx, "writes", "master", "UP")
	p.waitStatus(ctx, "writes", "r1", "DOWN")
	p.waitStatus(ctx, "reads", "r1", "UP")
	p.waitStatus(ctx, "reads", "master", "DOWN") // up as its own backup only

	f := &fixture{ctx: ctx, p: p, master: master, replica: replica}
	t.Run("killed", f.killed)
	t.Run("frozen", f.frozen)
	t.Run("taken out", f.takenOut)
}

// fixture is a cluster with one replica behind haproxy. Each subtest leaves it in good health.
type fixture struct {
	ctx             context.Context
	p               *proxy
	master, replica *node
}

// killed kills the replica's server under load. A read that begins after haproxy has marked
// it down must not fail; nor may any write. When it returns, reads go there again.
func (f *fixture) killed(t *testing.T) {
	_, err := f.master.cluster.ExecContext(f.ctx, "CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(100))")
	require.NoError(t, err)
	require.NoError(t, f.master.cluster.WaitLevel(f.ctx))
	l := f.startLoad(t)
	f.wait(t, "reads from the replica under load", func() bool { return l.onReplica.Load() > 500 && l.written.Load() > 50 })
	require.Zero(t, l.onMaster.Load(), "reads that the master answered while the replica was fit")
	require.Zero(t, l.failed.Load(), "failed reads before the kill")

	f.replica.server.Kill()
	f.p.waitStatus(f.ctx, "reads", "r1", "DOWN")
	l.markedDown.Store(true)
	f.p.waitSessions(f.ctx, "reads", "r1", 0)
	after := l.onMaster.Load()
	f.wait(t, "reads from the master", func() bool { return l.onMaster.Load() > after+500 })

	require.NoError(t, f.replica.server.Start())
	f.p.waitStatus(f.ctx, "reads", "r1", "UP")
	after = l.onReplica.Load()
	f.wait(t, "reads from the replica again", func() bool { return l.onReplica.Load() > after+500 })
	l.stop()

	t.Logf("reads: %d from the replica, %d from the master, %d failed of which %d after the replica was marked down; writes: %d, %d failed",
		l.onReplica.Load(), l.onMaster.Load(), l.failed.Load(), l.failedAfter.Load(), l.written.Load(), l.writesFailed.Load())
	require.Zero(t, l.failedAfter.Load(), "reads that failed after haproxy had marked the replica down; the first: %v", l.firstAfter())
	require.Zero(t, l.writesFailed.Load(), "failed writes")
	require.NoError(t, f.master.cluster.WaitLevel(f.ctx))
	require.Equal(t, l.written.Load(), f.count(t, f.master), "rows on the master")
	require.Equal(t, l.written.Load(), f.count(t, f.replica), "rows on the replica")
}

// frozen stops the replica's server without closing anything: a client in the middle of a
// read would wait for ever, had haproxy not closed its session.
func (f *fixture) frozen(t *testing.T) {
	reads := f.open(t, "reads")
	conn, err := reads.Conn(f.ctx)
	require.NoError(t, err)
	defer conn.Close()
	port, err := ask(f.ctx, conn)
	require.NoError(t, err)
	require.Equal(t, f.replica.server.Port(), port)

	pid := f.replica.server.Pid()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer syscall.Kill(pid, syscall.SIGCONT)
	for err == nil { // the signal takes a moment to stop all threads of the server
		_, err = ask(f.ctx, conn)
	}
	require.NotErrorIs(t, err, context.DeadlineExceeded, "haproxy should have closed the session")
	f.p.waitStatus(f.ctx, "reads", "r1", "DOWN")
	f.p.waitSessions(f.ctx, "reads", "r1", 0)
	port, err = ask(f.ctx, reads)
	require.NoError(t, err)
	require.Equal(t, f.master.server.Port(), port, "the server that answers meanwhile")

	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	f.p.waitStatus(f.ctx, "reads", "r1", "UP")
	port, err = ask(f.ctx, f.open(t, "reads"))
	require.NoError(t, err)
	require.Equal(t, f.replica.server.Port(), port, "the server that answers afterwards")
}

// takenOut takes the replica out by hand: its server is in good health, and yet it gets no
// sessions and those that it has are closed.
func (f *fixture) takenOut(t *testing.T) {
	reads := f.open(t, "reads")
	conn, err := reads.Conn(f.ctx)
	require.NoError(t, err)
	defer conn.Close()
	port, err := ask(f.ctx, conn)
	require.NoError(t, err)
	require.Equal(t, f.replica.server.Port(), port)

	require.NoError(t, f.replica.cluster.Maintain("r1", true))
	f.p.waitStatus(f.ctx, "reads", "r1", "DOWN")
	f.p.waitSessions(f.ctx, "reads", "r1", 0)
	_, err = ask(f.ctx, conn)
	require.Error(t, err, "the session should be closed")
	port, err = ask(f.ctx, reads)
	require.NoError(t, err)
	require.Equal(t, f.master.server.Port(), port, "the server that answers meanwhile")

	require.NoError(t, f.replica.cluster.Maintain("r1", false))
	f.p.waitStatus(f.ctx, "reads", "r1", "UP")
}

// open returns a pool on one of haproxy's ports, as a program would have: connections are given
// up after a while, so that they move to a server that has come back.
func (f *fixture) open(t *testing.T, service string) *sql.DB {
	dsn := fmt.Sprintf("%s:%s@tcp(%s)/%s", clientName, clientPassword, f.p.address[service], database)
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	db.SetConnMaxLifetime(300 * time.Millisecond)
	t.Cleanup(func() { db.Close() })
	return db
}

func (f *fixture) wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.NoError(t, poll(f.ctx, func() (bool, error) { return cond(), nil }), what)
}

// count counts the orders in the node's own database.
func (f *fixture) count(t *testing.T, n *node) (rows int64) {
	t.Helper()
	require.NoError(t, n.db.QueryRowContext(f.ctx, "SELECT count(*) FROM orders").Scan(&rows))
	return rows
}

// queryer is what a pool and a connection have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ask returns the port of the MariaDB server that answers.
func ask(ctx context.Context, db queryer) (port int, err error) {
	err = db.QueryRowContext(ctx, "SELECT @@port").Scan(&port)
	return port, err
}

// load reads and writes through haproxy and counts.
type load struct {
	f       *fixture
	ended   atomic.Bool
	tasks   sync.WaitGroup
	written atomic.Int64

	markedDown                        atomic.Bool // haproxy has said that the replica is down
	onReplica, onMaster               atomic.Int64
	failed, failedAfter, writesFailed atomic.Int64
	mu                                sync.Mutex
	after                             error // first error of failedAfter
}

func (f *fixture) startLoad(t *testing.T) *load {
	l := &load{f: f}
	reads, writes := f.open(t, "reads"), f.open(t, "writes")
	for range readers {
		l.tasks.Go(func() { l.read(reads) })
	}
	for range writers {
		l.tasks.Go(func() { l.write(writes) })
	}
	t.Cleanup(l.stop)
	return l
}

// stop lets the statements under way end, so that none fails because of it.
func (l *load) stop() {
	l.ended.Store(true)
	l.tasks.Wait()
}

func (l *load) read(db *sql.DB) {
	for !l.ended.Load() && l.f.ctx.Err() == nil {
		after := l.markedDown.Load() // before the read begins
		var port, rows int
		err := db.QueryRowContext(l.f.ctx, "SELECT @@port, (SELECT count(*) FROM orders WHERE id < 10)").Scan(&port, &rows)
		switch {
		case err == nil && port == l.f.replica.server.Port():
			l.onReplica.Add(1)
		case err == nil && port == l.f.master.server.Port():
			l.onMaster.Add(1)
		default:
			l.fail(after, errors.Join(err, fmt.Errorf("answered by port %d", port)))
		}
	}
}

func (l *load) fail(after bool, err error) {
	l.failed.Add(1)
	if !after {
		return
	}
	l.failedAfter.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.after == nil {
		l.after = err
	}
}

func (l *load) firstAfter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after
}

func (l *load) write(db *sql.DB) {
	for !l.ended.Load() && l.f.ctx.Err() == nil {
		if _, err := db.ExecContext(l.f.ctx, "INSERT INTO orders (note) VALUES (uuid())"); err != nil {
			l.writesFailed.Add(1)
			continue
		}
		l.written.Add(1)
	}
}

// node is a MariaDB server with the ddb node on it and its console.
type node struct {
	server  *testdb.Server
	db      *sql.DB
	cluster *ddb.Cluster
	console int // port
}

func startCluster(ctx context.Context, t *testing.T) (master, replica *node) {
	listen := net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
	transport := tcp.New(tcp.Options{})
	master = startNode(ctx, t, ddb.Options{Listen: listen, Transport: transport})
	replica = startNode(ctx, t, ddb.Options{ID: "r1", Role: ddb.Replica, Master: listen, Transport: transport})
	// A client reaches both servers with one name and password. Accounts are each server's own, not replicated.
	grantTo(ctx, t, master, "SELECT, INSERT, UPDATE, DELETE")
	grantTo(ctx, t, replica, "SELECT")
	return master, replica
}

// grantTo makes the account that haproxy's clients use.
func grantTo(ctx context.Context, t *testing.T, n *node, privileges string) {
	_, err := n.db.ExecContext(ctx, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", clientName, clientPassword))
	require.NoError(t, err)
	_, err = n.db.ExecContext(ctx, fmt.Sprintf("GRANT %s ON %s.* TO '%s'@'%%'", privileges, database, clientName))
	require.NoError(t, err)
}

func startNode(ctx context.Context, t *testing.T, o ddb.Options) *node {
	n := &node{server: testdb.MariaDB(t)}
	n.server.CreateDatabase(t, database)
	n.db = n.server.Open(t, database)
	var err error
	n.cluster, err = ddb.Open(ctx, n.db, o)
	require.NoError(t, err)
	t.Cleanup(func() { n.cluster.Close() })
	require.NoError(t, n.cluster.WaitReady(ctx))

	h, err := console.New(n.cluster, console.Options{})
	require.NoError(t, err)
	ln, err := console.Listen("127.0.0.1:0", h)
	require.NoError(t, err)
	n.console = ln.Addr().(*net.TCPAddr).Port
	serve, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- console.ServeListener(serve, ln, h) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, errors.Join(<-served, h.Close()))
	})
	return n
}
