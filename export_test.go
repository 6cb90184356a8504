package ddb

import (
	"context"
	"database/sql"
	"net"
	"testing"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// DefaultJournal opens the default journal in a database, for the suite in ddbtest.
func DefaultJournal(tb testing.TB, db *sql.DB, d dialect.Dialect) Journal {
	engine, err := d.Bind(context.Background(), db, dialect.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := engine.CreateOwn(context.Background(), db); err != nil {
		tb.Fatal(err)
	}
	n := &store.Store{DB: db, Dialect: d, Engine: engine}
	return journal.NewSQL(db, engine, n.InTx)
}

// ToMain returns the connections of a follower to its master, as whoever has stolen its key would have them: nothing is
// looked at before it is sent.
func ToMain(c *Cluster) *sql.DB { return c.toMain }

// TrimJournal trims a master's journal now.
func TrimJournal(ctx context.Context, c *Cluster) error { return c.m.fleet.Trim(ctx) }

// Preamble is a dialler's first word.
var Preamble = link.Preamble

// ClusterID is that of the node's cluster.
func ClusterID(c *Cluster) string { return c.node.ClusterID }

// EvilMaster lets every follower in and orders a snapshot.
type EvilMaster struct {
	Cluster string
	Base    Position
}

// Serve runs until the listener is closed.
func (e EvilMaster) Serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		e.serve(conn)
		conn.Close()
	}
}

func (e EvilMaster) serve(conn net.Conn) {
	_, _, err := link.Greet(conn, link.Greeting{Cluster: e.Cluster, Master: "evil", Epoch: 9}, func(link.Hello, func([]byte) bool) (link.Welcome, []byte, error) {
		return link.Welcome{Snapshot: true}, nil, nil
	})
	if err != nil {
		return
	}
	session, err := wire.Server(conn, wire.SessionConfig{})
	if err != nil {
		return
	}
	defer session.Close()
	stream, err := session.Accept()
	if err != nil {
		return
	}
	w := wire.NewConn(stream, 0)
	w.Read()
	w.Write(link.MsgSnapshot, link.SnapshotHead{Base: e.Base})
	for {
		if kind, _, err := w.Read(); err != nil || kind == link.MsgRefusal {
			return
		}
	}
}

// Admits reports whether a node may come in that has proved a key.
func Admits(a access.Rules, id string, r Role, proved []byte) bool { return a.Admits(id, r, proved) }

// Linked reports whether a follower is connected.
func Linked(c *Cluster) bool { return c.f.Linked() }

// LimitNumbers sets how many snaps a master has ranges of keys for.
func LimitNumbers(ctx context.Context, c *Cluster, snaps int64) error {
	return c.m.fleet.LimitNumbers(ctx, keys.FirstSnap+snaps)
}

// Number is the small number of a snap.
func Number(c *Cluster) int64 { return c.snap.KeyNumber() }

// RegisterSnap registers a snap that is not there, and returns its number.
func RegisterSnap(ctx context.Context, c *Cluster, id string) (int64, error) {
	c.m.fleet.Known(id, Snap)
	return c.m.fleet.Register(ctx, id, Snap, true)
}

// OwnTable is the name of a table of ddb's own.
func OwnTable(c *Cluster, name string) string { return c.node.Engine.Own(name) }
