package fault

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/internal/deadline"
	"github.com/ddb-project/ddb/transport"
)

// conn passes bytes straight through while its link is whole and has no delay.
// Otherwise Write queues them and the pump, a goroutine that lives only while the
// queue holds something, releases them when they are due.
type conn struct {
	transport *Transport
	inner     net.Conn
	links     []string
	pumps     sync.WaitGroup

	mu        sync.Mutex // guards what follows; not held while inner blocks
	changed   *sync.Cond // broadcast after any change of it
	err       error      // why the connection is over
	closing   bool
	silent    bool
	latency   time.Duration
	bandwidth int64 // bytes per second; 0 means no limit

	// Reading. What arrives while the link is silent is kept until it heals.
	held         []byte
	heldErr      error
	readDeadline deadline.Deadline

	// Writing.
	writing       bool // one Write at a time
	queue         []chunk
	queued        int
	pumping       bool
	linkFree      time.Time // when the bandwidth lets the next byte go
	lastDue       time.Time
	writeErr      error // of the pump
	writeDeadline deadline.Deadline
	writeAt       time.Time // when writeDeadline passes
	through       bool      // a Write is in inner.Write

	// Loss.
	random *rand.Rand
	draws  int
	left   int64 // bytes until the break; negative means none
}

type chunk struct {
	data []byte
	due  time.Time
}

func newConn(t *Transport, inner net.Conn, links []string, seed uint64, key string, number uint64) *conn {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d", key, number)
	c := &conn{
		transport: t,
		inner:     inner,
		links:     links,
		random:    rand.New(rand.NewPCG(seed, hash.Sum64())),
		left:      -1,
	}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *conn) cutError() error {
	return fmt.Errorf("connection over %s: %w (%w)", c.links[0], ErrCut, syscall.ECONNRESET)
}

// fail ends the connection with err and reports whether it was alive until then.
// The caller then closes inner, with c.mu released.
func (c *conn) fail(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failLocked(err)
}

func (c *conn) failLocked(err error) bool {
	if c.err != nil {
		return false
	}
	c.err = err
	c.queue, c.queued, c.held = nil, 0, nil
	c.changed.Broadcast()
	return true
}

func (c *conn) setSilent(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = silent
	c.changed.Broadcast()
}

func (c *conn) setDelay(latency time.Duration, bandwidth int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency, c.bandwidth = latency, bandwidth
}

// drawLoss draws the byte at which the connection breaks. The number of bytes
// survived has an exponential distribution, which has no memory: it does not
// matter how many were sent before.
func (c *conn) drawLoss(p float64, draw int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draws == draw {
		return
	}
	c.draws = draw
	switch {
	case p <= 0:
		c.left = -1
	case p >= 1:
		c.left = c.random.Int64N(lossBlock)
	default:
		bytes := c.random.ExpFloat64() * lossBlock / -math.Log1p(-p)
		c.left = int64(min(bytes, math.MaxInt64/2))
	}
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closing:
			return 0, net.ErrClosed
		case c.err != nil:
			return 0, c.err
		case c.readDeadline.Passed():
			return 0, os.ErrDeadlineExceeded
		case c.silent:
			c.changed.Wait()
			continue
		case len(c.held) > 0:
			n := copy(p, c.held)
			c.held = c.held[n:]
			return n, nil
		case c.heldErr != nil:
			return 0, c.heldErr
		}
		c.mu.Unlock()
		n, err := c.inner.Read(p)
		c.mu.Lock()
		switch {
		case c.closing || c.err != nil:
			// The loop tells why.
		case c.silent:
			c.held = append(c.held, p[:n]...)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				c.heldErr = err
			}
		default:
			return n, err
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writing {
		if err := c.writeStateLocked(); err != nil {
			return 0, err
		}
		c.changed.Wait()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.changed.Broadcast()
	}()
	allowed := p
	if c.left >= 0 && int64(len(p)) > c.left {
		allowed = p[:c.left]
	}
	n, err := c.writeLocked(allowed)
	if c.left >= 0 {
		c.left = max(c.left-int64(n), 0)
	}
	if err == nil && n < len(p) {
		err = fmt.Errorf("connection over %s: %w (%w)", c.links[0], ErrLost, syscall.ECONNRESET)
		c.loseLocked(err)
	}
	return n, err
}

// loseLocked breaks the connection after the bytes before the break have gone.
func (c *conn) loseLocked(err error) {
	c.drainLocked()
	if c.failLocked(err) {
		c.mu.Unlock()
		_ = c.inner.Close()
		c.transport.forget(c)
		c.mu.Lock()
	}
}

func (c *conn) writeStateLocked() error {
	switch {
	case c.closing:
		return net.ErrClosed
	case c.err != nil:
		return c.err
	case c.writeDeadline.Passed():
		return os.ErrDeadlineExceeded
	}
	return c.writeErr
}

func (c *conn) writeLocked(p []byte) (int, error) {
	written := 0
	for {
		if err := c.writeStateLocked(); err != nil {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
		if !c.silent && !c.pumping && c.latency == 0 && c.bandwidth == 0 {
			n, err := c.writeThroughLocked(p[written:])
			return written + n, err
		}
		if c.queued >= queueLimit {
			c.changed.Wait()
			continue
		}
		n := min(len(p)-written, chunkSize)
		c.enqueueLocked(p[written : written+n])
		written += n
	}
}

// writeThroughLocked writes to the inner connection under the caller's deadline,
// which at other times inner does not have, lest it hit the pump.
func (c *conn) writeThroughLocked(p []byte) (int, error) {
	c.through = true
	if !c.writeAt.IsZero() {
		_ = c.inner.SetWriteDeadline(c.writeAt) // fails only if Write fails too
	}
	c.mu.Unlock()
	n, err := c.inner.Write(p)
	c.mu.Lock()
	c.through = false
	if !c.writeAt.IsZero() {
		_ = c.inner.SetWriteDeadline(time.Time{})
	}
	switch {
	case c.closing:
		err = net.ErrClosed
	case c.err != nil:
		err = c.err
	}
	return n, err
}

func (c *conn) enqueueLocked(p []byte) {
	due := time.Now()
	if c.bandwidth > 0 {
		if c.linkFree.Before(due) {
			c.linkFree = due
		}
		c.linkFree = c.linkFree.Add(time.Duration(float64(len(p)) / float64(c.bandwidth) * float64(time.Second)))
		due = c.linkFree
	}
	due = due.Add(c.latency)
	if due.Before(c.lastDue) {
		due = c.lastDue // bytes never overtake each other
	}
	c.lastDue = due
	c.queue = append(c.queue, chunk{data: append([]byte(nil), p...), due: due})
	c.queued += len(p)
	if !c.pumping {
		c.pumping = true
		c.pumps.Go(c.pump)
	}
}

// pump writes the queue to the inner connection and ends when it is empty or the
// connection is over. Close waits for it.
func (c *conn) pump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		c.pumping = false
		c.changed.Broadcast()
	}()
	for c.err == nil && len(c.queue) > 0 {
		if c.silent {
			c.changed.Wait()
			continue
		}
		head := c.queue[0]
		if wait := time.Until(head.due); wait > 0 {
			c.waitLocked(wait)
			continue
		}
		c.queue = c.queue[1:]
		c.mu.Unlock()
		_, err := c.inner.Write(head.data)
		c.mu.Lock()
		if c.err == nil {
			c.queued -= len(head.data)
		}
		if err != nil {
			c.writeErr = err
			c.queue, c.queued = nil, 0
		}
		c.changed.Broadcast()
	}
}

// waitLocked waits for a change, but no longer than d.
func (c *conn) waitLocked(d time.Duration) {
	timer := time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	c.changed.Wait()
	timer.Stop()
}

// drainLocked waits until the pump has written what is queued, as a socket goes on
// sending after its Close, but not across a silent link and not for ever.
func (c *conn) drainLocked() {
	limit := time.Now()
	if c.lastDue.After(limit) {
		limit = c.lastDue
	}
	limit = limit.Add(linger)
	for c.pumping && c.err == nil && !c.silent {
		wait := time.Until(limit)
		if wait <= 0 {
			return
		}
		c.waitLocked(wait)
	}
}

// Close first waits for what was written to be on its way: at most the delay that
// the link has, and a second.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closing = true
	c.changed.Broadcast()
	c.drainLocked()
	alive := c.failLocked(net.ErrClosed)
	c.readDeadline.Set(c.changed, time.Time{})
	c.writeDeadline.Set(c.changed, time.Time{})
	c.mu.Unlock()
	var err error
	if alive {
		err = c.inner.Close()
	}
	c.pumps.Wait()
	c.transport.forget(c)
	return err
}

// Binding is that of the inner connection.
func (c *conn) Binding() ([]byte, error) {
	if b, ok := c.inner.(transport.Bound); ok {
		return b.Binding()
	}
	return nil, nil
}

func (c *conn) LocalAddr() net.Addr  { return c.inner.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.inner.RemoteAddr() }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.readDeadline.Set(c.changed, t)
	c.mu.Unlock()
	return c.inner.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	c.writeDeadline.Set(c.changed, t)
	c.writeAt = t
	if c.through {
		return c.inner.SetWriteDeadline(t)
	}
	return nil
}
