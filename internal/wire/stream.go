package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ddb-project/ddb/internal/deadline"
)

// stream is one net.Conn of a session.
type stream struct {
	session *Session
	id      uint32

	mu            sync.Mutex // guards what follows; never held while a frame is sent
	changed       *sync.Cond // broadcast after any change of it
	unanswered    bool       // opened here and not yet acknowledged
	data          []byte     // data[start:] is yet to be read
	start         int
	credit        int    // bytes that the peer may still send
	window        uint32 // bytes that may still be sent
	writing       bool   // one Write at a time
	inFlight      bool   // Write is sending a frame
	finished      bool   // the peer sends nothing more
	finSent       bool
	closed        bool
	err           error // reset, or the session is over
	readDeadline  deadline.Deadline
	writeDeadline deadline.Deadline
}

func newStream(s *Session, id uint32) *stream {
	st := &stream{session: s, id: id, credit: s.config.Window, window: initialWindow}
	st.changed = sync.NewCond(&st.mu)
	return st
}

// acknowledge notes that the peer knows the stream, or has refused it.
func (st *stream) acknowledge() {
	st.mu.Lock()
	was := st.unanswered
	st.unanswered = false
	st.mu.Unlock()
	if was {
		st.session.answered()
	}
}

// widen lets n more bytes be sent.
func (st *stream) widen(n uint32) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.window+n < n {
		return fmt.Errorf("%w: the window of stream %d overflows", errProtocol, st.id)
	}
	st.window += n
	st.changed.Broadcast()
	return nil
}

// deliver appends what has arrived.
func (st *stream) deliver(body []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed || st.finished {
		return nil
	}
	if len(body) > st.credit {
		return fmt.Errorf("%w: it sent more on stream %d than it may", errProtocol, st.id)
	}
	st.credit -= len(body)
	if st.start > 0 && len(st.data)+len(body) > cap(st.data) {
		st.data = st.data[:copy(st.data, st.data[st.start:])]
		st.start = 0
	}
	st.data = append(st.data, body...)
	st.changed.Broadcast()
	return nil
}

// finish notes that the peer sends nothing more.
func (st *stream) finish() {
	st.mu.Lock()
	st.finished = true
	over := st.finSent
	st.changed.Broadcast()
	st.mu.Unlock()
	if over {
		st.session.remove(st)
	}
}

// end notes that the stream is over. What has arrived can still be read.
func (st *stream) end(err error) {
	st.acknowledge()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err == nil {
		st.err = err
	}
	st.changed.Broadcast()
}

func (st *stream) Read(p []byte) (int, error) {
	st.mu.Lock()
	for {
		switch {
		case st.closed:
			st.mu.Unlock()
			return 0, net.ErrClosed
		case st.readDeadline.Passed():
			st.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			st.mu.Unlock()
			return 0, nil
		case st.start < len(st.data):
			n, grant := st.takeLocked(p)
			st.mu.Unlock()
			if grant > 0 {
				// Should it fail the session is over, and the next Read tells.
				_ = st.session.send(frameWindow, 0, st.id, uint32(grant), nil)
			}
			return n, nil
		case st.finished:
			st.mu.Unlock()
			return 0, io.EOF
		case st.err != nil:
			err := st.err
			st.mu.Unlock()
			return 0, err
		}
		st.changed.Wait()
	}
}

// takeLocked moves data to p and returns by how much to widen the peer's window,
// which happens in steps of half of it.
func (st *stream) takeLocked(p []byte) (n, grant int) {
	n = copy(p, st.data[st.start:])
	st.start += n
	if st.start == len(st.data) {
		st.data, st.start = st.data[:0], 0
		if cap(st.data) > keepScratch {
			st.data = nil
		}
	}
	grant = st.session.config.Window - st.credit - (len(st.data) - st.start)
	if st.finished || st.err != nil || grant < st.session.config.Window/2 {
		return n, 0
	}
	st.credit += grant
	return n, grant
}

func (st *stream) Write(p []byte) (written int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	mine := false
	defer func() {
		if mine {
			st.writing = false
			st.changed.Broadcast()
		}
	}()
	for {
		switch {
		case st.closed || st.finSent:
			return written, net.ErrClosed
		case st.writeDeadline.Passed():
			return written, os.ErrDeadlineExceeded
		case st.err != nil:
			return written, st.err
		case st.writing && !mine:
			// Another call is at it.
		case written == len(p):
			return written, nil
		default:
			mine, st.writing = true, true
			if st.window == 0 {
				break
			}
			n := min(len(p)-written, int(st.window), maxBody)
			st.window -= uint32(n)
			st.inFlight = true
			st.mu.Unlock()
			err := st.session.send(frameData, 0, st.id, uint32(n), p[written:written+n])
			st.mu.Lock()
			st.inFlight = false
			st.changed.Broadcast()
			if err != nil {
				return written, err
			}
			written += n
			continue
		}
		st.changed.Wait()
	}
}

// CloseWrite tells the peer that nothing more comes. Reading goes on.
func (st *stream) CloseWrite() error {
	st.mu.Lock()
	if st.closed || st.finSent {
		st.mu.Unlock()
		return net.ErrClosed
	}
	st.finSent = true
	for st.inFlight {
		st.changed.Wait() // the end must not overtake the data being sent
	}
	over, err := st.finished, st.err
	st.changed.Broadcast()
	st.mu.Unlock()
	if over {
		st.session.remove(st)
	}
	if err != nil {
		return err
	}
	return st.session.send(frameWindow, flagFIN, st.id, 0, nil)
}

// Close ends both directions. The peer can read what was written before; what it
// sends from now on, or what was not read here, resets the stream.
func (st *stream) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return net.ErrClosed
	}
	st.closed = true
	st.changed.Broadcast()
	for st.inFlight {
		st.changed.Wait() // the end must not overtake the data being sent
	}
	unread := st.start < len(st.data)
	finish, reset := !st.finSent && st.err == nil, unread && !st.finished && st.err == nil
	st.data, st.start = nil, 0
	st.readDeadline.Set(st.changed, time.Time{})
	st.writeDeadline.Set(st.changed, time.Time{})
	st.changed.Broadcast()
	st.mu.Unlock()
	st.acknowledge()
	st.session.remove(st)
	var err error
	if finish {
		err = st.session.send(frameWindow, flagFIN, st.id, 0, nil)
	}
	if reset && err == nil {
		err = st.session.send(frameWindow, flagRST, st.id, 0, nil)
	}
	return err
}

func (st *stream) LocalAddr() net.Addr  { return st.session.conn.LocalAddr() }
func (st *stream) RemoteAddr() net.Addr { return st.session.conn.RemoteAddr() }

func (st *stream) SetDeadline(t time.Time) error {
	return errors.Join(st.SetReadDeadline(t), st.SetWriteDeadline(t))
}

func (st *stream) SetReadDeadline(t time.Time) error {
	return st.setDeadline(&st.readDeadline, t)
}

// SetWriteDeadline bounds the wait for the peer to read. A frame that is being
// written is bounded by the session's WriteTimeout instead, since half a frame
// would end the session.
func (st *stream) SetWriteDeadline(t time.Time) error {
	return st.setDeadline(&st.writeDeadline, t)
}

func (st *stream) setDeadline(d *deadline.Deadline, t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return net.ErrClosed
	}
	d.Set(st.changed, t)
	return nil
}
