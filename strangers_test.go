package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/inmem"
)

// addressed is a network whose connections are accepted from addresses.
type addressed struct {
	*inmem.Network
	mu   sync.Mutex
	next []string
}

// from returns the network as seen from an address.
func (a *addressed) from(address string) transport.Transport { return &addressedEnd{a, address} }

type addressedEnd struct {
	*addressed
	address string
}

// Dial tries again while the listener is too busy to accept, as a host does.
func (e *addressedEnd) Dial(ctx context.Context, to string) (net.Conn, error) {
	for {
		c, err := e.dial(ctx, to)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Millisecond):
		}
	}
}

func (e *addressedEnd) dial(ctx context.Context, to string) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.Network.Dial(ctx, to)
	if err == nil {
		e.next = append(e.next, e.address)
	}
	return c, err
}

func (a *addressed) Listen(ctx context.Context, at string) (net.Listener, error) {
	l, err := a.Network.Listen(ctx, at)
	return addressedListener{l, a}, err
}

type addressedListener struct {
	net.Listener
	a *addressed
}

func (l addressedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.a.mu.Lock()
	defer l.a.mu.Unlock()
	from := l.a.next[0]
	l.a.next = l.a.next[1:]
	return addressedConn{c, textAddr(from)}, nil
}

type addressedConn struct {
	net.Conn
	from net.Addr
}

func (c addressedConn) RemoteAddr() net.Addr { return c.from }

// guarded opens a master on a network of addresses.
func guarded(t *testing.T, o Options) (*Cluster, *addressed) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "m.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	network := &addressed{Network: inmem.New()}
	o.ID, o.Listen, o.Transport = "m", "m", network
	c, err := Open(t.Context(), db, o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = c.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	return c, network
}

// A host that connects and says nothing takes no place from others, and none at all for long.
func TestStrangersSilent(t *testing.T) {
	c, network := guarded(t, Options{})
	for i := range 10 * link.MaxShakesFrom {
		conn, err := network.from(fmt.Sprintf("10.0.0.1:%d", i)).Dial(t.Context(), "m")
		require.NoError(t, err)
		defer conn.Close()
	}
	said := 0
	say := func(from string) error {
		said++ // another each time: the one before may still be leaving
		conn, err := network.from(from).Dial(t.Context(), "m")
		require.NoError(t, err)
		defer conn.Close()
		_, _, err = link.Introduce(conn, nil, func(link.Greeting) (link.Hello, error) {
			return link.Hello{ID: fmt.Sprintf("r%d", said), Role: Replica, Dialect: "sqlite"}, nil
		})
		return err
	}
	require.NoError(t, say("10.0.0.2:1"))
	require.LessOrEqual(t, c.m.fleet.Door.Taken("10.0.0.1"), link.MaxShakesFrom)
	for i := range 2 * link.MaxShakes { // nor do many hosts
		conn, err := network.from(fmt.Sprintf("10.0.1.%d:%d", i%16, i)).Dial(t.Context(), "m")
		require.NoError(t, err)
		defer conn.Close()
	}
	require.NoError(t, say("10.0.0.3:1"))
	require.Eventually(t, func() bool { return say("10.0.0.1:9999") == nil }, time.Minute, 10*time.Millisecond)
}

// Hellos by ids that nobody knows leave nothing behind: no row, no follower in memory, no number of a snap, no range of keys.
func TestStrangersLeaveNothing(t *testing.T) {
	c, network := guarded(t, Options{})
	for i := range 300 {
		conn, err := network.from("10.0.0.1:1").Dial(t.Context(), "m")
		require.NoError(t, err)
		role := []Role{Snap, Replica}[i%2]
		_, w, err := link.Introduce(conn, nil, func(link.Greeting) (link.Hello, error) {
			h := link.Hello{ID: fmt.Sprint("stranger", i), Role: role, Dialect: "sqlite"}
			if role == Snap {
				h.Number, h.Queue = 7, "q"
			}
			return h, nil
		})
		conn.Close()
		if errors.Is(err, ErrNoMaster) { // none of the places for its address was left yet
			continue
		}
		require.NoError(t, err)
		require.True(t, w.Snapshot)
		require.Zero(t, w.Node)
	}
	require.Eventually(t, func() bool { return len(c.m.fleet.Members()) == 0 }, time.Minute, time.Millisecond)
	require.False(t, c.m.seq.SharesKeys())
	for _, table := range []string{"followers", "received"} {
		var rows int
		require.NoError(t, c.node.DB.QueryRow("SELECT count(*) FROM "+c.node.Engine.Own(table)).Scan(&rows))
		require.Zero(t, rows, table)
	}
	require.Eventually(t, func() bool { c.nodes.Rebuild(); return len(c.route.View.Load().All) == 1 }, time.Minute, time.Millisecond)
	require.Len(t, c.Nodes(), 1)
}

// Whatever is sent to the port, the master goes on, and nothing of it stands raw in the log.
func TestStrangersLog(t *testing.T) {
	var log lockedText
	c, network := guarded(t, Options{Key: []byte("a key of this cluster"), Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})})
	before := log.String()
	for i := range 50 {
		conn, err := network.from("10.0.0.1:1").Dial(t.Context(), "m")
		require.NoError(t, err)
		_, _, err = link.Introduce(conn, nil, func(link.Greeting) (link.Hello, error) {
			return link.Hello{ID: []string{"r1", "evil\n[ERROR] the disk is full"}[i%2], Role: Replica, Dialect: "sqlite"}, nil
		})
		require.Error(t, err)
		conn.Close()
	}
	said := strings.TrimPrefix(log.String(), before)
	require.LessOrEqual(t, strings.Count(said, "let in")+strings.Count(said, "turned away"), 2, said)
	require.NotContains(t, said, "disk")
	require.NoError(t, c.WaitLevel(t.Context()))
}

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }
