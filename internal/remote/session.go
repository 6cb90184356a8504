package remote

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/internal/wire"
)

// session is what a stream has in the database. Only the goroutine of Serve
// uses it.
type session struct {
	db   *sql.DB
	opts ServeOptions
	send func(kind uint8, msg any) error

	conn  *sql.Conn // pinned from the first statement to the client's release
	tx    *sql.Tx   // on conn
	endTx context.CancelFunc
	stmts map[uint64]*preparedStmt
	ids   uint64
}

// preparedStmt outlives the connection it was prepared on: stmt is nil until
// it is needed on the next one.
type preparedStmt struct {
	query string
	stmt  *sql.Stmt
}

// handle answers a request. Its error is one of the stream, not of a statement.
func (s *session) handle(ctx context.Context, j *job) error {
	for _, id := range j.CloseStmts {
		if p := s.stmts[id]; p != nil && p.stmt != nil {
			p.stmt.Close()
		}
		delete(s.stmts, id)
	}
	if j.kind == kindRelease {
		if s.tx == nil {
			s.release()
		}
		return nil
	}
	answer := &done{Seq: j.Seq}
	err := s.admit(j)
	if err == nil && (j.Header.Kill || j.Header.MaxBytes > 0) && (j.kind == kindExec || j.kind == kindQuery) {
		var unguard func()
		if unguard, err = s.guard(j); err == nil {
			defer unguard()
		}
	}
	if err == nil && j.kind == kindQuery {
		return s.answerQuery(ctx, j)
	}
	if err == nil {
		err = s.do(j, answer)
	}
	if err != nil {
		return s.sendError(ctx, j, err)
	}
	answer.Token = s.token()
	return s.send(kindDone, answer)
}

// admit applies what the options demand before a request.
func (s *session) admit(j *job) error {
	if j.Version != protocolVersion {
		return fmt.Errorf("protocol version %d, want %d: run the same release on both nodes", j.Version, protocolVersion)
	}
	if len(j.SQL) > maxStatement || j.NumArgs < 0 || j.NumArgs > maxArgs {
		return fmt.Errorf("statement of %d bytes and %d arguments: %w", len(j.SQL), j.NumArgs, ErrTooLarge)
	}
	if s.opts.ReadOnly && (j.kind == kindExec || j.kind == kindBegin && !j.ReadOnly) {
		return ErrReadOnly
	}
	if err := s.check(j); err != nil {
		return err
	}
	switch j.kind {
	case kindExec, kindQuery, kindBegin, kindPing:
	default:
		return nil
	}
	if s.tx != nil || s.opts.Before == nil {
		return nil
	}
	ctx, err := s.opts.Before(j.ctx, j.Header)
	if err == nil {
		j.ctx = ctx
	}
	return err
}

// check asks the options whether the request may be answered.
func (s *session) check(j *job) error {
	switch j.kind {
	case kindBegin:
		if s.opts.CheckBegin != nil {
			return s.opts.CheckBegin(j.ReadOnly)
		}
	case kindExec, kindQuery, kindPrepare:
		text := j.SQL
		if p := s.stmts[j.Stmt]; p != nil && j.kind != kindPrepare {
			text = p.query
		}
		if s.opts.Check != nil {
			return s.opts.Check(text)
		}
	}
	return nil
}

// guard heeds the Header.
func (s *session) guard(j *job) (unguard func(), err error) {
	if s.opts.Guard == nil {
		return func() {}, nil
	}
	if err := s.pin(j.ctx); err != nil {
		return nil, err
	}
	query := j.SQL
	if p := s.stmts[j.Stmt]; p != nil {
		query = p.query
	}
	ctx, release, err := s.opts.Guard(j.ctx, j.Header, query, s.conn)
	if err != nil {
		return nil, err
	}
	j.ctx = ctx
	return func() {
		if release() && s.tx == nil {
			s.conn.Raw(func(any) error { return driver.ErrBadConn }) // nobody else may get it
			s.release()
		}
	}, nil
}

func (s *session) token() uint64 {
	if s.opts.After == nil {
		return 0
	}
	return s.opts.After()
}

// sendError answers with err. ctx is the stream's.
func (s *session) sendError(ctx context.Context, j *job, err error) error {
	switch {
	case ctx.Err() != nil: // the statement's own context is not to blame
		err = fmt.Errorf("%w: %s", ErrServerClosed, err)
	case j.ctx.Err() != nil && !errors.Is(err, context.Cause(j.ctx)):
		err = fmt.Errorf("%w: %w", context.Cause(j.ctx), err)
	}
	return s.send(kindError, &failure{Seq: j.Seq, Token: s.token(), Error: newWireError(err, s.opts.Errors)})
}

// do executes a request other than a query.
func (s *session) do(j *job, answer *done) error {
	switch j.kind {
	case kindExec:
		return s.exec(j, answer)
	case kindPrepare:
		return s.prepare(j, answer)
	case kindBegin:
		return s.begin(j)
	case kindCommit, kindRollback:
		return s.end(j.kind)
	case kindPing:
		if s.conn == nil {
			return s.db.PingContext(j.ctx)
		}
		return s.conn.PingContext(j.ctx)
	default:
		return fmt.Errorf("unknown request of kind %d", j.kind)
	}
}

func (s *session) exec(j *job, answer *done) error {
	args, err := decodeArgs(j)
	if err != nil {
		return err
	}
	var res sql.Result
	if stmt, err := s.target(j); err != nil {
		return err
	} else if stmt != nil {
		res, err = stmt.ExecContext(j.ctx, args...)
		if err != nil {
			return err
		}
	} else if s.tx != nil {
		if res, err = s.tx.ExecContext(j.ctx, j.SQL, args...); err != nil {
			return err
		}
	} else if res, err = s.conn.ExecContext(j.ctx, j.SQL, args...); err != nil {
		return err
	}
	if answer.LastInsertID, err = res.LastInsertId(); err != nil {
		answer.NoInsertID = err.Error()
	}
	if answer.RowsAffected, err = res.RowsAffected(); err != nil {
		answer.NoAffected = err.Error()
	}
	return nil
}

func (s *session) query(j *job) (*sql.Rows, error) {
	args, err := decodeArgs(j)
	if err != nil {
		return nil, err
	}
	stmt, err := s.target(j)
	switch {
	case err != nil:
		return nil, err
	case stmt != nil:
		return stmt.QueryContext(j.ctx, args...)
	case s.tx != nil:
		return s.tx.QueryContext(j.ctx, j.SQL, args...)
	default:
		return s.conn.QueryContext(j.ctx, j.SQL, args...)
	}
}

// target pins a connection and returns the prepared statement that the request
// names, or nil if it has its own text. A statement of the pinned connection
// takes part in the connection's transaction.
func (s *session) target(j *job) (*sql.Stmt, error) {
	if err := s.pin(j.ctx); err != nil || j.Stmt == 0 {
		return nil, err
	}
	p := s.stmts[j.Stmt]
	if p == nil {
		return nil, fmt.Errorf("no prepared statement %d", j.Stmt)
	}
	if p.stmt == nil {
		stmt, err := s.conn.PrepareContext(j.ctx, p.query)
		if err != nil {
			return nil, err
		}
		p.stmt = stmt
	}
	return p.stmt, nil
}

func (s *session) prepare(j *job, answer *done) error {
	if len(s.stmts) >= maxStmts {
		return fmt.Errorf("%d prepared statements are open on this connection: close some", maxStmts)
	}
	if err := s.pin(j.ctx); err != nil {
		return err
	}
	stmt, err := s.conn.PrepareContext(j.ctx, j.SQL)
	if err != nil {
		return err
	}
	s.ids++
	s.stmts[s.ids] = &preparedStmt{query: j.SQL, stmt: stmt}
	answer.Stmt = s.ids
	return nil
}

func (s *session) begin(j *job) error {
	if s.tx != nil {
		return errors.New("a transaction is already open on this connection")
	}
	if err := s.pin(j.ctx); err != nil {
		return err
	}
	// The transaction outlives the request that opens it, and is ended by the
	// session rather than by a context, so that the connection survives it.
	ctx, end := context.WithCancel(context.WithoutCancel(j.ctx))
	keep := context.AfterFunc(j.ctx, end)
	tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.IsolationLevel(j.Isolation), ReadOnly: j.ReadOnly})
	if err == nil && !keep() {
		tx.Rollback()
		err = j.ctx.Err()
	}
	if err != nil {
		keep()
		end()
		if j.ctx.Err() != nil {
			s.release() // waits for the rollback, which could undo a later statement
		}
		return err
	}
	s.tx, s.endTx = tx, end
	return nil
}

func (s *session) end(kind uint8) error {
	if s.tx == nil {
		return sql.ErrTxDone
	}
	tx, end := s.tx, s.endTx
	s.tx, s.endTx = nil, nil
	defer end()
	if kind == kindCommit {
		return tx.Commit()
	}
	return tx.Rollback()
}

// pin takes a connection from the pool if the session has none.
func (s *session) pin(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := s.db.Conn(ctx)
	if err == nil {
		s.conn = conn
	}
	return err
}

// release gives the connection back. Its statements go with it.
func (s *session) release() {
	for _, p := range s.stmts {
		if p.stmt != nil {
			p.stmt.Close()
			p.stmt = nil
		}
	}
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// close rolls back and releases.
func (s *session) close() {
	if s.tx != nil {
		_ = s.end(kindRollback) // a connection that cannot is closed by its pool
	}
	s.release()
}

func decodeArgs(j *job) ([]any, error) {
	if j.NumArgs > len(j.Args) {
		return nil, errTruncated
	}
	in := reader{buf: j.Args}
	args := make([]any, j.NumArgs)
	for i := range args {
		name := string(in.sized())
		args[i] = driver.Value(in.value())
		if name != "" {
			args[i] = sql.Named(name, args[i])
		}
	}
	if in.err == nil && len(in.buf) > 0 {
		in.err = fmt.Errorf("%w: bytes follow the last argument", wire.ErrCorrupt)
	}
	return args, in.err
}
