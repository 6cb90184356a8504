package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// ServeOptions say what a stream may do. The zero value allows everything that
// the database does.
type ServeOptions struct {
	// ReadOnly refuses Exec and read-write transactions with ErrReadOnly. What
	// a Query does is up to Check and to how the database was opened.
	ReadOnly bool

	// Check may refuse a statement before it is executed or prepared, and each
	// time that a prepared one is executed. Nil refuses none.
	Check func(sql string) error

	// CheckBegin may refuse to begin a transaction. Nil refuses none.
	CheckBegin func(readOnly bool) error

	// Before is called ahead of each Exec, Query, Begin and Ping that is not
	// inside a transaction, with what the client's Options.Header returned. It
	// may wait, refuse, or add to the context that the statement runs under.
	Before func(ctx context.Context, h Header) (context.Context, error)

	// Guard is called ahead of each Exec and Query whose Header asks for Kill or a limit, with its text and the connection that
	// it will run on. It may add to the context. release is called when the statement is done, and reports whether
	// the connection is lost. Nil does nothing.
	Guard func(ctx context.Context, h Header, query string, c *sql.Conn) (guarded context.Context, release func() (lost bool), err error)

	// Errors takes a driver's own errors apart. Nil knows none.
	Errors ErrorCarrier

	// After returns the token of an answer. It is called when the answer, or a
	// part of it, is sent. Nil sends none.
	After func() (token uint64)

	// IdleLimit ends a stream that sent no request for so long, and rolls back
	// its transaction. Zero means 30 minutes.
	IdleLimit time.Duration
}

// errIdle ends an unused stream; for Serve this is a good end.
var errIdle = errors.New("idle for too long")

// Serve answers the requests of one client on conn until the client closes it,
// ctx ends or the stream idles too long, and closes it. When it returns, the
// client's transaction is rolled back, its queries are cancelled and its
// database connection is back in db's pool.
//
// It returns nil if the client closed the stream or left it idle, the cause of
// ctx's end, or what broke the stream.
func Serve(ctx context.Context, conn net.Conn, db *sql.DB, opts ServeOptions) error {
	if opts.IdleLimit <= 0 {
		opts.IdleLimit = idleLimit
	}
	ctx, stop := context.WithCancelCause(ctx)
	s := &server{
		nc: conn, wire: newFramer(conn), stop: stop,
		requests: make(chan *job, queuedRequests),
		session:  session{db: db, opts: opts, stmts: make(map[uint64]*preparedStmt)},
	}
	s.session.send = s.write
	hurried := make(chan struct{})
	notHurried := context.AfterFunc(ctx, func() {
		defer close(hurried)
		s.hurry()
	})
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(ctx)
	}()

	err := s.run(ctx)
	stop(err)
	if !notHurried() {
		<-hurried
	}
	s.session.close()
	conn.Close()
	<-read
	if errors.Is(err, io.EOF) || errors.Is(err, errIdle) {
		return nil
	}
	return err
}

// server owns a stream. Its reader passes requests to the session, which
// handles one at a time, and lets a cancel overtake them.
type server struct {
	nc       net.Conn
	wire     framer
	stop     context.CancelCauseFunc
	requests chan *job
	session  session

	deadline sync.Mutex // orders setting the write deadline
	closing  bool       // guarded by deadline: only goodbyeGrace is left
}

// job is a request with the means to stop it.
type job struct {
	request
	kind   uint8
	ctx    context.Context
	cancel context.CancelFunc
	soft   chan struct{} // closed to end the rows early
}

// read reads messages until the stream ends, which cancels all that runs. It
// never waits for the session, so a cancel is always heard.
func (s *server) read(ctx context.Context) {
	var last *job
	var softened bool
	for {
		kind, payload, err := s.wire.Read()
		if err != nil {
			s.stop(err)
			return
		}
		if kind == kindCancel {
			var c cancel
			if err := decode(payload, &c); err != nil {
				s.stop(err)
				return
			}
			switch {
			case last == nil || c.Seq != last.Seq:
			case !c.Soft:
				last.cancel()
			case !softened:
				softened = true
				close(last.soft)
			}
			continue
		}
		j := &job{kind: kind, soft: make(chan struct{})}
		if err := decode(payload, &j.request); err != nil {
			s.stop(err)
			return
		}
		j.ctx, j.cancel = context.WithCancel(ctx)
		select {
		case s.requests <- j:
			if kind != kindRelease {
				last, softened = j, false
			}
		default:
			j.cancel()
			s.stop(errors.New("the client sent a request before the answer to the last"))
			return
		}
	}
}

// run lets the session handle requests until ctx ends.
func (s *server) run(ctx context.Context) error {
	idle := time.NewTimer(s.session.opts.IdleLimit)
	defer idle.Stop()
	var seen uint64
	for {
		if ctx.Err() != nil {
			return s.sayGoodbye(seen, context.Cause(ctx))
		}
		select {
		case j := <-s.requests:
			seen = max(seen, j.Seq)
			err := s.session.handle(ctx, j)
			j.cancel()
			if err != nil {
				return err
			}
			idle.Reset(s.session.opts.IdleLimit)
		case <-idle.C:
			return s.sayGoodbye(seen, errIdle)
		case <-ctx.Done():
		}
	}
}

// sayGoodbye tells the client, unless it is the one who left, which request was
// the last to start, so that a later one can be tried elsewhere.
func (s *server) sayGoodbye(seen uint64, reason error) error {
	if !errors.Is(reason, io.EOF) {
		s.hurry()
		_ = s.write(kindGoodbye, &goodbye{Seen: seen, Reason: reason.Error()}) // a courtesy
	}
	return reason
}

// hurry limits the writes that are left to goodbyeGrace in all.
func (s *server) hurry() {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if !s.closing {
		s.closing = true
		s.nc.SetWriteDeadline(time.Now().Add(goodbyeGrace))
	}
}

// write sends a message, waiting at most stallLimit for the client to read.
func (s *server) write(kind uint8, msg any) error {
	s.deadline.Lock()
	if !s.closing {
		s.nc.SetWriteDeadline(time.Now().Add(stallLimit))
	}
	s.deadline.Unlock()
	if err := s.wire.Write(kind, msg); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
