package remote

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// conn is a client's session on one stream. database/sql uses it from one
// goroutine at a time; only the reading goroutine runs beside it, and the two
// share nothing but channels.
type conn struct {
	nc   net.Conn
	out  *countingWriter
	wire framer
	opts Options

	seq        uint64
	rows       *rows    // whose chunks are still coming, or nil
	inTx       bool     // a transaction is open
	engaged    bool     // the server may hold a database connection for us
	closeStmts []uint64 // closed here, not yet on the server
	err        error    // why the connection is unusable

	messages chan message  // unbuffered, so at most one message is read ahead
	closing  chan struct{} // closed by fail
	gone     chan struct{} // closed after the reader set the two fields below
	readErr  error
	goodbye  *goodbye
}

type message struct {
	kind    uint8
	payload []byte
}

// The interfaces that database/sql looks for.
var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
)

func newConn(nc net.Conn, opts Options) *conn {
	c := &conn{
		nc: nc, opts: opts, out: &countingWriter{w: nc},
		messages: make(chan message), closing: make(chan struct{}), gone: make(chan struct{}),
	}
	c.wire = newFramer(struct {
		io.Reader
		io.Writer
	}{nc, c.out})
	go c.read()
	return c
}

// countingWriter tells whether a failed write may have reached the server.
type countingWriter struct {
	w io.Writer
	n int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += n
	return n, err
}

// read hands messages to whoever waits for an answer. It always reads, so that
// a stream closed by the server is noticed before a request is sent into it.
// It ends when the stream does, and fail ends the stream.
func (c *conn) read() {
	defer close(c.gone)
	for {
		kind, payload, err := c.wire.Read()
		if err != nil {
			c.readErr = err
			return
		}
		if kind == kindGoodbye {
			var bye goodbye
			if c.readErr = decode(payload, &bye); c.readErr == nil {
				c.goodbye, c.readErr = &bye, fmt.Errorf("closed by the server: %s", bye.Reason)
			}
			return
		}
		select {
		case c.messages <- message{kind, payload}:
		case <-c.closing:
			c.readErr = net.ErrClosed
			return
		}
	}
}

// fail makes the connection unusable and ends its reader.
func (c *conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.rows = nil
	close(c.closing)
	c.nc.Close()
	<-c.gone
}

// Close ends the session. The server rolls back what is open.
func (c *conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

// usable reports whether a request can be sent. It is where a stream that the
// server has closed meanwhile is found out, at no risk of running twice.
func (c *conn) usable() error {
	if c.err == nil {
		select {
		case <-c.gone:
			c.fail(c.readErr)
		default:
		}
	}
	if c.err != nil {
		return driver.ErrBadConn
	}
	if c.rows != nil {
		return ErrBusy
	}
	return nil
}

// send sends a request. Unless it returns nil, there will be no answer.
func (c *conn) send(ctx context.Context, kind uint8, req *request) error {
	if err := c.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(req.SQL) > maxStatement {
		return fmt.Errorf("statement of %d bytes, limit %d: %w", len(req.SQL), maxStatement, ErrTooLarge)
	}
	if size := len(req.SQL) + len(req.Args); size > maxFrame-frameReserve {
		return fmt.Errorf("statement with arguments of %d bytes, limit %d: %w", size, maxFrame-frameReserve, ErrTooLarge)
	}
	if c.opts.Header != nil {
		req.Header = c.opts.Header(ctx)
	}
	c.seq++
	req.Version, req.Seq, req.CloseStmts = protocolVersion, c.seq, c.closeStmts
	c.closeStmts = nil
	c.engaged = c.engaged || kind != kindPing

	stop := c.interruptWrites(ctx)
	c.out.n = 0
	err := c.wire.Write(kind, req)
	if !stop() && err == nil {
		// The deadline may have been set after the write; clear it for cancel.
		c.nc.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	if untouched := c.out.n == 0 && (errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE)); untouched {
		c.fail(err)
		return driver.ErrBadConn
	}
	return c.lost(ctx, kind, err)
}

// interruptWrites lets ctx end a write that the link does not take.
func (c *conn) interruptWrites(ctx context.Context) (stop func() bool) {
	c.nc.SetWriteDeadline(time.Now().Add(requestWriteLimit))
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	finished := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(finished)
		c.nc.SetWriteDeadline(time.Unix(1, 0))
	})
	return func() bool {
		if undo() {
			return true
		}
		<-finished
		return false
	}
}

// lost drops the connection after a request was sent and returns what the
// caller may know of its outcome. What has no lasting effect without a later
// commit can safely be tried again; a rollback has happened either way.
func (c *conn) lost(ctx context.Context, kind uint8, cause error) error {
	c.fail(cause)
	retry := kind != kindExec && kind != kindQuery && kind != kindCommit
	if bye := c.goodbye; bye != nil && bye.Seen < c.seq {
		retry = true // the server says that it has not begun
	}
	switch err := ctx.Err(); {
	case err != nil && retry:
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", err, ErrUnknownOutcome)
	case retry:
		return driver.ErrBadConn
	default:
		return fmt.Errorf("%w: %v", ErrUnknownOutcome, cause)
	}
}

// receive waits for the next message of the current answer. When ctx ends it
// cancels the request and waits a moment longer: if the server confirms, the
// outcome is known and the connection stays good.
func (c *conn) receive(ctx context.Context, kind uint8) (message, error) {
	select {
	case m := <-c.messages:
		return m, nil
	case <-c.gone:
		return message{}, c.lost(ctx, kind, c.readErr)
	case <-ctx.Done():
	}
	if err := c.sendCancel(false); err != nil {
		return message{}, c.lost(ctx, kind, err)
	}
	timer := time.NewTimer(cancelGrace)
	defer timer.Stop()
	select {
	case m := <-c.messages:
		return m, nil
	case <-c.gone:
		return message{}, c.lost(ctx, kind, c.readErr)
	case <-timer.C:
		return message{}, c.lost(ctx, kind, errors.New("the server did not confirm the cancellation"))
	}
}

func (c *conn) sendCancel(soft bool) error {
	c.nc.SetWriteDeadline(time.Now().Add(cancelGrace))
	return c.wire.Write(kindCancel, &cancel{Seq: c.seq, Soft: soft})
}

// parse decodes an answer into msg if it is of the wanted kind, and returns the
// server's error if it is one.
func (c *conn) parse(ctx context.Context, kind uint8, m message, want uint8, msg any) error {
	switch m.kind {
	case want:
		if err := decode(m.payload, msg); err != nil {
			return c.lost(ctx, kind, err)
		}
		return nil
	case kindError:
		var f failure
		if err := decode(m.payload, &f); err != nil {
			return c.lost(ctx, kind, err)
		}
		if f.Seq != c.seq {
			return c.lost(ctx, kind, errOutOfStep)
		}
		c.onToken(f.Token)
		return c.serverError(ctx, f.Error.err(c.opts.Errors))
	default:
		return c.lost(ctx, kind, fmt.Errorf("unexpected message of kind %d", m.kind))
	}
}

var errOutOfStep = errors.New("answer to another request")

func (c *conn) serverError(ctx context.Context, err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		c.fail(err) // the session behind the stream is lost
		return driver.ErrBadConn
	}
	if own := ctx.Err(); own != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return own
	}
	return err
}

func (c *conn) onToken(token uint64) {
	if token != 0 && c.opts.OnToken != nil {
		c.opts.OnToken(token)
	}
}

// call sends a request other than a query and waits for its answer.
func (c *conn) call(ctx context.Context, kind uint8, req *request) (*done, error) {
	if err := c.send(ctx, kind, req); err != nil {
		return nil, err
	}
	m, err := c.receive(ctx, kind)
	if err != nil {
		return nil, err
	}
	answer := new(done)
	if err := c.parse(ctx, kind, m, kindDone, answer); err != nil {
		return nil, err
	}
	if answer.Seq != c.seq {
		return nil, c.lost(ctx, kind, errOutOfStep)
	}
	c.onToken(answer.Token)
	return answer, nil
}

// Ping asks the server whether its database answers.
func (c *conn) Ping(ctx context.Context) error {
	_, err := c.call(ctx, kindPing, &request{})
	return err
}

// ResetSession is called before the connection is used again. The session was
// already reset by the release that IsValid sent.
func (c *conn) ResetSession(context.Context) error {
	if c.usable() != nil {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid is called when the connection goes back to the pool, which is the
// moment to let the server use its database connection for others.
func (c *conn) IsValid() bool {
	if c.usable() != nil || c.inTx {
		return false
	}
	if !c.engaged {
		return true
	}
	req := &request{Version: protocolVersion, Seq: c.seq, CloseStmts: c.closeStmts}
	c.closeStmts, c.engaged = nil, false
	c.nc.SetWriteDeadline(time.Now().Add(cancelGrace))
	if err := c.wire.Write(kindRelease, req); err != nil {
		c.fail(err)
		return false
	}
	return true
}
