package sessions

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// What is set in a program's own session, and set back.

// Database returns the session's current database, "" if there is none.
func (s *Sessions) Database(ctx context.Context, q dialect.Querier) (string, error) {
	var name sql.NullString
	err := dialect.ScanOne(ctx, q, []any{&name}, "SELECT DATABASE()")
	return name.String, err
}

// HoldsTables reports whether the session has locked tables, without own, one of ddb's.
func (s *Sessions) HoldsTables(ctx context.Context, c *sql.Conn, own string) (bool, error) {
	_, err := c.ExecContext(ctx, "DO (SELECT 1 FROM "+own+" LIMIT 1)")
	if n := lang.Errno(err); n != 0 {
		return n == lang.ErNotLocked, nil
	}
	return false, err
}

// Impatient makes the session wait for locks of tables for a second, until restore is called.
func (s *Sessions) Impatient(ctx context.Context, c *sql.Conn) (restore func() error, err error) {
	return set(ctx, c, "SET @ddb_wait=@@lock_wait_timeout, lock_wait_timeout=1", "SET lock_wait_timeout=@ddb_wait")
}

// Unchecked keeps the session from checking foreign keys, until restore is called.
func (s *Sessions) Unchecked(ctx context.Context, c *sql.Conn) (restore func() error, err error) {
	var was int
	if err := c.QueryRowContext(ctx, "SELECT @@foreign_key_checks").Scan(&was); err != nil {
		return nil, err
	}
	return set(ctx, c, "SET foreign_key_checks=0", fmt.Sprintf("SET foreign_key_checks=%d", was))
}

// ShareKeys makes the session hand out one key in step.
func (s *Sessions) ShareKeys(ctx context.Context, c *sql.Conn, step, number int64) error {
	_, err := c.ExecContext(ctx, fmt.Sprintf("SET SESSION auto_increment_increment=%d, auto_increment_offset=%d", step, number))
	return err
}

func set(ctx context.Context, c *sql.Conn, to, back string) (restore func() error, err error) {
	if _, err := c.ExecContext(ctx, to); err != nil {
		return nil, err
	}
	return func() error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), back)
		return err
	}, nil
}
