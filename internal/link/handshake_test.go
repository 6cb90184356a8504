package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/transport/inmem"
)

// meeting is a follower that shakes hands with a master, by way of somebody in between if there is one.
type meeting struct {
	key, masterKey []byte                          // of the follower and of the master
	between        func(follower, master net.Conn) // passes on what it likes; nil: they are connected
	ends           func(c net.Conn, i int) net.Conn
}

// met is what came of it.
type met struct {
	follower, master error
	wanted           bool // the master was about to let the follower in
}

// run must be within a bubble of synctest.
// keys are those of the follower.
func (m meeting) keys() [][]byte {
	if len(m.key) == 0 {
		return nil
	}
	return [][]byte{m.key}
}

func (m meeting) run(t *testing.T) (r met) {
	network := inmem.New()
	l, err := network.Listen(t.Context(), "m")
	require.NoError(t, err)
	defer l.Close()
	dial := func() (there, here net.Conn) {
		there, err := network.Dial(t.Context(), "m")
		require.NoError(t, err)
		here, err = l.Accept()
		require.NoError(t, err)
		return there, here
	}
	follower, master := dial()
	var all sync.WaitGroup
	if m.between != nil {
		middle, other := master, net.Conn(nil)
		other, master = dial()
		all.Go(func() {
			m.between(middle, other)
			middle.Close()
			other.Close()
		})
	}
	if m.ends != nil {
		follower, master = m.ends(follower, 0), m.ends(master, 1)
	}
	key := m.masterKey
	all.Go(func() {
		defer master.Close()
		_, _, r.master = Greet(master, Greeting{Cluster: "c", Master: "m", Epoch: 1}, func(h Hello, proves func([]byte) bool) (Welcome, []byte, error) {
			if len(key) > 0 && !proves(key) {
				return Welcome{}, nil, fmt.Errorf("%w: no proof", fault.ErrUnknownNode)
			}
			r.wanted = true
			return Welcome{Number: 7}, key, nil
		})
	})
	defer all.Wait()
	defer follower.Close()
	_, _, r.follower = Introduce(follower, m.keys(), func(Greeting) (Hello, error) {
		return Hello{ID: "r1", Role: health.Replica, Dialect: "sqlite"}, nil
	})
	return r
}

// pass passes everything on, changed by one function for each direction.
func pass(up, down func([]byte) []byte) func(follower, master net.Conn) {
	return func(follower, master net.Conn) {
		one := func(to, from net.Conn, change func([]byte) []byte) {
			defer to.(interface{ CloseWrite() error }).CloseWrite()
			b := make([]byte, 1<<10)
			for {
				n, err := from.Read(b)
				if n > 0 {
					if _, err := to.Write(change(b[:n])); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		}
		var both sync.WaitGroup
		both.Go(func() { one(master, follower, up) })
		both.Go(func() { one(follower, master, down) })
		both.Wait()
	}
}

func unchanged(b []byte) []byte { return b }

// flip changes byte i of what passes.
func flip(i int, by byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		if i >= 0 && i < len(b) {
			b[i] ^= by
		}
		i -= len(b)
		return b
	}
}

// Whatever byte of the handshake is flipped on its way, the follower is not let in and is told of no other version.
func TestHandshakeFlips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, key := range [][]byte{nil, []byte("a key of this cluster")} {
			var up, down int
			r := meeting{key: key, masterKey: key, between: pass(
				func(b []byte) []byte { up += len(b); return b }, func(b []byte) []byte { down += len(b); return b })}.run(t)
			require.NoError(t, errors.Join(r.follower, r.master))
			require.True(t, r.wanted)
			for i := range up + down {
				for _, by := range []byte{1, 0x80, 0xff} {
					m := meeting{key: key, masterKey: key, between: pass(flip(i, by), unchanged)}
					if i >= up {
						m.between = pass(unchanged, flip(i-up, by))
					}
					r := m.run(t)
					require.Error(t, r.follower, "byte %d", i)
					require.False(t, errors.Is(r.follower, fault.ErrVersion), "byte %d: %v", i, r.follower)
					require.False(t, errors.Is(r.follower, io.EOF), "byte %d: %v", i, r.follower)
					require.ErrorContains(t, r.follower, "damaged", "byte %d by %x", i, by)
					if i < up {
						require.False(t, r.wanted, "byte %d", i)
					}
				}
			}
		}
	})
}

// retell passes messages on, those of a kind changed at byte i, with sums that are right again.
func retell(kind uint8, i int, by byte, changed *bool) func(follower, master net.Conn) {
	return func(follower, master net.Conn) {
		first := make([]byte, len(Preamble(0, 0)))
		if _, err := io.ReadFull(follower, first); err != nil {
			return
		}
		master.Write(first)
		f, m := wire.NewConn(follower, helloBytes), wire.NewConn(master, helloBytes)
		for _, step := range [][2]*wire.Conn{{m, f}, {f, m}, {f, m}, {m, f}, {m, f}} {
			got, payload, err := step[0].Read()
			if err != nil {
				return
			}
			if got == kind {
				if i >= 0 && i < len(payload) {
					payload[i] ^= by
					*changed = true
				}
				i -= len(payload) // of two proofs the second comes after the first
			}
			step[1].WritePayload(got, payload)
		}
	}
}

// One who changes what is said, with right sums, gets no follower in and no follower to adopt anything, if there is a key.
func TestHandshakeRetold(t *testing.T) {
	key := []byte("a key of this cluster")
	synctest.Test(t, func(t *testing.T) {
		r := meeting{key: key, masterKey: key, between: retell(0, 0, 0, nil)}.run(t)
		require.NoError(t, errors.Join(r.follower, r.master))
		for _, kind := range []uint8{MsgGreeting, MsgHello, MsgProof, MsgWelcome} {
			for i, changed := 0, true; changed; i++ {
				for _, by := range []byte{1, 0x20, 0xff} {
					changed = false
					r := meeting{key: key, masterKey: key, between: retell(kind, i, by, &changed)}.run(t)
					if !changed {
						require.Greater(t, i, 2)
						continue
					}
					require.Error(t, r.follower, "kind %d byte %d", kind, i)
					if kind == MsgGreeting || kind == MsgHello {
						require.False(t, r.wanted, "kind %d byte %d", kind, i)
					}
				}
			}
		}
	})
}

// recorded is what a follower said to a master that let it in.
func recorded(t *testing.T, key []byte) (up []byte) {
	r := meeting{key: key, masterKey: key, between: pass(func(b []byte) []byte { up = append(up, b...); return b }, unchanged)}.run(t)
	require.NoError(t, errors.Join(r.follower, r.master))
	return up
}

// boundConn is a connection as over TLS.
type boundConn struct {
	net.Conn
	binding string
}

func (c boundConn) Binding() ([]byte, error) { return []byte(c.binding), nil }

// What is proved is proved to one other, once, over one connection.
func TestHandshakeAttacks(t *testing.T) {
	key := []byte("a key of this cluster")
	discard := func(c net.Conn) { io.Copy(io.Discard, c) }
	for _, test := range []struct {
		name           string
		m              func(t *testing.T) meeting
		master, follow error
	}{
		{"no key on the follower", func(*testing.T) meeting { return meeting{masterKey: key} }, fault.ErrUnknownNode, fault.ErrUnknownNode},
		{"another key on the follower", func(*testing.T) meeting { return meeting{key: []byte("another"), masterKey: key} }, fault.ErrUnknownNode, fault.ErrUnknownNode},
		{"no key on the master", func(*testing.T) meeting { return meeting{key: key} }, nil, fault.ErrUnknownMaster},
		{"the follower's words again", func(t *testing.T) meeting {
			up := recorded(t, key)
			return meeting{key: key, masterKey: key, between: func(follower, master net.Conn) {
				master.Write(up)
				discard(master)
			}}
		}, fault.ErrUnknownNode, io.EOF},
		{"the follower's proof sent back to it", func(*testing.T) meeting {
			return meeting{key: key, masterKey: key, between: func(follower, _ net.Conn) {
				io.ReadFull(follower, make([]byte, len(Preamble(0, 0))))
				w := wire.NewConn(follower, helloBytes)
				w.Write(MsgGreeting, Greeting{Protocol: protocolVersion, Cluster: "c", Master: "m", Nonce: nonce()})
				w.Read()
				_, proof, _ := w.Read()
				w.Write(MsgWelcome, Welcome{Snapshot: true})
				w.WritePayload(MsgProof, proof)
				discard(follower)
			}}
		}, ErrHungUp, fault.ErrUnknownMaster},
		{"the greeting of another master with the same key", func(*testing.T) meeting {
			return meeting{key: key, masterKey: key, between: func(follower, master net.Conn) {
				first := make([]byte, len(Preamble(0, 0)))
				io.ReadFull(follower, first)
				master.Write(first)
				f, m := wire.NewConn(follower, helloBytes), wire.NewConn(master, helloBytes)
				_, payload, _ := m.Read()
				g, _ := wire.Decode[Greeting](payload)
				g.Cluster, g.Master = "another", "evil" // but the nonce of the one whom it wants to get in at
				f.Write(MsgGreeting, g)
				for range 2 {
					kind, payload, _ := f.Read()
					m.WritePayload(kind, payload)
				}
				kind, payload, _ := m.Read()
				f.WritePayload(kind, payload)
			}}
		}, fault.ErrUnknownNode, fault.ErrUnknownNode},
		{"one in between who has a binding with each", func(*testing.T) meeting {
			return meeting{key: key, masterKey: key, between: pass(unchanged, unchanged),
				ends: func(c net.Conn, i int) net.Conn { return boundConn{c, fmt.Sprint("binding ", i)} }}
		}, fault.ErrUnknownNode, fault.ErrUnknownNode},
		{"TLS that ends in between", func(*testing.T) meeting {
			return meeting{key: key, masterKey: key, between: pass(unchanged, unchanged),
				ends: func(c net.Conn, i int) net.Conn {
					if i == 0 {
						return boundConn{c, "binding"}
					}
					return c
				}}
		}, nil, fault.ErrUnknownMaster},
		{"one binding", func(*testing.T) meeting {
			return meeting{key: key, masterKey: key, ends: func(c net.Conn, i int) net.Conn { return boundConn{c, "binding"} }}
		}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.m(t).run(t)
				if test.follow == nil {
					require.NoError(t, errors.Join(r.follower, r.master))
					return
				}
				require.ErrorIs(t, r.follower, test.follow)
				if test.master != nil {
					require.ErrorIs(t, r.master, test.master)
					require.False(t, r.wanted)
				}
			})
		})
	}
}

// A hello is refused whatever in it is not as a follower says it, and the words repeat none of it.
func TestHelloChecked(t *testing.T) {
	good := Hello{ID: "r1", Role: health.Replica, Dialect: "sqlite", Nonce: nonce()}
	require.NoError(t, good.CheckNames())
	const evil = "x\n2026-01-01 [ERROR] the disk is full"
	for _, change := range []func(*Hello){
		func(h *Hello) { h.ID = evil }, func(h *Hello) { h.ID = "" }, func(h *Hello) { h.Role = evil }, func(h *Hello) { h.Role = health.Master },
		func(h *Hello) { h.Dialect = evil }, func(h *Hello) { h.Cluster = evil }, func(h *Hello) { h.Queue = evil }, func(h *Hello) { h.Nonce = nil },
	} {
		h := good
		change(&h)
		require.ErrorIs(t, h.CheckNames(), fault.ErrOptions)
		require.NotContains(t, h.CheckNames().Error(), "disk")
	}
}

// One who says nothing is told, after a moment, in the words for a ddb that waits for the listener's first word.
func TestHandshakeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := inmem.New()
		l, err := network.Listen(t.Context(), "m")
		require.NoError(t, err)
		defer l.Close()
		old, err := network.Dial(t.Context(), "m")
		require.NoError(t, err)
		defer old.Close()
		conn, err := l.Accept()
		require.NoError(t, err)
		go func() {
			defer conn.Close()
			Greet(conn, Greeting{}, nil)
		}()
		start := time.Now()
		kind, payload, err := wire.NewConn(old, 0).Read()
		require.NoError(t, err)
		require.Equal(t, MsgRefusal, kind)
		r, err := wire.Decode[Refusal](payload)
		require.NoError(t, err)
		require.ErrorIs(t, r.Err(), fault.ErrVersion)
		require.Equal(t, firstWord, time.Since(start))
	})
}
