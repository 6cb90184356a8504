package ddb_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
)

// clusterKey is one that a person could have made.
var clusterKey = []byte("0f1e2d3c4b5a69788796a5b4c3d2e1f0")

// secret returns a copy of clusterKey, changed.
func otherKey() []byte { return append([]byte("x"), clusterKey[1:]...) }

// tlsPair returns the configs of a TLS listener on this machine and of those who dial it.
func tlsPair(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

// serveRaw answers each connection with f.
func serveRaw(t *testing.T, f func(net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// oldGreeting is the first word of a master of protocol 2, in its frames.
func oldGreeting() []byte {
	payload, _ := wire.Marshal(foreignGreeting{Protocol: 2, Cluster: "C", Master: "m", Nonce: make([]byte, 32)})
	b := binary.BigEndian.AppendUint32([]byte{0xDB, 1, 1, 0}, uint32(len(payload)))
	sum := crc32.Checksum(append(b[:8:8], payload...), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(b, sum), payload...)
}

// A follower that is not answered as it should be says at once what is the matter, where, and what to set.
func TestMisconnections(t *testing.T) {
	serverTLS, clientTLS := tlsPair(t)
	plain, secure := tcp.New(tcp.Options{}), tcp.New(tcp.Options{TLS: clientTLS})
	master := func(config *tls.Config, key []byte) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		m, err := ddb.Open(t.Context(), testcluster.SQLite.Open(t).DB, ddb.Options{Listen: l.Addr().String(), Key: key, Transport: tcp.New(tcp.Options{TLS: config})})
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		return l.Addr().String()
	}
	plainMaster, tlsMaster, keyedMaster := master(nil, nil), master(serverTLS, nil), master(nil, clusterKey)
	web, webTLS := httptest.NewServer(http.NotFoundHandler()), httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	t.Cleanup(webTLS.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	flipping := func(up bool, at int) string { // a way to plainMaster on which one byte is damaged
		return serveRaw(t, func(c net.Conn) {
			m, err := net.Dial("tcp", plainMaster)
			if err != nil {
				return
			}
			var both sync.WaitGroup
			one := func(to, from net.Conn, flips bool) {
				both.Go(func() {
					defer to.Close()
					b := make([]byte, 4<<10)
					for i := at; ; {
						n, err := from.Read(b)
						if flips && i >= 0 && i < n {
							b[i] ^= 0x40
						}
						i -= n
						if _, werr := to.Write(b[:n]); err != nil || werr != nil {
							return
						}
					}
				})
			}
			one(m, c, up)
			one(c, m, !up)
			both.Wait()
		})
	}
	keyedTLSMaster := master(serverTLS, clusterKey)
	relay := serveRaw(t, func(c net.Conn) { // has a certificate that the follower trusts, and is trusted by the master
		follower := tls.Server(c, serverTLS)
		if err := follower.Handshake(); err != nil {
			return
		}
		m, err := tls.Dial("tcp", keyedTLSMaster, clientTLS)
		if err != nil {
			return
		}
		defer m.Close()
		var both sync.WaitGroup
		both.Go(func() { io.Copy(m, follower); m.Close() })
		both.Go(func() { io.Copy(follower, m); follower.Close() })
		both.Wait()
	})
	const soon, late = 4 * time.Second, testcluster.Patience // sooner than any time-out
	for _, test := range []struct {
		name    string
		address string
		by      transport.Transport
		key     []byte
		within  time.Duration
		is      error
		words   []string
	}{
		{"plain follower, TLS master", tlsMaster, plain, nil, soon, ddb.ErrNoMaster, []string{"speaks TLS", "tcp.ClientTLS"}},
		{"TLS follower, plain master", plainMaster, secure, nil, soon, ddb.ErrNoMaster, []string{"does not speak TLS"}},
		{"HTTP port", web.Listener.Addr().String(), plain, nil, soon, ddb.ErrNoMaster, []string{"web server", "Options.Master"}},
		{"TLS follower, HTTP port", web.Listener.Addr().String(), secure, nil, soon, ddb.ErrNoMaster, []string{"does not speak TLS"}},
		{"HTTPS port", webTLS.Listener.Addr().String(), plain, nil, soon, ddb.ErrNoMaster, []string{"hung up without an answer", "TLS"}},
		{"TLS follower, HTTPS port of another authority", webTLS.Listener.Addr().String(), tcp.New(tcp.Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}}), nil, soon, ddb.ErrNoMaster, []string{"certificate does not verify"}},
		{"port of a MariaDB server", serveRaw(t, func(c net.Conn) {
			c.Write([]byte("\x4a\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00"))
			io.Copy(io.Discard, c)
		}), plain, nil, soon, ddb.ErrNoMaster, []string{"no ddb node", "5.5.5-10"}},
		{"closed port", closed.Listener.Addr().String(), plain, nil, soon, ddb.ErrNoMaster, []string{"nobody listens"}},
		{"silent port", serveRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) }), plain, nil, late, ddb.ErrNoMaster, []string{"does not answer", "Options.Master"}},
		{"port that hangs up", serveRaw(t, func(c net.Conn) {}), plain, nil, soon, ddb.ErrNoMaster, []string{"hung up without an answer"}},
		{"old ddb", serveRaw(t, func(c net.Conn) { c.Write(oldGreeting()); io.Copy(io.Discard, c) }), plain, nil, soon, ddb.ErrVersion, []string{"same version of ddb"}},
		{"damage in what the follower says first", flipping(true, 3), plain, nil, soon, nil, []string{"damaged on its way"}},
		{"damage in what the follower says", flipping(true, 40), plain, nil, soon, nil, []string{"damaged on its way"}},
		{"damage in what the master says", flipping(false, 30), plain, nil, soon, nil, []string{"damaged on its way"}},
		{"wrong key", keyedMaster, plain, otherKey(), soon, ddb.ErrUnknownNode, []string{"did not prove", "Options.Key"}},
		{"right key through one who passes all on between two TLS connections", relay, secure, clusterKey, soon, ddb.ErrUnknownNode, []string{"did not prove"}},
		{"missing key", keyedMaster, plain, nil, soon, ddb.ErrUnknownNode, []string{"did not prove", "Options.Key"}},
		{"key that the master does not have", plainMaster, plain, clusterKey, soon, ddb.ErrUnknownMaster, []string{"Options.Key", "nothing was taken"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := ddb.Open(t.Context(), testcluster.SQLite.Open(t).DB, ddb.Options{ID: "r1", Role: ddb.Replica, Master: test.address, Transport: test.by, Key: test.key})
			require.NoError(t, err)
			defer r.Close()
			reason := func() string { return r.Nodes()[0].Reason }
			require.Eventually(t, func() bool { return reason() != "not connected yet" }, test.within, time.Millisecond)
			for _, words := range append(test.words, test.address) {
				require.Contains(t, reason(), words)
			}
			_, err = r.Exec("INSERT INTO t VALUES (1)")
			require.ErrorIs(t, err, ddb.ErrNoMaster)
			if test.is != nil && test.is != ddb.ErrNoMaster {
				require.ErrorIs(t, r.WaitReady(t.Context()), test.is)
			}
		})
	}
}

// A keyed replica keeps its data whoever answers in its master's place, and says why it does not follow.
func TestImpostor(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.Tune = func(o *ddb.Options) { o.Key = clusterKey }
		f.OpenAll()
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
		f.Do("INSERT INTO t VALUES (1)")
		f.Level()
		r, cluster := f.Replicas[0], ddb.ClusterID(f.Master.Cluster)
		f.Master.Stop()
		reopen := func(key []byte) {
			t.Helper()
			r.Stop()
			f.Tune = func(o *ddb.Options) { o.Key = key }
			require.NoError(t, f.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
		}
		keeps := func(is error) {
			t.Helper()
			reopen(clusterKey)
			st := waitFor(t, r.Cluster, "r1", func(s ddb.NodeStatus) bool { return s.State == ddb.Failed })
			require.Contains(t, st.Reason, "key")
			require.ErrorIs(t, r.WaitReady(f.Ctx), is)
			var n int
			require.NoError(t, r.Raw.QueryRow("SELECT count(*) FROM t").Scan(&n))
			require.Equal(t, 1, n)
		}
		// One who has no key, and knows everything else.
		l, err := f.Net.Listen(f.Ctx, "master")
		require.NoError(t, err)
		var served sync.WaitGroup
		served.Go(func() { ddb.EvilMaster{Cluster: cluster, Base: ddb.Position{Epoch: 9, LSN: 1 << 40}}.Serve(l) })
		keeps(ddb.ErrUnknownMaster)
		l.Close()
		served.Wait()
		evil := f.NewNode("master")
		f.Tune = func(o *ddb.Options) { o.Key = otherKey() }
		require.NoError(t, f.Open(evil, func(o *ddb.Options) { o.Listen = "master" }))
		keeps(ddb.ErrUnknownNode)
		evil.Stop()
		f.Tune = func(o *ddb.Options) { o.Key = clusterKey }
		f.OpenMaster()
		reopen(clusterKey)
		require.NoError(t, r.WaitReady(f.Ctx))
		f.Do("INSERT INTO t VALUES (2)")
		f.Level()
	})
}

// Without a key nobody can be told from another, yet a master takes no follower back, nor into another cluster, unless Rejoin is set.
func TestTakenBackOnlyByRejoin(t *testing.T) {
	for _, test := range []struct {
		name string
		evil ddb.EvilMaster
		is   error
	}{
		{"an older state of the same cluster", ddb.EvilMaster{Base: ddb.Position{Epoch: 1, LSN: 1}}, ddb.ErrForked},
		{"a newer entry of an older reign", ddb.EvilMaster{Base: ddb.Position{Epoch: 0, LSN: 1 << 40}}, ddb.ErrForked},
		{"another cluster", ddb.EvilMaster{Cluster: "another", Base: ddb.Position{Epoch: 9, LSN: 1 << 40}}, ddb.ErrOtherCluster},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := testcluster.OpenFixture(t, "sqlite", 1)
			f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
			f.Do("INSERT INTO t VALUES (1)")
			f.Level()
			r := f.Replicas[0]
			at := r.Position()
			require.Greater(t, at.LSN, ddb.LSN(1))
			if test.evil.Cluster == "" {
				test.evil.Cluster = ddb.ClusterID(f.Master.Cluster)
			}
			f.Master.Stop()
			l, err := f.Net.Listen(f.Ctx, "master")
			require.NoError(t, err)
			var served sync.WaitGroup
			served.Go(func() { test.evil.Serve(l) })
			defer served.Wait()
			defer l.Close()
			waitFor(t, r.Cluster, "r1", func(s ddb.NodeStatus) bool { return s.State == ddb.Failed })
			wantError(t, r.WaitReady(f.Ctx), test.is, "r1", "Rejoin")
			require.Equal(t, at, r.Position())
			var n int
			require.NoError(t, r.Raw.QueryRow("SELECT count(*) FROM t").Scan(&n))
			require.Equal(t, 1, n)
		})
	}
}

// A master does not listen where strangers reach it unless each node proves something, or the program means it. Nothing is
// done to the database of one that is refused.
func TestListensOpenly(t *testing.T) {
	serverTLS, _ := tlsPair(t)
	mutual := serverTLS.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	own := ddb.NodeAccess{Key: otherKey()}
	for _, test := range []struct {
		name   string
		listen string
		o      ddb.Options
		tls    *tls.Config
		warns  string
		refuse bool
	}{
		{name: "no key", listen: "0.0.0.0:0", refuse: true},
		{name: "no key, all addresses", listen: ":0", refuse: true},
		{name: "no key, IPv6", listen: "[::]:0", refuse: true},
		{name: "no key, TLS without client certificates", listen: "0.0.0.0:0", tls: serverTLS, refuse: true},
		{name: "no key, mutual TLS", listen: "0.0.0.0:0", tls: mutual},
		{name: "no key, this machine", listen: "127.0.0.1:0"},
		{name: "a key", listen: "0.0.0.0:0", o: ddb.Options{Key: clusterKey}},
		{name: "a key that can be guessed", listen: "0.0.0.0:0", o: ddb.Options{Key: []byte("s3cret")}, warns: "may be guessed"},
		{name: "keys of their own", listen: "0.0.0.0:0", o: ddb.Options{Nodes: map[string]ddb.NodeAccess{"r1": own}}},
		{name: "a node without a key", listen: "0.0.0.0:0", o: ddb.Options{Nodes: map[string]ddb.NodeAccess{"r1": own, "r2": {}}}, refuse: true},
		{name: "all others without a key", listen: "0.0.0.0:0", o: ddb.Options{Nodes: map[string]ddb.NodeAccess{"r1": own, "": {}}}, refuse: true},
		{name: "meant", listen: "0.0.0.0:0", o: ddb.Options{AllowInsecure: true}, warns: "whoever reaches this master"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log testcluster.Buffer
			db, o := testcluster.SQLite.Open(t).DB, test.o
			o.Listen, o.Transport, o.Logger = test.listen, tcp.New(tcp.Options{TLS: test.tls}), hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &log})
			m, err := ddb.Open(t.Context(), db, o)
			if test.refuse {
				wantError(t, err, ddb.ErrOptions, "Options.Key", "openssl rand -hex 32", "AllowInsecure", test.listen)
				var tables int
				require.NoError(t, db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables))
				require.Zero(t, tables)
				return
			}
			require.NoError(t, err)
			defer m.Close()
			if test.warns == "" {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, log.String(), test.warns)
			}
			require.NotContains(t, log.String(), "s3cret")
		})
	}
}

// A byte that is damaged on its way between nodes that are connected ends the connection with words, not with wrong
// rows, and they connect again.
func TestDamageInStream(t *testing.T) {
	var damage atomic.Int64 // bytes until one that the master sends is damaged; negative: none
	damage.Store(-1)
	f := testcluster.NewFixture(t, "sqlite", 0)
	f.OpenMaster()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	r := f.NewNode("r1")
	var log testcluster.Buffer
	require.NoError(t, f.Open(r, func(o *ddb.Options) {
		o.Role, o.Master, o.Transport = ddb.Replica, "master", damaging{f.Net, &damage}
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &log})
	}))
	require.NoError(t, r.WaitReady(f.Ctx))
	text := strings.Repeat("0123456789", 50)
	for i := range 8 {
		damage.Store(int64(20 + 60*i))
		f.Do("INSERT INTO t (v) VALUES ('" + text + "')")
		require.Eventually(t, func() bool { return damage.Load() < 0 }, testcluster.Patience, time.Millisecond)
		require.Eventually(t, func() bool { return r.Position() == f.Master.Position() }, testcluster.Patience, time.Millisecond)
		require.Equal(t, f.One(f.Master, "SELECT count(*) FROM t"), f.One(r, "SELECT count(*) FROM t"))
		require.Equal(t, f.One(f.Master, "SELECT sum(length(v)) FROM t"), f.One(r, "SELECT sum(length(v)) FROM t"))
	}
	require.Contains(t, log.String(), "damaged on its way")
}

// damaging flips a bit of one byte that comes.
type damaging struct {
	*inmem.Network
	after *atomic.Int64
}

func (d damaging) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := d.Network.Dial(ctx, address)
	return damagedConn{c, d.after}, err
}

type damagedConn struct {
	net.Conn
	after *atomic.Int64
}

func (c damagedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if at := c.after.Load(); at >= 0 {
		if at < int64(n) {
			p[at] ^= 0x10
			at = -1
		} else {
			at -= int64(n)
		}
		c.after.Store(at)
	}
	return n, err
}
