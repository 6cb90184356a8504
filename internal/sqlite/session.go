package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

// settings are the values of a connection that Conn changes and Release puts back.
// The connection itself is kept: for a database in memory it may be the database.
type settings struct {
	foreignKeys, busyTimeout, ignoreChecks int64
	changed                                bool
}

// The guard table silences triggers for as long as the transaction that filled it:
// any row keeps the user's guarded triggers still, the row quiet the capture too.
const (
	flagTable = `"_ddb_flag"`
	batchFlag = 1
	quietFlag = 2
)

// Conn takes a connection from the pool and sets it up for the purpose.
func (e *engine) Conn(ctx context.Context, p dialect.Purpose) (*sql.Conn, error) {
	c, err := e.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	e.mu.Lock()
	e.quick[c] = newQuickConn(c)
	e.mu.Unlock()
	if p == dialect.Write {
		return c, nil // as the program has set it up
	}
	var was settings
	if was.foreignKeys, err = integer(ctx, c, "PRAGMA foreign_keys"); err == nil {
		was.busyTimeout, err = integer(ctx, c, "PRAGMA busy_timeout")
	}
	if err == nil {
		was.ignoreChecks, err = integer(ctx, c, "PRAGMA ignore_check_constraints")
	}
	if err == nil && was.busyTimeout < busyTimeout {
		was.changed = true
		_, err = c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout))
	}
	if err == nil && p == dialect.Replay && was.foreignKeys != 0 {
		was.changed = true
		_, err = c.ExecContext(ctx, "PRAGMA foreign_keys = OFF")
	}
	if err == nil && p == dialect.Replay && was.ignoreChecks == 0 { // what the master has is not judged again
		was.changed = true
		_, err = c.ExecContext(ctx, "PRAGMA ignore_check_constraints = ON")
	}
	e.mu.Lock()
	e.settings[c] = was
	e.mu.Unlock()
	if err != nil {
		e.Release(c)
		return nil, fmt.Errorf("connection: %w", err)
	}
	return c, nil
}

// Release rolls back what is not committed and returns the connection as it was.
func (e *engine) Release(c *sql.Conn) {
	e.mu.Lock()
	was := e.settings[c]
	delete(e.settings, c)
	quick := e.quick[c]
	delete(e.quick, c)
	e.mu.Unlock()
	if quick != nil {
		quick.forget()
	}
	ctx := context.Background()
	_, _ = c.ExecContext(ctx, "ROLLBACK") // fails where no transaction runs, which is as well
	if was.changed {
		_, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d; PRAGMA foreign_keys = %d; PRAGMA ignore_check_constraints = %d",
			was.busyTimeout, was.foreignKeys, was.ignoreChecks))
		if err != nil {
			_ = c.Raw(func(any) error { return sqldriver.ErrBadConn })
		}
	}
	_ = c.Close()
}

// Begin starts a transaction that holds the write lock, so that it never fails
// later for another writer's sake.
func (e *engine) Begin(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	q := e.Quick(c)
	k, _ := q.(*quickConn)
	if k != nil {
		clear(k.noted)
		clear(k.whole)
	}
	if _, err := q.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if k != nil {
		k.open = true
	}
	flag := 0
	switch p {
	case dialect.Batch:
		flag = batchFlag
	case dialect.Replay:
		flag = quietFlag
	}
	if flag == 0 {
		return nil
	}
	guarded, err := e.guarded(ctx, q)
	if err == nil && guarded {
		_, err = q.ExecContext(ctx, fmt.Sprintf("INSERT OR IGNORE INTO %s VALUES (%d)", flagTable, flag))
	}
	if err != nil {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

// guarded reports whether any trigger looks at the flag.
func (e *engine) guarded(ctx context.Context, q dialect.Querier) (bool, error) {
	n, err := integer(ctx, q, "SELECT count(*) FROM "+lookFirst+", pragma_table_info('_ddb_flag', 'main')")
	return n != 0, err
}

// Commit ends the transaction.
func (e *engine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	err := ctx.Err()
	q := e.Quick(c)
	if k, ok := q.(*quickConn); ok {
		k.open = false
	}
	ctx = context.WithoutCancel(ctx) // from here on a cancellation could hide a success
	if err == nil && (p == dialect.Batch || p == dialect.Replay) {
		var guarded bool
		if guarded, err = e.guarded(ctx, q); err == nil && guarded {
			_, err = q.ExecContext(ctx, "DELETE FROM "+flagTable)
		}
	}
	if err == nil {
		_, err = q.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = c.ExecContext(ctx, "ROLLBACK")
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
