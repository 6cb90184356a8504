package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// routed is the driver behind Cluster.DB: its connections route statement by
// statement, so that sql.DB, sql.Tx, sql.Stmt and sql.Conn are the true ones.
type routed struct {
	gate *Gate
	// streams says that its connections serve followers, whose own rules were heeded before a statement came here.
	streams bool
}

func (r routed) Connect(context.Context) (driver.Conn, error) {
	if r.gate.closed.Load() {
		return nil, fault.Ours(fault.ErrClosed)
	}
	return &routedConn{gate: r.gate, stream: r.streams}, nil
}

func (r routed) Driver() driver.Driver { return routedDriver{} }

type routedDriver struct{}

func (routedDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("a connection comes from a Cluster; use Cluster.DB")
}

// routedConn is one connection of Cluster.DB. Statements that depend on the
// state of a connection pin one of the master's until this one is closed.
type routedConn struct {
	gate   *Gate
	tx     txn
	txCtx  context.Context // of tx
	txOver func()          // to be called when tx has ended
	pinned *sql.Conn
	bound  bound // to tx or pinned, for KILL
	last   lastWrite

	stream bool // it serves a follower
	own    bool // it is a Conn got from Cluster.Conn
	uses   int  // statements since it was taken from its pool
}

func plainArgs(named []driver.NamedValue) []any {
	if len(named) == 0 {
		return nil
	}
	args := make([]any, len(named))
	for i, n := range named {
		args[i] = n.Value
		if n.Name != "" {
			args[i] = sql.Named(n.Name, n.Value)
		}
	}
	return args
}

func (rc *routedConn) ExecContext(ctx context.Context, query string, named []driver.NamedValue) (driver.Result, error) {
	rc.uses++
	ctx, limit := rc.gate.limitAnswer(ctx)
	defer limit.end()
	res, err := rc.exec(ctx, rc.gate.texts.Read(query), plainArgs(named))
	return res, fault.Ours(limit.explain(rc.gate.explain(ended(ctx, err))))
}

func (rc *routedConn) exec(ctx context.Context, stmt *route.Statement, args []any) (driver.Result, error) {
	if stmt.Blank {
		return noResult{}, nil
	}
	if err := rc.refuse(ctx, stmt); err != nil {
		return nil, err
	}
	if rc.gate.node != nil && stmt.HidesSchema() && (rc.tx != nil || rc.pinned != nil || rc.pins(stmt)) {
		return rc.gate.oneByOne(stmt, args, amongSchema, func(s *route.Statement) (sql.Result, error) { return rc.exec(ctx, s, nil) })
	}
	if rc.tx != nil && stmt.ChangesSchema() {
		return rc.tx.exec(ctx, stmt, args) // which no KILL may meet
	}
	if rc.tx != nil {
		release, err := rc.killBound(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		res, err := rc.tx.exec(ctx, stmt, args)
		rc.remember(stmt, res)
		return res, err
	}
	if rc.pinned != nil && stmt.ChangesSchema() {
		rc.gate.changes.Add(1)
		return rc.gate.writes.schema(ctx, rc.pinned, stmt, args)
	}
	if conn, err := rc.pin(ctx, stmt); err != nil || conn != nil {
		if err != nil {
			return nil, err
		}
		release, err := rc.killBound(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		res, err := rc.gate.execPinned(ctx, conn, stmt, args)
		if err == nil && stmt.Kind == sqlclass.Write {
			return res, rc.gate.wrote(ctx)
		}
		rc.gate.noted()
		return res, err
	}
	res, err := rc.gate.run(ctx, stmt, args)
	rc.remember(stmt, res)
	return res, err
}

func (rc *routedConn) QueryContext(ctx context.Context, query string, named []driver.NamedValue) (driver.Rows, error) {
	rc.uses++
	ctx, limit := rc.gate.limitAnswer(ctx)
	rows, err := rc.query(ctx, rc.gate.texts.Read(query), plainArgs(named))
	answer, err := limit.rows(rows, rc.gate.explain(ended(ctx, err)))
	return answer, fault.Ours(err)
}

func (rc *routedConn) query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	switch kind := stmt.Kind; {
	case kind == sqlclass.Schema || kind == sqlclass.TxControl:
		// They return no rows, and what they may do is Exec's to say.
		if _, err := rc.exec(ctx, stmt, args); err != nil {
			return nil, err
		}
		return noRows{}, nil
	case stmt.HidesSchema():
		return nil, fmt.Errorf("%w: a schema statement among several is for Exec, not Query: %s", fault.ErrNotReplicable, stmt)
	}
	if err := rc.refuse(ctx, stmt); err != nil {
		return nil, err
	}
	rc.forget(stmt)
	if t, ok := rc.tx.(keyedTx); ok && rc.gate.keyed(stmt) {
		return t.keyedRows(ctx, stmt, args, true)
	}
	if rc.tx != nil {
		return rc.boundRows(ctx, func() (*sql.Rows, error) { return rc.tx.query(ctx, stmt, args) })
	}
	if rc.pinned == nil && stmt.IsRead() {
		if rows, ok, err := rc.gate.readGuarded(ctx, stmt.SQL, args); ok {
			return rows, err
		}
		return streamRows(rc.gate.route.Read(ctx, stmt.SQL, args))
	}
	if rc.pinned == nil {
		if row := rc.lastRow(stmt); row != nil {
			return row, nil
		}
		if err := rc.gate.refuseForeignLast(stmt); err != nil {
			return nil, err
		}
	}
	if conn, err := rc.pin(ctx, stmt); err != nil {
		return nil, err
	} else if conn != nil {
		return rc.queryPinned(ctx, conn, stmt, args)
	}
	if kind := stmt.Kind; rc.gate.texts.Class == sqlclass.SQLite && (kind == sqlclass.Other || kind == sqlclass.Session) { // a checkpoint or VACUUM, which run in no transaction
		return streamRows(rc.gate.main.QueryContext(ctx, stmt.SQL, args...))
	}
	return rc.gate.writes.query(ctx, stmt, args)
}

// queryPinned is query on the connection that the statement must run on.
func (rc *routedConn) queryPinned(ctx context.Context, conn *sql.Conn, stmt *route.Statement, args []any) (driver.Rows, error) {
	if rc.gate.keyed(stmt) {
		rows, err := rc.gate.rowsPinned(ctx, conn, stmt, args)
		if err != nil {
			rc.gate.noted()
			return nil, err
		}
		return rows, rc.gate.wrote(ctx)
	}
	rows, err := rc.boundRows(ctx, func() (*sql.Rows, error) { return conn.QueryContext(ctx, stmt.SQL, args...) })
	if stmt.IsRead() {
		return rows, err
	}
	if err != nil {
		rc.gate.noted()
		return nil, err
	}
	released := rows.(*streamedRows).after
	rows.(*streamedRows).after = func() error { // it commits when it has sent the last row (S4)
		if word, _, _ := strings.Cut(strings.TrimSpace(stmt.SQL), " "); strings.EqualFold(word, "SELECT") {
			rc.gate.noted() // a lock or LAST_INSERT_ID, as a rule: nothing to wait for
			return released()
		}
		return errors.Join(released(), rc.gate.wrote(ctx))
	}
	return rows, nil
}

// refuse refuses what must not run on the connection whatever it does.
func (rc *routedConn) refuse(ctx context.Context, stmt *route.Statement) error {
	if err := rc.gate.refuseHidden(stmt); err != nil {
		return err
	}
	if ctx.Value(pooledKey{}) != nil || !rc.held() && !rc.stream {
		if err := rc.gate.refuseState(stmt); err != nil {
			return err
		}
	}
	return rc.gate.refuseDoubt(ctx, stmt, rc.ask)
}

// pin returns the connection that a statement must run on, or nil if any will do.
// What sets or reads the state of a connection (SET, user variables, locks,
// LAST_INSERT_ID and their kin) binds this connection to one of the master's.
func (rc *routedConn) pin(ctx context.Context, stmt *route.Statement) (*sql.Conn, error) {
	if stmt.ChangesSchema() {
		return nil, nil
	}
	if rc.pinned != nil {
		return rc.pinned, nil
	}
	if !rc.pins(stmt) {
		return nil, nil
	}
	conn, err := rc.gate.writes.own(ctx)
	if err != nil {
		return nil, err
	}
	if err := rc.seed(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if rc.held() && rc.gate.config.Role == health.Replica {
		if _, err := conn.ExecContext(ctx, "SELECT 1"); err != nil { // the master knows it for a Conn by this (C3)
			return nil, errors.Join(err, conn.Close())
		}
	}
	rc.pinned = conn
	return conn, nil
}

func (rc *routedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if rc.tx != nil {
		return nil, errors.New("a transaction is open on this connection")
	}
	var err error
	o := &sql.TxOptions{Isolation: sql.IsolationLevel(opts.Isolation), ReadOnly: opts.ReadOnly}
	rc.txCtx, rc.txOver = ctx, func() {}
	if g := rc.gate; g.node != nil && g.config.Role != health.Replica {
		ctx, rc.txOver = g.open.begin(ctx)
		rc.txCtx = ctx
	}
	switch {
	case rc.pinned != nil:
		rc.tx, err = rc.gate.writes.beginOn(ctx, rc.pinned, o)
	case opts.ReadOnly:
		rc.tx, err = rc.gate.beginRead(ctx, o)
	default:
		rc.tx, err = rc.gate.writes.begin(ctx, o)
	}
	if err != nil {
		rc.tx = nil
		rc.txOver()
		return nil, fault.Ours(err)
	}
	return routedTx{rc}, nil
}

// beginPinned opens a transaction on a pinned connection that ddb adds nothing to but the keys of new rows.
func (g *Gate) beginPinned(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error) {
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &pinnedTx{plainTx{gate: g, tx: tx}, conn}, nil
}

// pinnedTx is a transaction on a pinned connection elsewhere than on a master with many writers.
type pinnedTx struct {
	plainTx
	conn *sql.Conn
}

func (t *pinnedTx) exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error) {
	if !stmt.IsSchema() || t.gate.node == nil {
		return t.gate.execPinned(ctx, t.tx, stmt, args)
	}
	if t.gate.master.Sequencer == nil {
		return t.plainTx.exec(ctx, stmt, args)
	}
	hidden, err := schema.Hides(ctx, t.gate.node, t.conn, stmt.SQL)
	switch {
	case err != nil:
		return nil, err
	case hidden, stmt.Temporary():
		return t.tx.ExecContext(ctx, stmt.SQL, args...)
	}
	return nil, fmt.Errorf("%w: a transaction on a connection that has a state of its own takes no schema statements; run it outside: %s", fault.ErrNotReplicable, stmt)
}

func (t *pinnedTx) keyedRows(ctx context.Context, stmt *route.Statement, args []any, _ bool) (driver.Rows, error) {
	return t.gate.rowsPinned(ctx, t.tx, stmt, args)
}

func (t *pinnedTx) killable() (*sql.Tx, *sql.DB) { return t.tx, t.gate.main }

func (t *pinnedTx) commit() error {
	if err := t.tx.Commit(); err != nil {
		t.gate.noted()
		return err
	}
	return t.gate.wrote(context.Background()) // which has a limit of its own
}

type routedTx struct{ rc *routedConn }

func (t routedTx) Commit() error {
	defer t.rc.endTx()
	return fault.Ours(closedUnder(t.rc.txCtx, t.rc.gate.explain(t.rc.tx.commit())))
}

func (t routedTx) Rollback() error {
	defer t.rc.endTx()
	return fault.Ours(closedUnder(t.rc.txCtx, t.rc.tx.rollback()))
}

func (rc *routedConn) endTx() {
	rc.tx = nil
	rc.txOver()
}

func (rc *routedConn) Begin() (driver.Tx, error) {
	return rc.BeginTx(context.Background(), driver.TxOptions{})
}

func (rc *routedConn) Prepare(query string) (driver.Stmt, error) {
	return rc.PrepareContext(context.Background(), query)
}

// PrepareContext keeps the text: each node prepares it when it first runs there.
func (rc *routedConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return &routedStmt{rc: rc, query: query}, nil
}

func (rc *routedConn) Ping(ctx context.Context) error { return rc.gate.Ping(ctx) }

func (rc *routedConn) Close() error {
	var err error
	if rc.tx != nil {
		err = rc.tx.rollback()
		rc.endTx()
	}
	rc.giveUp()
	return err
}

// ResetSession is called before the connection is used by somebody else. IsValid has done all there is to do.
func (rc *routedConn) ResetSession(context.Context) error { return nil }

// IsValid is called when the connection goes back to its pool, where it may stay for long: what its user has left ends here.
func (rc *routedConn) IsValid() bool {
	rc.giveUp()
	return !rc.gate.closed.Load()
}

// CheckNamedValue lets every value through: the node's own driver judges it.
func (rc *routedConn) CheckNamedValue(*driver.NamedValue) error { return nil }

type routedStmt struct {
	rc    *routedConn
	query string
}

func (s *routedStmt) Close() error                               { return nil }
func (s *routedStmt) NumInput() int                              { return -1 }
func (s *routedStmt) CheckNamedValue(v *driver.NamedValue) error { return nil }
func (s *routedStmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), namedValues(args))
}
func (s *routedStmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), namedValues(args))
}
func (s *routedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.rc.ExecContext(ctx, s.query, args)
}
func (s *routedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.rc.QueryContext(ctx, s.query, args)
}

func namedValues(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named
}
