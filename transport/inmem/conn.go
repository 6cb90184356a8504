package inmem

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/internal/deadline"
)

// conn is one end of a connection: two halves, each shared with the other end.
type conn struct {
	in, out       *half
	local, remote Addr
}

// newConns returns the two ends of a connection.
func newConns(dialer, listener Addr) (client, server *conn) {
	a, b := newHalf(), newHalf()
	client = &conn{in: a, out: b, local: dialer, remote: listener}
	server = &conn{in: b, out: a, local: listener, remote: dialer}
	return client, server
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.receive(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.send(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// CloseWrite tells the peer that nothing more comes. Reading goes on.
func (c *conn) CloseWrite() error {
	if !c.out.closeSending() {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// Close ends both directions. What was written before can still be read by the
// peer; what was not yet read here is dropped.
func (c *conn) Close() error {
	c.out.closeSending()
	if !c.in.closeReceiving() {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.receiverGone {
		return c.opError("set read deadline", net.ErrClosed)
	}
	c.in.receiveDeadline.Set(c.in.changed, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.senderGone && c.out.receiverGone {
		return c.opError("set write deadline", net.ErrClosed)
	}
	c.out.sendDeadline.Set(c.out.changed, t)
	return nil
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "inmem", Source: c.local, Addr: c.remote, Err: err}
}

// half carries bytes one way. mu guards all fields and is never held while
// waiting, other than in changed.Wait.
type half struct {
	mu              sync.Mutex
	changed         *sync.Cond // broadcast after any change of a field below
	data            []byte     // data[start:] is yet to be received
	start           int
	sending         bool // a send is between its first and its last byte
	senderGone      bool // the sender closed: receive ends with io.EOF
	receiverGone    bool // the receiver closed: send fails
	receiveDeadline deadline.Deadline
	sendDeadline    deadline.Deadline
}

func newHalf() *half {
	h := new(half)
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *half) receive(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.receiverGone:
			return 0, net.ErrClosed
		case h.receiveDeadline.Passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.start < len(h.data):
			n := copy(p, h.data[h.start:])
			h.start += n
			if h.start == len(h.data) {
				h.data, h.start = h.data[:0], 0
			}
			h.changed.Broadcast()
			return n, nil
		case h.senderGone:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

// send copies p into the buffer in as many steps as its room asks for. The bytes
// of one call stay together, whoever else sends.
func (h *half) send(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine, sent := false, 0
	defer func() {
		if mine {
			h.sending = false
			h.changed.Broadcast()
		}
	}()
	for {
		switch {
		case h.senderGone:
			return sent, net.ErrClosed
		case h.sendDeadline.Passed():
			return sent, os.ErrDeadlineExceeded
		case h.receiverGone:
			return sent, syscall.EPIPE
		case !mine && h.sending:
			// Another call is at it.
		case sent == len(p):
			return sent, nil
		default:
			mine, h.sending = true, true
			if n := h.put(p[sent:]); n > 0 {
				sent += n
				h.changed.Broadcast()
				continue
			}
		}
		h.changed.Wait()
	}
}

// put appends what fits of p and returns how much that was.
func (h *half) put(p []byte) int {
	n := min(len(p), BufferSize-(len(h.data)-h.start))
	if n > 0 && h.start > 0 && len(h.data)+n > cap(h.data) {
		h.data = h.data[:copy(h.data, h.data[h.start:])]
		h.start = 0
	}
	h.data = append(h.data, p[:n]...)
	return n
}

// closeSending reports whether this was the first call.
func (h *half) closeSending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.senderGone
	h.senderGone = true
	h.sendDeadline.Set(h.changed, time.Time{})
	return first
}

// closeReceiving reports whether this was the first call.
func (h *half) closeReceiving() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.receiverGone
	h.receiverGone = true
	h.data, h.start = nil, 0
	h.receiveDeadline.Set(h.changed, time.Time{})
	return first
}
