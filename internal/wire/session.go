package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Defaults for the fields of [SessionConfig].
const (
	DefaultKeepAlive    = 10 * time.Second
	DefaultWriteTimeout = 10 * time.Second
	DefaultBacklog      = 256
	DefaultWindow       = 1 << 20
)

const (
	initialWindow = 256 << 10 // what yamux gives every stream
	maxWindow     = 64 << 20
	maxBody       = 32 << 10 // of a data frame, so that streams take turns
	controlQueue  = 64
	maxRefused    = 1024
	sessionHeader = 12
)

const (
	frameData uint8 = iota
	frameWindow
	framePing
	frameGoAway
)

const (
	flagSYN uint16 = 1 << iota
	flagACK
	flagFIN
	flagRST
)

var (
	// ErrSessionClosed is what every call on a session that is over, and on its
	// streams, ends with. It comes together with the reason.
	ErrSessionClosed = errors.New("session closed")

	// ErrStreamReset says that the peer has dropped the stream: it closed it
	// while data was under way, or it had too many waiting for Accept.
	ErrStreamReset = errors.New("stream reset by the peer")

	errKeepAlive = errors.New("the peer did not answer a ping in time")
	errProtocol  = errors.New("the peer broke the session protocol")
)

// SessionConfig tunes a session. The zero value has the defaults.
type SessionConfig struct {
	// KeepAlive is how often the peer is pinged. Default 10 s; negative: never.
	KeepAlive time.Duration
	// WriteTimeout bounds each write to the connection and the wait for the
	// answer to a ping. When it passes the session is over. Default 10 s.
	WriteTimeout time.Duration
	// Backlog is how many streams may wait for Accept; a further one is reset.
	// It is also how many Opens may be unanswered. Default 256.
	Backlog int
	// Window is how many bytes a stream buffers before its peer must stop
	// sending. Default 1 MiB, at least 256 KiB, at most 64 MiB.
	Window int
}

func (c SessionConfig) withDefaults() SessionConfig {
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = DefaultWriteTimeout
	}
	if c.Backlog <= 0 {
		c.Backlog = DefaultBacklog
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	c.Window = min(max(c.Window, initialWindow), maxWindow)
	return c
}

// Session carries many streams over one connection. Both ends open and accept
// them. It is safe for concurrent use.
//
// Two goroutines belong to a session: receive, the only one that reads the
// connection, and control, which pings and sends the answers that receive queues,
// since receive itself must never wait for a write.
type Session struct {
	conn     net.Conn
	config   SessionConfig
	dialing  bool // this end opens the odd streams
	accepts  chan *stream
	opening  chan struct{}            // one per Open not yet answered
	controls chan [sessionHeader]byte // what receive has to say
	pongs    chan struct{}
	done     chan struct{} // closed by fail
	workers  sync.WaitGroup
	refused  map[uint32]bool // streams lately reset; belongs to receive

	// sending holds a token while a frame is written. A channel, not a mutex, so
	// that those who wait are durably blocked in a synctest bubble.
	sending chan struct{}
	scratch []byte // the frame being written; belongs to who holds the token

	mu       sync.Mutex // guards what follows; held for moments only, before a stream's
	streams  map[uint32]*stream
	next     uint32
	err      error // why the session is over
	goneAway bool  // the peer takes no more streams
}

// Server starts the accepting side of a session on conn, which it then owns.
func Server(conn net.Conn, config SessionConfig) (*Session, error) {
	return newSession(conn, config, false)
}

// Client starts the dialing side of a session on conn, which it then owns.
func Client(conn net.Conn, config SessionConfig) (*Session, error) {
	return newSession(conn, config, true)
}

func newSession(conn net.Conn, config SessionConfig, dialing bool) (*Session, error) {
	if conn == nil {
		return nil, errors.New("a session needs a connection")
	}
	config = config.withDefaults()
	s := &Session{
		conn:     conn,
		config:   config,
		dialing:  dialing,
		accepts:  make(chan *stream, config.Backlog),
		opening:  make(chan struct{}, config.Backlog),
		controls: make(chan [sessionHeader]byte, controlQueue),
		pongs:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		sending:  make(chan struct{}, 1),
		streams:  make(map[uint32]*stream),
		refused:  make(map[uint32]bool),
		next:     2,
	}
	if dialing {
		s.next = 1
	}
	s.workers.Go(func() { s.fail(s.receive()) })
	s.workers.Go(func() { s.fail(s.control()) })
	return s, nil
}

// Open opens a stream. It does not wait for the peer to accept it, unless
// Backlog streams wait for that already.
func (s *Session) Open(ctx context.Context) (net.Conn, error) {
	select {
	case s.opening <- struct{}{}:
	case <-s.done:
		return nil, fmt.Errorf("open stream: %w", s.failure())
	case <-ctx.Done():
		return nil, fmt.Errorf("open stream: %w", ctx.Err())
	}
	st, err := s.register()
	if err == nil {
		err = s.send(frameWindow, flagSYN, st.id, uint32(s.config.Window-initialWindow), nil)
	}
	if err != nil {
		if st != nil {
			s.remove(st)
			st.acknowledge()
		} else {
			s.answered()
		}
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return st, nil
}

func (s *Session) register() (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.goneAway:
		return nil, fmt.Errorf("%w: the peer takes no more streams", ErrSessionClosed)
	case s.next > 1<<32-3:
		return nil, fmt.Errorf("%w: all stream numbers are used up", ErrSessionClosed)
	}
	st := newStream(s, s.next)
	st.unanswered = true
	s.next += 2
	s.streams[st.id] = st
	return st, nil
}

// answered makes room for one more Open.
func (s *Session) answered() { <-s.opening }

// Accept returns the next stream that the peer opens.
func (s *Session) Accept() (net.Conn, error) {
	select {
	case <-s.done:
	default:
		select {
		case st := <-s.accepts:
			if err := s.send(frameWindow, flagACK, st.id, uint32(s.config.Window-initialWindow), nil); err != nil {
				return nil, fmt.Errorf("accept stream: %w", err)
			}
			return st, nil
		case <-s.done:
		}
	}
	return nil, fmt.Errorf("accept stream: %w", s.failure())
}

// Close ends the session, its streams and the connection, and waits for the
// session's goroutines. What streams have written was handed to the connection.
func (s *Session) Close() error {
	s.fail(net.ErrClosed)
	s.workers.Wait()
	return nil
}

// Done is closed when the session is over, for whatever reason.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns nil while the session lives, then an [ErrSessionClosed] with the
// reason.
func (s *Session) Err() error { return s.failure() }

func (s *Session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail ends the session; only the first reason counts.
func (s *Session) fail(reason error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = fmt.Errorf("%w: %w", ErrSessionClosed, reason)
	err, streams := s.err, s.streams
	s.streams = nil
	close(s.done)
	s.mu.Unlock()
	_ = s.conn.Close() // it is of no more use either way
	for _, st := range streams {
		st.end(err)
	}
}

func (s *Session) find(id uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

func (s *Session) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st.id)
}

func encodeHeader(kind uint8, flags uint16, id, n uint32) (h [sessionHeader]byte) {
	h[1] = kind
	binary.BigEndian.PutUint16(h[2:], flags)
	binary.BigEndian.PutUint32(h[4:], id)
	binary.BigEndian.PutUint32(h[8:], n)
	return h
}

// send writes one frame. A frame that cannot be written whole ends the session.
func (s *Session) send(kind uint8, flags uint16, id, n uint32, body []byte) error {
	return s.sendFrame(encodeHeader(kind, flags, id, n), body)
}

func (s *Session) sendFrame(header [sessionHeader]byte, body []byte) error {
	select {
	case s.sending <- struct{}{}:
	case <-s.done:
		return s.failure()
	}
	s.scratch = append(append(s.scratch[:0], header[:]...), body...)
	err := s.conn.SetWriteDeadline(time.Now().Add(s.config.WriteTimeout))
	if err == nil {
		_, err = s.conn.Write(s.scratch)
	}
	<-s.sending
	if err != nil {
		s.fail(fmt.Errorf("write: %w", err))
		return s.failure()
	}
	return nil
}

// control sends what receive has queued, and pings.
func (s *Session) control() error {
	var tick, late <-chan time.Time
	if s.config.KeepAlive > 0 {
		ticker := time.NewTicker(s.config.KeepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	for number := uint32(0); ; {
		select {
		case header := <-s.controls:
			if err := s.sendFrame(header, nil); err != nil {
				return err
			}
		case <-tick:
			if late != nil {
				continue // the last ping is still unanswered
			}
			number++
			late = time.After(s.config.WriteTimeout)
			if err := s.send(framePing, flagSYN, 0, number, nil); err != nil {
				return err
			}
		case <-s.pongs:
			late = nil
		case <-late:
			return errKeepAlive
		case <-s.done:
			return nil
		}
	}
}

// queue hands a frame to control and reports whether there was room.
func (s *Session) queue(kind uint8, flags uint16, id, n uint32) bool {
	select {
	case s.controls <- encodeHeader(kind, flags, id, n):
		return true
	default:
		return false
	}
}

// receive reads frames until the connection fails.
func (s *Session) receive() error {
	reader := bufio.NewReaderSize(s.conn, maxBody)
	var header [sessionHeader]byte
	var body []byte
	for {
		if _, err := io.ReadFull(reader, header[:]); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		kind, flags := header[1], binary.BigEndian.Uint16(header[2:])
		id, n := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
		if header[0] != 0 || kind > frameGoAway {
			return fmt.Errorf("%w: a frame begins with %q", ErrNotDDB, header[:4])
		}
		body = body[:0]
		if kind == frameData {
			if n > uint32(s.config.Window) {
				return fmt.Errorf("%w: a data frame of %d bytes", errProtocol, n)
			}
			if uint32(cap(body)) < n {
				body = make([]byte, 0, n)
			}
			body = body[:n]
			if _, err := io.ReadFull(reader, body); err != nil {
				return fmt.Errorf("read: %w", err)
			}
		}
		if err := s.handle(kind, flags, id, n, body); err != nil {
			return err
		}
	}
}

func (s *Session) handle(kind uint8, flags uint16, id, n uint32, body []byte) error {
	switch kind {
	case framePing:
		return s.handlePing(flags, n)
	case frameGoAway:
		if n != 0 {
			return fmt.Errorf("the peer went away with code %d", n)
		}
		s.mu.Lock()
		s.goneAway = true
		s.mu.Unlock()
		return nil
	}
	if flags&flagSYN != 0 {
		if err := s.incoming(id); err != nil {
			return err
		}
	}
	st := s.find(id)
	if st == nil {
		if kind == frameData && n > 0 && flags&flagRST == 0 {
			return s.refuse(id)
		}
		return nil
	}
	if flags&flagACK != 0 {
		st.acknowledge()
	}
	if kind == frameWindow {
		if err := st.widen(n); err != nil {
			return err
		}
	} else if err := st.deliver(body); err != nil {
		return err
	}
	if flags&flagFIN != 0 {
		st.finish()
	}
	if flags&flagRST != 0 {
		s.remove(st)
		st.end(ErrStreamReset)
	}
	return nil
}

// refuse resets a stream that is closed here, once for all the data under way.
func (s *Session) refuse(id uint32) error {
	if s.refused[id] {
		return nil
	}
	if !s.queue(frameWindow, flagRST, id, 0) {
		return fmt.Errorf("%w: more streams than can be reset", errProtocol)
	}
	if len(s.refused) >= maxRefused {
		clear(s.refused)
	}
	s.refused[id] = true
	return nil
}

func (s *Session) handlePing(flags uint16, number uint32) error {
	if flags&flagSYN == 0 {
		select {
		case s.pongs <- struct{}{}:
		default: // control has yet to see the last one
		}
		return nil
	}
	if !s.queue(framePing, flagACK, 0, number) {
		return fmt.Errorf("%w: more pings than can be answered", errProtocol)
	}
	return nil
}

// incoming enters a stream that the peer opens and queues it for Accept.
func (s *Session) incoming(id uint32) error {
	if id == 0 || (id%2 == 1) == s.dialing {
		return fmt.Errorf("%w: it opened stream %d, which is not its to open", errProtocol, id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.streams[id] != nil {
		return fmt.Errorf("%w: it opened stream %d twice", errProtocol, id)
	}
	st := newStream(s, id)
	select {
	case s.accepts <- st:
		s.streams[id] = st
	default:
		if !s.queue(frameWindow, flagRST, id, 0) {
			return fmt.Errorf("%w: more streams than can be refused", errProtocol)
		}
	}
	return nil
}
