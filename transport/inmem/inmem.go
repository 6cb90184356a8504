// Package inmem is a network inside one process, for tests and for programs that
// run several nodes side by side.
//
// Its connections buffer up to [BufferSize] bytes in each direction, as a socket
// does, and block only on condition variables and timers, so that everything
// works inside a [testing/synctest] bubble: a goroutine that waits for the
// network is durably blocked, and deadlines follow the bubble's clock.
package inmem

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/ddb-project/ddb/transport"
)

const (
	// BufferSize is how many bytes a connection holds in each direction before
	// Write blocks.
	BufferSize = 256 << 10

	// Backlog is how many connections may wait for Accept. A further Dial is
	// refused.
	Backlog = 128
)

var _ transport.Transport = (*Network)(nil)

// Network is a set of named listeners. Networks are separate from each other:
// the same name in two of them means two listeners. It is safe for concurrent
// use; make one with [New].
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	unnamed   int // how many names Listen has made up
}

// New returns an empty network.
func New() *Network {
	return &Network{listeners: make(map[string]*listener)}
}

// Exposed is false: a network of this kind ends with its process.
func (n *Network) Exposed(string) (bool, string) { return false, "it is inside this process" }

// Listen takes the name address on this network. Any string is a name; for the
// empty one Listen makes up a name, to be had from the listener's Addr.
func (n *Network) Listen(ctx context.Context, address string) (net.Listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if address == "" {
		address = n.makeName()
	}
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("listen on %q: %w; close its listener first or choose another name", address, syscall.EADDRINUSE)
	}
	l := &listener{
		network: n,
		addr:    Addr(address),
		conns:   make(chan *conn, Backlog),
		done:    make(chan struct{}),
	}
	n.listeners[address] = l
	return l, nil
}

// makeName returns a name that is free. The caller holds n.mu.
func (n *Network) makeName() string {
	for {
		n.unnamed++
		if name := fmt.Sprintf("#%d", n.unnamed); n.listeners[name] == nil {
			return name
		}
	}
}

// Dial connects to the listener named address. As with TCP it does not wait for
// the listener to accept.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[address]
	if l == nil {
		return nil, fmt.Errorf("dial %q: nobody listens there: %w", address, syscall.ECONNREFUSED)
	}
	client, server := newConns(Addr("dialer of "+address), Addr(address))
	select {
	case l.conns <- server:
		return client, nil
	default:
		return nil, fmt.Errorf("dial %q: %d connections already wait for Accept: %w", address, Backlog, syscall.ECONNREFUSED)
	}
}

// Addr is the name of a listener.
type Addr string

// Network returns "inmem".
func (Addr) Network() string { return "inmem" }

// String returns the name.
func (a Addr) String() string { return string(a) }

// listener hands out what Dial put in conns. Dial sends and Close drains with
// network.mu held, so no connection is left in conns after Close.
type listener struct {
	network *Network
	addr    Addr
	conns   chan *conn
	done    chan struct{} // closed by Close
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

func (l *listener) closedError() error {
	return fmt.Errorf("accept on %q: %w", string(l.addr), net.ErrClosed)
}

// Close frees the name and breaks the connections that nobody has accepted.
func (l *listener) Close() error {
	err := l.closedError()
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.addr))
		close(l.done)
		l.network.mu.Unlock()
		for {
			select {
			case c := <-l.conns:
				_ = c.Close() // the first Close of a conn cannot fail
			default:
				err = nil
				return
			}
		}
	})
	return err
}

func (l *listener) Addr() net.Addr { return l.addr }
