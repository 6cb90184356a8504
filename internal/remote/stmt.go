package remote

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// ExecContext runs a statement. Its error is ErrUnknownOutcome if the link was
// lost before the answer.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(ctx, &request{SQL: query}, args)
}

// QueryContext runs a query. Its rows hold ctx until they are closed.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, &request{SQL: query}, args)
}

func (c *conn) exec(ctx context.Context, req *request, args []driver.NamedValue) (driver.Result, error) {
	if err := req.setArgs(args); err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, kindExec, req)
	if err != nil {
		return nil, err
	}
	return result{answer}, nil
}

func (c *conn) query(ctx context.Context, req *request, args []driver.NamedValue) (driver.Rows, error) {
	if err := req.setArgs(args); err != nil {
		return nil, err
	}
	if err := c.send(ctx, kindQuery, req); err != nil {
		return nil, err
	}
	r := &rows{conn: c, ctx: ctx}
	c.rows = r
	if err := r.fetch(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *request) setArgs(args []driver.NamedValue) (err error) {
	if len(args) > maxArgs {
		return fmt.Errorf("%d arguments, limit %d: %w", len(args), maxArgs, ErrTooLarge)
	}
	r.NumArgs = len(args)
	r.Args, err = appendArgs(nil, args)
	return err
}

// result is the answer to an exec.
type result struct{ *done }

func (r result) LastInsertId() (int64, error) { return r.LastInsertID, optional(r.NoInsertID) }
func (r result) RowsAffected() (int64, error) { return r.done.RowsAffected, optional(r.NoAffected) }

func optional(reason string) error {
	if reason == "" {
		return nil
	}
	return errors.New(reason)
}

// Prepare is PrepareContext without a context.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext prepares a statement on the server, which finds its errors. At
// most 1024 statements can be open on one connection.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	answer, err := c.call(ctx, kindPrepare, &request{SQL: query})
	if err != nil {
		return nil, err
	}
	return &stmt{conn: c, id: answer.Stmt}, nil
}

// stmt is a statement that the server prepared.
type stmt struct {
	conn   *conn
	id     uint64
	closed bool
}

// Close lets the server forget the statement, along with the next request.
func (s *stmt) Close() error {
	if !s.closed {
		s.closed = true
		s.conn.closeStmts = append(s.conn.closeStmts, s.id)
	}
	return nil
}

// NumInput leaves counting to the server's driver.
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(ctx, &request{Stmt: s.id}, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, &request{Stmt: s.id}, args)
}

func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return list
}

// Begin is BeginTx with the default options.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx opens a transaction with the isolation level and access mode that the
// server's database supports. It is rolled back if the link is lost.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	_, err := c.call(ctx, kindBegin, &request{Isolation: int(opts.Isolation), ReadOnly: opts.ReadOnly})
	if err != nil {
		return nil, err
	}
	c.inTx = true
	return tx{c}, nil
}

type tx struct{ conn *conn }

// Commit returns ErrUnknownOutcome if the link was lost before the answer.
func (t tx) Commit() error { return t.end(kindCommit) }

// Rollback returns driver.ErrBadConn if the link was lost; the server rolls
// back as soon as it notices.
func (t tx) Rollback() error { return t.end(kindRollback) }

func (t tx) end(kind uint8) error {
	_, err := t.conn.call(context.Background(), kind, &request{})
	t.conn.inTx = false // on the server a failed commit ends the transaction too
	return err
}

// CheckNamedValue accepts what database drivers accept, uint64 and MySQL's
// json.RawMessage included; the server's driver judges the rest.
func (c *conn) CheckNamedValue(nv *driver.NamedValue) error {
	v, err := argument(nv.Value)
	if err == nil {
		nv.Value = v
	}
	return err
}

func argument(v any) (driver.Value, error) {
	switch v := v.(type) {
	case nil, int64, uint64, float64, bool, string, []byte, time.Time, json.RawMessage:
		return v, nil
	case driver.Valuer:
		if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() &&
			rv.Type().Elem().Implements(reflect.TypeFor[driver.Valuer]()) {
			return nil, nil // as database/sql does: Value has no receiver to work on
		}
		inner, err := v.Value()
		if err != nil {
			return nil, err
		}
		if _, again := inner.(driver.Valuer); again {
			return nil, fmt.Errorf("%T.Value returns another driver.Valuer", v)
		}
		return argument(inner)
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return nil, nil
		}
		return argument(rv.Elem().Interface())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return rv.Uint(), nil
	}
	return driver.DefaultParameterConverter.ConvertValue(v)
}
