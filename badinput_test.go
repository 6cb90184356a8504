package ddb_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/remedy"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
)

// What a program, a person or the network does wrong gets an error that can be told by errors.Is,
// names what is wrong and the way out, and loses nothing.

// wantError fails unless err is the sentinel and its text has all the parts.
func wantError(t testing.TB, err, sentinel error, parts ...string) {
	t.Helper()
	require.ErrorIs(t, err, sentinel)
	for _, p := range parts {
		require.ErrorContains(t, err, p)
	}
}

// waitFor waits until a node of the cluster is as told, and returns it.
func waitFor(t testing.TB, c *ddb.Cluster, id string, is func(ddb.NodeStatus) bool) ddb.NodeStatus {
	t.Helper()
	limit := time.After(testcluster.Patience)
	for {
		nodes, changed := c.Watch()
		for _, n := range nodes {
			if n.ID == id && is(n) {
				return n
			}
		}
		select {
		case <-changed:
		case <-limit:
			require.FailNow(t, "the node does not become so", "%s: %+v", id, nodes)
		}
	}
}

// level waits until every replica has everything, those too whose links were lost for a moment on
// a busy machine, and compares all nodes.
func level(t testing.TB, f *testcluster.Fixture) {
	t.Helper()
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	end := f.Master.Position().LSN
	for _, r := range f.Replicas {
		if r.Cluster != nil {
			waitFor(t, f.Master.Cluster, r.ID, func(n ddb.NodeStatus) bool { return n.State == ddb.Active && n.LSN >= end })
		}
	}
	f.Same()
}

func isActive(n ddb.NodeStatus) bool { return n.State == ddb.Active }

func isFailed(n ddb.NodeStatus) bool { return n.State == ddb.Failed }

// closedBy closes the Cluster at the end of the test.
func closedBy(t testing.TB, c *ddb.Cluster) *ddb.Cluster {
	t.Cleanup(func() { c.Close() })
	return c
}

// A wrong password is told as such, with what to check, and is itself told to nobody.
func TestWrongPassword(t *testing.T) {
	s := testdb.SharedMariaDB(t)
	name := s.NewDatabase(t)
	const wrong = "not-the-password"
	db, err := sql.Open("mysql", strings.Replace(s.DSN(name), s.Password(), wrong, 1))
	require.NoError(t, err)
	defer db.Close()
	var log testcluster.Buffer
	_, err = ddb.Open(t.Context(), db, ddb.Options{ID: "m7", Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log})})
	wantError(t, err, ddb.ErrPrivilege, "m7", s.User(), "check the user and the password")
	require.NotContains(t, err.Error(), wrong)
	require.NotContains(t, err.Error(), s.Password())
	require.NotContains(t, log.String(), wrong)
}

// A text without a statement is no statement on SQLite, wherever it is run, and has a result that can be asked. MariaDB has an error for it.
func TestTextWithoutStatement(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			tx, err := n.Begin()
			require.NoError(t, err)
			for _, run := range []func(string, ...any) (sql.Result, error){n.Cluster.Exec, n.DB().Exec, tx.Exec} {
				for _, text := range []string{"", " ", ";", ";; -- nothing\n", "/* never ends", "\x00DROP TABLE t", "\ufeff;"} {
					res, err := run(text)
					if engine == "mariadb" && err != nil {
						continue
					}
					require.NoError(t, err, "%q", text)
					rows, err := res.RowsAffected()
					require.NoError(t, err, "%q", text)
					require.Zero(t, rows, "%q", text)
				}
			}
			require.NoError(t, tx.Rollback())
		}
	})
}

// A password in a statement is in no log and in no error, on no node.
func TestPasswordInStatement(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	var log testcluster.Buffer
	f.Tune = func(o *ddb.Options) {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log})
	}
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY) /* IDENTIFIED BY 'topsecret' */")
	f.Level()
	_, err := f.Replicas[0].Exec("CREATE USER a IDENTIFIED BY 'topsecret'")
	wantError(t, err, ddb.ErrNotMaster, "CREATE USER a")
	require.NotContains(t, err.Error(), "topsecret")
	require.Contains(t, log.String(), "CREATE TABLE t")
	require.NotContains(t, log.String(), "topsecret")
}

// A server that nobody can reach is named by its address.
func TestUnreachableServer(t *testing.T) {
	const password = "a-secret"
	db, err := sql.Open("mysql", "someone:"+password+"@tcp(127.0.0.1:1)/data")
	require.NoError(t, err)
	defer db.Close()
	_, err = ddb.Open(t.Context(), db, ddb.Options{ID: "m7"})
	var network *net.OpError
	require.ErrorAs(t, err, &network)
	require.ErrorContains(t, err, "m7")
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.ErrorContains(t, err, "host and port")
	require.NotContains(t, err.Error(), password)
}

// A server that goes away under a master makes writes fail, not lie; when it is back the master goes
// on by itself, and nothing acknowledged is missing anywhere.
func TestServerGoesAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*testcluster.Patience)
	defer cancel()
	s := testdb.MariaDB(t)
	s.CreateDatabase(t, "data")
	mdb, network := s.Open(t, "data"), inmem.New()
	m, err := ddb.Open(ctx, mdb, ddb.Options{Transport: network, Listen: "master"})
	require.NoError(t, err)
	closedBy(t, m)
	rdb := testcluster.MariaDB.Open(t, "parseTime=true").DB
	r, err := ddb.Open(ctx, rdb, ddb.Options{ID: "r1", Role: ddb.Replica, Transport: network, Master: "master"})
	require.NoError(t, err)
	closedBy(t, r)
	_, err = m.ExecContext(ctx, "CREATE TABLE t (id INT PRIMARY KEY)")
	require.NoError(t, err)
	_, err = m.ExecContext(ctx, "INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	s.Kill()
	_, err = m.ExecContext(ctx, "INSERT INTO t VALUES (2)")
	require.ErrorContains(t, err, "ddb: exec")
	require.NotContains(t, err.Error(), s.Password())
	require.NoError(t, s.Start())
	_, err = m.ExecContext(ctx, "INSERT INTO t VALUES (3)")
	require.NoError(t, err)
	require.NoError(t, m.WaitLevel(ctx))
	for r.Position().LSN < m.Position().LSN { // it may not have been connected, which nobody waits for
		_, changed := r.Watch()
		select {
		case <-changed:
		case <-ctx.Done():
			require.NoError(t, ctx.Err(), "%+v", r.Nodes())
		}
	}
	for _, db := range []*sql.DB{mdb, rdb} {
		var n int
		require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM t WHERE id IN (1, 3)").Scan(&n))
		require.Equal(t, 2, n)
	}
}

// A schema statement on a replica is refused with the address of the node that takes it.
func TestSchemaStatementOnReplica(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		level(t, f)
		for _, s := range []string{"CREATE TABLE u (id INT PRIMARY KEY)", "ALTER TABLE t ADD COLUMN v INT", "DROP TABLE t"} {
			_, err := f.Replicas[0].ExecContext(f.Ctx, s)
			wantError(t, err, ddb.ErrNotMaster, "r1", "master", s)
		}
		f.Do("INSERT INTO t VALUES (2)")
		level(t, f)
		require.Equal(t, "2", f.One(f.Replicas[0], "SELECT count(*) FROM t"))
	})
}

// countedDials fails each dial, with a text that differs each time as that of a connection's ports does.
type countedDials struct {
	transport.Transport
	dials atomic.Int64
}

func (c *countedDials) Dial(context.Context, string) (net.Conn, error) {
	n := c.dials.Add(1)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: int(n)}, Err: syscall.ECONNREFUSED}
}

// A follower that cannot reach its master says so in the log: at once, with the address and the reason, and once.
func TestUnreachableMasterIsLogged(t *testing.T) {
	var log testcluster.Buffer
	dials := new(countedDials)
	c, err := ddb.Open(t.Context(), testcluster.SQLite.Open(t).DB, ddb.Options{ID: "r1", Role: ddb.Replica, Master: "nowhere:1", Transport: dials,
		Heartbeat: time.Millisecond, Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &log})})
	require.NoError(t, err)
	closedBy(t, c)
	require.Eventually(t, func() bool { return dials.dials.Load() > 3 }, testcluster.Patience, time.Millisecond)
	require.Equal(t, 1, strings.Count(log.String(), "no link to the master"), log.String())
	require.Contains(t, log.String(), "nowhere:1")
	require.Contains(t, log.String(), "refused")
}

// Of two followers with one id the second stays out and says so; the first goes on.
func TestDuplicateID(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	for id, sentinel := range map[string]error{"r1": ddb.ErrDuplicateID, "master": ddb.ErrDuplicateID} {
		o := f.Options(f.Replicas[0], f.Net)
		o.ID, o.Role, o.Master = id, ddb.Replica, "master"
		c, err := ddb.Open(f.Ctx, testcluster.SQLite.Open(t).DB, o)
		require.NoError(t, err)
		closedBy(t, c)
		waitFor(t, c, id, func(n ddb.NodeStatus) bool { return strings.Contains(n.Reason, "id") && n.State == ddb.Inactive })
		ctx, cancel := context.WithTimeout(f.Ctx, time.Millisecond)
		defer cancel()
		wantError(t, c.WaitReady(ctx), sentinel, id)
	}
	f.Do("INSERT INTO t VALUES (1)")
	level(t, f)
}

// localStatus is what a node says of itself.
func localStatus(t *testing.T, n *testcluster.Node) ddb.NodeStatus {
	list := n.Nodes()
	at := slices.IndexFunc(list, func(s ddb.NodeStatus) bool { return s.Local })
	require.GreaterOrEqual(t, at, 0)
	return list[at]
}

// A follower of another cluster is refused; with Rejoin it gives its data up for this cluster's.
func TestOtherCluster(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		theirs, ours := testcluster.OpenFixture(t, engine, 1), testcluster.NewFixture(t, engine, 0)
		theirs.Do("CREATE TABLE theirs (id INT PRIMARY KEY)", "INSERT INTO theirs VALUES (1)")
		level(t, theirs)
		r := theirs.Replicas[0]
		r.Stop()
		ours.OpenMaster()
		ours.Do("CREATE TABLE ours (id INT PRIMARY KEY)", "INSERT INTO ours VALUES (1), (2)")
		follow := func(o *ddb.Options) { o.Role, o.Master, o.Transport = ddb.Replica, "master", ours.Net }
		require.NoError(t, ours.Open(r, follow))
		err := r.WaitReady(ours.Ctx)
		wantError(t, err, ddb.ErrOtherCluster, "r1", "Rejoin")
		var e *ddb.Error
		require.ErrorAs(t, err, &e, "the master's refusal keeps its remedy")
		require.Equal(t, remedy.Rejoin, e.Remedies[0].Action)
		require.Equal(t, e.Remedies, localStatus(t, r).Remedies, "and so does the status")
		require.Contains(t, localStatus(t, r).Reason, e.Remedies[0].Text)
		require.Equal(t, "1", ours.One(r, "SELECT count(*) FROM theirs"), "refused, and yet its data is gone")
		r.Stop()
		require.NoError(t, ours.Open(r, func(o *ddb.Options) { follow(o); o.Rejoin = true }))
		require.NoError(t, r.WaitReady(ours.Ctx))
		ours.Replicas = append(ours.Replicas, r)
		level(t, ours)
	})
}

// A follower whose journal has an entry that the master's has not, or has otherwise, is refused: here the
// master's database was restored from an old copy. With Rejoin the follower starts anew.
func TestForkedHistory(t *testing.T) {
	for name, after := range map[string][]string{
		"the master's journal is shorter":  nil,
		"the master's entry is another":    {"INSERT INTO t VALUES (30)"},
		"the master's journal went beyond": {"INSERT INTO t VALUES (30)", "INSERT INTO t VALUES (40)", "INSERT INTO t VALUES (50)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := testcluster.OpenFixture(t, "sqlite", 1)
			r := f.Replicas[0]
			f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
			level(t, f)
			copied := f.NewNode("master")
			f.Bypass("VACUUM INTO '" + copied.Name + ".copy'")
			f.Do("INSERT INTO t VALUES (2)")
			level(t, f)
			r.Stop()
			f.Master.Stop()
			copied.Raw = testdb.OpenSQLite(t, copied.Name+".copy")
			f.Master = copied
			f.OpenMaster()
			f.Do(after...)
			follow := func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }
			require.NoError(t, f.Open(r, follow))
			wantError(t, r.WaitReady(f.Ctx), ddb.ErrForked, "r1", "Rejoin")
			require.Equal(t, ddb.Failed, r.Nodes()[0].State)
			require.Equal(t, "2", f.One(r, "SELECT count(*) FROM t"), "refused, and yet its data is gone")
			r.Stop()
			require.NoError(t, f.Open(r, func(o *ddb.Options) { follow(o); o.Rejoin = true }))
			require.NoError(t, r.WaitReady(f.Ctx))
			level(t, f)
		})
	}
}

// A follower that has followed a later master does not go back to the former one.
func TestFormerMaster(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 2)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		level(t, f)
		former, chosen, r := f.Master, f.Replicas[0], f.Replicas[1]
		former.Stop()
		chosen.Stop()
		f.Master, f.Replicas = chosen, f.Replicas[1:]
		f.OpenMaster()
		f.Do("INSERT INTO t VALUES (2)")
		waitFor(t, r.Cluster, "r2", func(n ddb.NodeStatus) bool { return n.Epoch == 2 && n.State == ddb.Active })
		level(t, f)
		f.Master.Stop()
		f.Master = former
		f.OpenMaster()
		n := waitFor(t, r.Cluster, "r2", isFailed)
		require.Contains(t, n.Reason, "epoch")
		wantError(t, r.WaitReady(f.Ctx), ddb.ErrOldEpoch, "r2", "epoch 2", "another node is the master now", "set Master")
		require.Equal(t, "2", f.One(r, "SELECT count(*) FROM t"))
	})
}

// Whatever strangers send to the listener, the master lets them go and serves those who know how.
func TestGarbageToListener(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	address := freePort(t)
	f.Tune = func(o *ddb.Options) {
		o.Transport = tcp.New(tcp.Options{})
		if o.Role == ddb.Replica {
			o.Master = address
		} else {
			o.Listen = address
		}
	}
	f.OpenAll()
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	noise := make([]byte, 1<<16)
	rand.Read(noise)
	huge := binary.BigEndian.AppendUint32([]byte{0xDD, 0xB1}, 1<<31)
	for name, sent := range map[string][]byte{
		"an HTTP request": []byte("GET / HTTP/1.1\r\nHost: ddb\r\n\r\n"),
		"random bytes":    noise,
		"zeros":           make([]byte, 4096),
		"a huge length":   append(huge, noise[:100]...),
		"nothing":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(testcluster.Patience))
			conn.Write(sent)                   // the master may hang up in between
			conn.(*net.TCPConn).CloseWrite()   // likewise
			_, err = io.Copy(io.Discard, conn) // until it hangs up: it does not wait for more
			require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the master holds the line")
		})
	}
	f.Do("INSERT INTO t VALUES (1)")
	level(t, f)
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// The first two messages of the protocol, as every version must understand them: a number in field 1.
type foreignGreeting struct {
	Protocol int    `cbor:"1,keyasint"`
	Cluster  string `cbor:"2,keyasint"`
	Master   string `cbor:"3,keyasint"`
	Nonce    []byte `cbor:"5,keyasint"`
	More     string `cbor:"99,keyasint"`
}

// A node that speaks another version of the protocol is refused with words on either side.
func TestProtocolVersion(t *testing.T) {
	const greetingKind, refusalKind = 1, 4
	t.Run("of the follower", func(t *testing.T) {
		f := testcluster.OpenFixture(t, "sqlite", 0)
		conn, err := f.Net.Dial(f.Ctx, "master")
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(ddb.Preamble(99, 1))
		require.NoError(t, err)
		kind, payload, err := wire.NewConn(conn, 1<<20).Read()
		require.NoError(t, err)
		require.EqualValues(t, refusalKind, kind)
		require.Contains(t, string(payload), "same version of ddb")
		require.Contains(t, string(payload), "99")
	})
	t.Run("of the master", func(t *testing.T) {
		network := inmem.New()
		l, err := network.Listen(t.Context(), "master")
		require.NoError(t, err)
		var served sync.WaitGroup
		served.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				w := wire.NewConn(conn, 1<<20)
				w.Write(greetingKind, foreignGreeting{Protocol: 99, Cluster: "c", Master: "m", Nonce: make([]byte, 32), More: "unknown to this version"})
				w.Read() // until the follower hangs up
				conn.Close()
			}
		})
		defer served.Wait()
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
		defer cancel()
		r, err := ddb.Open(ctx, testcluster.SQLite.Open(t).DB, ddb.Options{ID: "r1", Role: ddb.Replica, Transport: network, Master: "master"})
		require.NoError(t, err)
		defer r.Close()
		wantError(t, r.WaitReady(ctx), ddb.ErrVersion, "r1", "99", "same version of ddb")
		require.Equal(t, ddb.Failed, r.Nodes()[0].State)
	})
}

// A follower without the cluster's key is refused, and neither side tells its key.
func TestWrongKey(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	var log testcluster.Buffer
	f.Tune = func(o *ddb.Options) {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log})
		if o.Key = []byte("right-key"); o.Role == ddb.Replica {
			o.Key = []byte("wrong-key")
		}
	}
	f.OpenMaster()
	r := f.Replicas[0]
	require.NoError(t, f.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
	err := r.WaitReady(f.Ctx)
	wantError(t, err, ddb.ErrUnknownNode, "r1", "Options.Key")
	for _, secret := range []string{"right-key", "wrong-key"} {
		require.NotContains(t, err.Error()+log.String(), secret)
	}
}

// No database is an option that is missing, wherever one is to be given.
func TestNoDatabase(t *testing.T) {
	db := testdb.OpenSQLite(t, filepath.Join(t.TempDir(), "a.db"))
	_, opened := ddb.Open(t.Context(), nil, ddb.Options{})
	_, wrapped := ddb.Wrap(t.Context(), nil, nil, ddb.PingChecker{}, ddb.Options{})
	_, replica := ddb.Wrap(t.Context(), db, map[string]*sql.DB{"r1": nil}, ddb.PingChecker{}, ddb.Options{})
	for name, err := range map[string]error{"Open": opened, "Detach": ddb.Detach(t.Context(), nil, ddb.Options{}), "Wrap": wrapped, "r1": replica} {
		wantError(t, err, ddb.ErrOptions, name, "sql.Open")
	}
}
