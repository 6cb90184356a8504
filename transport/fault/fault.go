// Package fault wraps a transport and makes its links fail as real ones do: cut
// with an error, silent, slow, narrow, or broken after some bytes.
//
// A link is named by the address that is dialed, and it can be cut at either end:
// wrap one network once and share it to cut a node off from everybody, or give
// each node a wrapper of its own to cut single directions. Everything follows the
// clock of a [testing/synctest] bubble.
//
// Latency and bandwidth count on the way out, once per wrapped end.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/transport"
)

// ErrCut is the error of a connection that [Transport.Cut] broke and of a Dial
// across such a link. Both are also [syscall.ECONNRESET] or
// [syscall.ECONNREFUSED], as they would be without this package.
var ErrCut = errors.New("the link is cut")

// ErrLost is the error of a connection that [Transport.SetLoss] broke. It is also
// [syscall.ECONNRESET].
var ErrLost = errors.New("the connection broke at random")

// queueLimit is how many bytes a delayed connection holds before Write blocks.
const queueLimit = 256 << 10

// chunkSize is the step in which a delayed connection releases bytes.
const chunkSize = 16 << 10

// lossBlock is the number of bytes to which the probability of SetLoss applies.
const lossBlock = 64 << 10

// linger bounds how long Close waits, after the last byte is due, for the inner
// connection to take what was written.
const linger = time.Second

var _ transport.Transport = (*Transport)(nil)

type state uint8

const (
	whole  state = iota
	broken       // connections break, Dial is refused
	silent       // bytes stop, Dial waits
)

// Transport is a [transport.Transport] with faults. It is safe for concurrent
// use; make one with [New].
type Transport struct {
	inner transport.Transport

	mu        sync.Mutex // guards what follows; taken before a conn's own
	all       state
	links     map[string]state
	changed   chan struct{} // closed and replaced when all or links change
	conns     map[*conn]struct{}
	latency   time.Duration
	bandwidth int64
	loss      float64
	losses    int // how often SetLoss was called
	seed      uint64
	drawn     map[string]uint64 // connections seen per link, so that each draws its own
}

// New returns a transport over inner that as yet has no faults.
func New(inner transport.Transport) *Transport {
	return &Transport{
		inner:   inner,
		links:   make(map[string]state),
		changed: make(chan struct{}),
		conns:   make(map[*conn]struct{}),
		seed:    1,
		drawn:   make(map[string]uint64),
	}
}

// Cut breaks the link to address: its connections fail at once with [ErrCut], and
// so does Dial, until Heal.
func (t *Transport) Cut(address string) { t.set(address, broken) }

// Hang silences the link to address: its connections stay open but move nothing,
// and Dial waits until its context ends or the link heals. After Heal the bytes
// move on, as they do over TCP when a cable is plugged in again.
//
// A Close is not held up: unless both ends are wrapped by one Transport the peer
// sees it across the silence.
func (t *Transport) Hang(address string) { t.set(address, silent) }

// Heal undoes Cut and Hang for address. Connections that broke stay broken.
// CutAll and HangAll stay in force.
func (t *Transport) Heal(address string) { t.set(address, whole) }

// CutAll is Cut for every link, those to come included.
func (t *Transport) CutAll() { t.setAll(broken) }

// HangAll is Hang for every link, those to come included.
func (t *Transport) HangAll() { t.setAll(silent) }

// HealAll undoes every Cut, Hang, CutAll and HangAll.
func (t *Transport) HealAll() {
	t.mu.Lock()
	clear(t.links)
	t.mu.Unlock()
	t.setAll(whole)
}

func (t *Transport) set(address string, s state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links[address] = s
	t.applyLocked()
}

func (t *Transport) setAll(s state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = s
	t.applyLocked()
}

// applyLocked brings the connections in line with the links. All are marked
// before the first is closed, so that no end mistakes the cut for a farewell.
func (t *Transport) applyLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
	var cut []*conn
	for c := range t.conns {
		s := t.stateLocked(c.links...)
		c.setSilent(s == silent)
		if s == broken && c.fail(c.cutError()) {
			cut = append(cut, c)
		}
	}
	for _, c := range cut {
		_ = c.inner.Close()
		delete(t.conns, c)
	}
}

// stateLocked returns the worst state of a link that goes by these names.
func (t *Transport) stateLocked(names ...string) state {
	worst := t.all
	for _, name := range names {
		if s := t.links[name]; s == broken || worst == whole {
			worst = s
		}
	}
	return worst
}

// SetLatency delays every byte by d on its way out, and Dial by d. 0 ends it.
func (t *Transport) SetLatency(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latency = max(d, 0)
	for c := range t.conns {
		c.setDelay(t.latency, t.bandwidth)
	}
}

// SetBandwidth limits each connection to this many bytes per second in each
// direction. 0 means no limit.
func (t *Transport) SetBandwidth(bytesPerSecond int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bandwidth = max(bytesPerSecond, 0)
	for c := range t.conns {
		c.setDelay(t.latency, t.bandwidth)
	}
}

// SetLoss makes connections break, now and later ones: p, from 0 to 1, is the
// probability that an end breaks within the next 64 KiB that it sends. Where it
// breaks is drawn from the seed, the link and the number of the connection on
// that link, so a run with the same connections breaks at the same bytes.
func (t *Transport) SetLoss(p float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loss = min(max(p, 0), 1)
	t.losses++
	for c := range t.conns {
		c.drawLoss(t.loss, t.losses)
	}
}

// SetSeed sets what SetLoss draws from, for connections made later. Default 1.
func (t *Transport) SetSeed(seed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seed = seed
}

// Exposed is what the inner transport says.
func (t *Transport) Exposed(address string) (bool, string) {
	if e, ok := t.inner.(transport.Exposure); ok {
		return e.Exposed(address)
	}
	return false, "the transport does not say"
}

// Listen listens on the inner transport. Its connections belong to the links
// named address and the listener's Addr.
func (t *Transport) Listen(ctx context.Context, address string) (net.Listener, error) {
	inner, err := t.inner.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	links := []string{inner.Addr().String()}
	if address != links[0] {
		links = append(links, address)
	}
	return &listener{Listener: inner, transport: t, links: links}, nil
}

// Dial dials on the inner transport. The connection belongs to the link named
// address.
func (t *Transport) Dial(ctx context.Context, address string) (net.Conn, error) {
	if err := t.waitForLink(ctx, address); err != nil {
		return nil, err
	}
	inner, err := t.inner.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c, err := t.adopt(inner, "dial", []string{address})
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	return c, nil
}

// waitForLink returns when the link is not silent and the latency has passed.
func (t *Transport) waitForLink(ctx context.Context, address string) error {
	delayed := false
	for {
		t.mu.Lock()
		s, changed, latency := t.stateLocked(address), t.changed, t.latency
		t.mu.Unlock()
		var timer <-chan time.Time
		switch {
		case s == broken:
			return refused(address)
		case s == whole && (delayed || latency == 0):
			return nil
		case s == whole:
			timer = time.After(latency)
		}
		select {
		case <-timer:
			delayed = true
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("dial %s: %w", address, ctx.Err())
		}
	}
}

func refused(address string) error {
	return fmt.Errorf("dial %s: %w (%w)", address, ErrCut, syscall.ECONNREFUSED)
}

// adopt wraps a connection and enters it in conns, in the state that its link has
// at this moment.
func (t *Transport) adopt(inner net.Conn, side string, links []string) (*conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stateLocked(links...)
	if s == broken {
		return nil, refused(links[0])
	}
	key := side + " " + links[0]
	t.drawn[key]++
	c := newConn(t, inner, links, t.seed, key, t.drawn[key])
	c.silent = s == silent
	c.setDelay(t.latency, t.bandwidth)
	if t.losses > 0 {
		c.drawLoss(t.loss, t.losses)
	}
	t.conns[c] = struct{}{}
	return c, nil
}

func (t *Transport) forget(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

type listener struct {
	net.Listener
	transport *Transport
	links     []string
}

// Accept drops connections that arrive over a link that is cut.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, err := l.transport.adopt(inner, "accept", l.links)
		if err == nil {
			return c, nil
		}
		_ = inner.Close()
	}
}
