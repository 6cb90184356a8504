// Package write is how a node writes to its own database: through the one connection of a database with a single writer (Group), or through
// those of a pool (Pool), and who has the turn to make a pass (PassConn). The invariants W1 to W4 stand at [Group].
package write

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

const (
	maxGroup   = 256             // statements that share one commit
	endTimeout = 5 * time.Second // for what must be put back when a caller has gone
)

// Group owns the only write connection of a single-writer database.
// Autocommit statements that wait together share one commit, and so one disk
// sync; each caller still gets its own result or error. Invariants:
//
//	W1  A caller hears of success only after the commit that holds its statement.
//	W2  A statement that fails leaves nothing behind and does not touch the others of its
//	    group: SQL makes single statements atomic, and where a failure ends the whole
//	    transaction (OR ROLLBACK, a deferred constraint, an interrupt) the others
//	    run again, each in a commit of its own. None of them had been acknowledged (W1).
//	W3  What is noted by a transaction is collected inside it, before its commit. A statement that
//	    has no company commits by itself instead, and a pass collects its notes soon after.
//	W4  Whoever holds turn owns the connection and the statements: the writer's goroutine,
//	    or a caller who found no other and spares the way there and back.
type Group struct {
	busy     time.Duration // how long a write waits for another transaction
	Node     *store.Store
	requests chan *writeRequest
	Closing  chan struct{} // closed when the writer is to stop
	stopped  chan struct{} // closed when it has
	Hooks    Hooks
	lone     atomic.Bool                   // the last group had one member: nobody is kept from sharing a commit
	timeout  atomic.Pointer[chan struct{}] // see patience

	turn  sync.Mutex
	over  bool // the writer has stopped
	conn  *sql.Conn
	cat   *store.Catalogue // when stmts were compiled
	stmts map[string]*preparedWrite
}

// Hooks is what the role adds to each transaction.
type Hooks struct {
	// Admit may refuse a write before it runs.
	Admit func() error
	// Each runs inside the transaction after every statement, of which p is known.
	Each func(ctx context.Context, c *sql.Conn, p dialect.Program) error
	// Number tells whose keys new rows get, 0 for those that the database hands out (internal/keys). Nil: 0.
	Number func() int64
	// Alone reports whether a statement may commit by itself, and Wrote is told when one has. Nil: none may.
	Alone func() bool
	Wrote func()
	// Commit runs before the commit (W3) and returns what to do after it.
	Commit func(ctx context.Context, c *sql.Conn) (committed func() journal.Position, err error)
}

// writeRequest is one statement, or a lease of the connection.
type writeRequest struct {
	ctx   context.Context
	query string
	args  []any
	lease func(c *sql.Conn) error

	taken atomic.Bool // by the writer, or by the caller who has given up waiting

	res  sql.Result
	pos  journal.Position
	err  error
	done chan struct{} // closed when the fields above are final
}

// NewGroup returns a writer that runs once Run is called. busy is how long a write waits for a transaction of another.
func NewGroup(n *store.Store, busy time.Duration, hooks Hooks) *Group {
	return &Group{busy: busy, Node: n, Hooks: hooks, Closing: make(chan struct{}), stopped: make(chan struct{}),
		requests: make(chan *writeRequest, maxGroup), stmts: make(map[string]*preparedWrite)}
}

// Exec runs one statement and returns after its commit.
func (w *Group) Exec(ctx context.Context, query string, args []any) (sql.Result, journal.Position, error) {
	r := &writeRequest{ctx: ctx, query: query, args: args, done: make(chan struct{})}
	if w.atOnce(r) {
		return r.res, r.pos, r.err
	}
	if err := w.submit(r); err != nil {
		return nil, journal.Position{}, err
	}
	return r.res, r.pos, r.err
}

// With leases the connection to f, which no other write overlaps.
func (w *Group) With(ctx context.Context, f func(c *sql.Conn) error) error {
	r := &writeRequest{ctx: ctx, lease: f, done: make(chan struct{})}
	if err := w.submit(r); err != nil {
		return err
	}
	return r.err
}

// atOnce runs the request on the caller's goroutine if there is one writer at present.
func (w *Group) atOnce(r *writeRequest) bool {
	if !w.lone.Load() || len(w.requests) > 0 || strings.Contains(r.query, ";") || !w.turn.TryLock() {
		return false
	}
	defer w.turn.Unlock()
	if w.over {
		return false
	}
	r.taken.Store(true)
	if err := w.ready(r); err != nil {
		r.finish(err)
		return true
	}
	if w.Hooks.Alone == nil || !w.Hooks.Alone() {
		w.group(r, func(int) *writeRequest { return nil })
		return true
	}
	var spoiled bool
	if spoiled, r.err = w.statement(r); w.locked(r.err) {
		r.err = errOtherWriter(r.err)
	}
	if r.err == nil || spoiled {
		w.Hooks.Wrote()
	}
	return true
}

func errOtherWriter(err error) error {
	return fmt.Errorf("%w: another process writes to the database: %w", fault.ErrBusy, err)
}

// submit hands the request over and waits for its end. A request that waits behind an
// open transaction is withdrawn by its context or the busy timeout; one that has
// begun runs to its end, with its context to cut it short.
func (w *Group) submit(r *writeRequest) error {
	start, patience := time.Now(), w.patience()
	requests := w.requests
	select {
	case requests <- r:
		requests = nil
	default:
	}
	for {
		var reason error
		select {
		case <-r.done:
			return nil
		case requests <- r:
			requests = nil
			continue
		case <-patience:
			if left := w.busy - time.Since(start); left > 0 { // it was another's
				own := make(chan struct{})
				t := time.AfterFunc(left, func() { close(own) })
				defer t.Stop()
				patience = own
				continue
			}
			reason = fmt.Errorf("%w: waited %v for an open transaction to end", fault.ErrBusy, w.busy)
		case <-w.stopped:
			reason = fault.ErrClosed
		case <-r.ctx.Done():
			reason = context.Cause(r.ctx)
		}
		if r.taken.CompareAndSwap(false, true) {
			return reason
		}
		<-r.done // cannot block: whoever took it finishes it
		return nil
	}
}

// patience returns a channel that is closed when the busy timeout is over, or sooner: all who wait at one time share
// one, as hardly any of them waits for so long and a timer for each would cost them more than the rest of submit.
func (w *Group) patience() <-chan struct{} {
	for {
		if over := w.timeout.Load(); over != nil {
			return *over
		}
		over := make(chan struct{})
		if w.timeout.CompareAndSwap(nil, &over) {
			time.AfterFunc(w.busy, func() { w.timeout.Store(nil); close(over) })
			return over
		}
	}
}

// Run serves requests until ctx ends.
func (w *Group) Run(ctx context.Context) {
	defer close(w.stopped)
	defer func() {
		w.turn.Lock()
		defer w.turn.Unlock()
		w.over = true
		w.drop()
	}()
	stop := context.AfterFunc(ctx, func() { close(w.Closing) })
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-w.requests:
			w.take(r)
		}
	}
}

// take serves a request. A panic passes: it must not leave the turn to nobody, for which the end of Run would wait for ever.
func (w *Group) take(r *writeRequest) {
	w.turn.Lock()
	defer w.turn.Unlock()
	w.serve(r)
}

// ready connects if need be. The caller holds turn.
func (w *Group) ready(r *writeRequest) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := w.connect(r.ctx); err != nil {
		return err
	}
	if !w.forgetOutdated() {
		return nil
	}
	// Another connection may have changed tables. SQLite compiles statements by what a connection knows of them, and
	// learns better only when one is run: without that an INSERT into a new column would fail.
	_, _, err := w.Node.Meta(r.ctx, w.conn, store.MetaNode)
	return err
}

// serve runs a request and those that it may share a commit with. The caller holds turn.
func (w *Group) serve(r *writeRequest) {
	if !r.taken.CompareAndSwap(false, true) {
		return
	}
	if err := w.ready(r); err != nil {
		r.finish(err)
		return
	}
	if r.lease == nil {
		w.group(r, w.waiting)
		return
	}
	err := r.lease(w.conn)
	if err != nil && !w.usable() {
		w.drop()
	}
	r.finish(err)
}

func (r *writeRequest) finish(err error) {
	r.err = err
	close(r.done)
}

func (w *Group) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, w.busy)
	defer cancel()
	c, err := w.Node.Engine.Conn(limit, dialect.Write)
	if err != nil {
		if limit.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: no connection of the pool was free for %v; ddb needs up to 4 of its own beside those that the program keeps (SetMaxOpenConns): %w",
				fault.ErrBusy, w.busy, err)
		}
		return fmt.Errorf("node %s: connect: %w", w.Node.ID, err)
	}
	w.conn = c
	return nil
}

// usable reports whether the connection answers and is outside any transaction.
func (w *Group) usable() bool {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	return w.conn.PingContext(ctx) == nil && w.Node.Rollback(w.conn) == nil
}

func (w *Group) drop() {
	w.ForgetStatements()
	if w.conn != nil {
		w.Node.Engine.Release(w.conn)
		w.conn = nil
	}
}

// group runs the request and those that more gives in one transaction.
func (w *Group) group(first *writeRequest, more func(have int) *writeRequest) {
	var next *writeRequest // a lease that ended the gathering
	members := make([]*writeRequest, 0, 8)
	err := w.Begin(first.ctx)
	if err != nil {
		first.finish(err)
		return
	}
	lost := false
	for r := first; r != nil; r = more(len(members)) {
		if r.lease != nil {
			next = r
			break
		}
		if r != first && !r.taken.CompareAndSwap(false, true) {
			continue
		}
		members = append(members, r)
		var spoiled bool
		if spoiled, r.err = w.statement(r); spoiled || r.err != nil && !w.InTransaction() {
			lost = true
			break
		}
	}
	w.lone.Store(len(members) == 1 && len(w.requests) == 0)
	switch {
	case lost:
		w.Node.Rollback(w.conn)
		w.again(members)
	default:
		if err := w.commit(members); err != nil {
			w.Node.Rollback(w.conn)
			w.again(members)
		}
	}
	if next != nil {
		w.serve(next)
	}
}

// waiting returns a request that is waiting, or nil. Before it gives up it lets those run
// who were told of the last commit and are about to write again.
func (w *Group) waiting(have int) *writeRequest {
	if have >= maxGroup {
		return nil
	}
	for range 2 {
		select {
		case r := <-w.requests:
			return r
		default:
			runtime.Gosched()
		}
	}
	return nil
}

// Begin opens the transaction of a group.
func (w *Group) Begin(ctx context.Context) error {
	if w.Hooks.Admit != nil {
		if err := w.Hooks.Admit(); err != nil {
			return err
		}
	}
	// The database's own busy timeout limits the wait.
	if err := w.Node.Engine.Begin(context.WithoutCancel(ctx), w.conn, dialect.Write); err != nil {
		if w.locked(err) {
			return errOtherWriter(err)
		}
		return err
	}
	return nil
}

// InTransaction reports whether the transaction is still open after an error.
func (w *Group) InTransaction() bool {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	_, err := w.conn.ExecContext(ctx, "BEGIN")
	if err == nil {
		w.Node.Rollback(w.conn)
		return false
	}
	return w.Node.Fault(err).Is(dialect.InTx)
}

// commit ends the group's transaction and tells its members.
func (w *Group) commit(members []*writeRequest) error {
	// Nothing in here waits for anybody. A context that can end costs the driver a goroutine for each statement.
	ctx := context.Background()
	committed := func() journal.Position { return journal.Position{} }
	if w.Hooks.Commit != nil {
		var err error
		if committed, err = w.Hooks.Commit(ctx, w.conn); err != nil {
			return err
		}
	}
	if err := w.Node.Engine.Commit(ctx, w.conn, dialect.Write); err != nil {
		return err
	}
	pos := committed()
	for _, r := range members {
		r.pos = pos
		r.finish(r.err)
	}
	return nil
}

// again runs each of the members in a transaction of its own (W2).
func (w *Group) again(members []*writeRequest) {
	for _, r := range members {
		r.res, r.err = nil, nil // what the first attempt came to counts no more
		if err := w.Begin(r.ctx); err != nil {
			r.finish(err)
			continue
		}
		if _, err := w.statement(r); err != nil {
			w.Node.Rollback(w.conn)
			r.finish(err)
			continue
		}
		if err := w.commit([]*writeRequest{r}); err != nil {
			w.Node.Rollback(w.conn)
			r.res = nil
			r.finish(err)
		}
	}
}

// locked recognises the errors of a database that another connection has locked.
func (w *Group) locked(err error) bool { return w.Node.Fault(err).Is(dialect.Busy) }
