package sessions

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Sessions are the connections that have been handed out for ddb's work.
type Sessions struct {
	db      *sql.DB
	mariadb bool

	mu    sync.Mutex
	conns map[*sql.Conn]*session // connections handed out by Conn
}

// New returns the connections of a pool to a server, none of which is handed out yet.
func New(db *sql.DB, mariadb bool) *Sessions {
	return &Sessions{db: db, mariadb: mariadb, conns: map[*sql.Conn]*session{}}
}

// session is what is known of a connection that was handed out.
type session struct {
	purpose dialect.Purpose
	open    bool // a transaction is under way
}

// RollbackTimeout bounds the clean-up of a transaction whose context is over.
const RollbackTimeout = 5 * time.Second

// LockWait is how many seconds a schema statement waits for an open transaction while all passes wait behind it.
const LockWait = 10

// setup is the one statement that prepares a connection for a purpose.
func (s *Sessions) setup(p dialect.Purpose) string {
	mode := lang.SQLMode
	if p == dialect.Batch {
		mode = lang.BatchMode
	}
	set := []string{
		"NAMES utf8mb4 COLLATE utf8mb4_bin", "character_set_results=NULL",
		"time_zone='+00:00'", "sql_mode='" + mode + "'", "autocommit=1",
		"sql_safe_updates=0", "sql_select_limit=DEFAULT", "sql_auto_is_null=0", "sql_big_selects=1",
		"sql_quote_show_create=1", "wait_timeout=2147483", "net_write_timeout=3600", "net_read_timeout=3600",
		"unique_checks=1",
	}
	if s.mariadb {
		set = append(set, "tx_isolation='REPEATABLE-READ'", "max_statement_time=0")
	} else {
		set = append(set, "transaction_isolation='REPEATABLE-READ'", "max_execution_time=0", "information_schema_stats_expiry=0")
	}
	switch p {
	case dialect.Batch:
		set = append(set, "foreign_key_checks=1", "@ddb_apply=1")
		if s.mariadb {
			set = append(set, "check_constraint_checks=1")
		}
	case dialect.Replay:
		set = append(set, "foreign_key_checks=0", "@ddb_apply=2")
		if s.mariadb {
			set = append(set, "check_constraint_checks=0")
		}
	default:
		// A trigger or ALTER behind somebody's open transaction must not stop all passes
		// for the day that is the server's default: it fails and is tried again.
		set = append(set, "foreign_key_checks=1", "@ddb_apply=NULL", fmt.Sprintf("lock_wait_timeout=%d", LockWait))
	}
	return "SET " + strings.Join(set, ", ")
}

// Conn takes a connection from the pool. One for Write stays as the user's DSN made it. One for another purpose
// is none that a program has left temporary tables on, which would stand in front of those that ddb is to read.
func (s *Sessions) Conn(ctx context.Context, p dialect.Purpose) (*sql.Conn, error) {
	var c *sql.Conn
	for hidden := true; hidden; {
		var err error
		if c, err = s.db.Conn(ctx); err != nil {
			return nil, fmt.Errorf("connect: %w", lang.Wrap(err))
		}
		if p == dialect.Write {
			break
		}
		if _, err = c.ExecContext(ctx, s.setup(p)); err == nil {
			hidden, err = s.HasTemporary(ctx, c)
		}
		if err != nil || hidden {
			Discard(c)
		}
		if err != nil {
			return nil, fmt.Errorf("set up connection: %w", lang.Wrap(err))
		}
	}
	s.mu.Lock()
	s.conns[c] = &session{purpose: p}
	s.mu.Unlock()
	return c, nil
}

// Release gives the connection back; with ddb's settings, or with an open
// transaction, it is closed instead.
func (s *Sessions) Release(c *sql.Conn) {
	if c == nil {
		return
	}
	s.mu.Lock()
	was := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if was != nil && was.purpose == dialect.Write && !was.open {
		c.Close()
		return
	}
	Discard(c)
}

// Discard closes the connection to the server rather than returning it to the pool.
func Discard(c *sql.Conn) {
	c.Raw(func(any) error { return sqldriver.ErrBadConn })
	c.Close()
}

// Purpose tells what q was set up for; ok is false for a Querier that Conn did not make.
func (s *Sessions) Purpose(q dialect.Querier) (p dialect.Purpose, ok bool) {
	c, isConn := q.(*sql.Conn)
	if !isConn {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.conns[c]; one != nil {
		return one.purpose, true
	}
	return 0, false
}

func (s *Sessions) setOpen(c *sql.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.conns[c]; one != nil {
		one.open = open
	}
}

// Begin starts a transaction; for Pass it fixes the snapshot at once.
func (s *Sessions) Begin(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	q := "START TRANSACTION"
	if p == dialect.Pass {
		q = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
	}
	s.setOpen(c, true)
	if _, err := c.ExecContext(ctx, q); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

// Commit ends the transaction. After an error nothing of it stands, unless the
// connection was lost while COMMIT was under way.
func (s *Sessions) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	_, err := c.ExecContext(ctx, "COMMIT")
	if err == nil {
		s.setOpen(c, false)
		return nil
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), RollbackTimeout)
	defer cancel()
	if _, rerr := c.ExecContext(back, "ROLLBACK"); rerr == nil {
		s.setOpen(c, false)
	}
	return fmt.Errorf("commit: %w", err)
}

// Statements that put any session into ddb's surroundings and back, for calls on a
// connection that the engine did not prepare.
const (
	neutralOn = "SET @ddb_mode=@@sql_mode, @ddb_zone=@@time_zone, @ddb_results=@@character_set_results," +
		" @ddb_client=@@character_set_client, @ddb_collation=@@collation_connection," +
		" sql_mode='" + lang.SQLMode + "', time_zone='+00:00', character_set_client=utf8mb4," +
		" collation_connection=utf8mb4_bin, character_set_results=NULL"
	neutralOff = "SET sql_mode=@ddb_mode, time_zone=@ddb_zone, character_set_results=@ddb_results," +
		" character_set_client=@ddb_client, collation_connection=@ddb_collation"
)

// neutralQuerier marks a connection that is in ddb's surroundings already.
type neutralQuerier struct{ dialect.Querier }

// Neutral calls f with a Querier on one connection that has ddb's surroundings; they
// are taken back afterwards. On a connection made by Conn for ddb's own purposes it
// just calls f.
func (s *Sessions) Neutral(ctx context.Context, q dialect.Querier, f func(dialect.Querier) error) error {
	if _, ok := q.(neutralQuerier); ok {
		return f(q)
	}
	if p, ok := s.Purpose(q); ok && p != dialect.Write {
		return f(q)
	}
	spoiled := func() {}
	if db, ok := q.(*sql.DB); ok {
		c, err := db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("connect: %w", lang.Wrap(err))
		}
		defer c.Close()
		q, spoiled = c, func() { Discard(c) }
	}
	if _, err := q.ExecContext(ctx, neutralOn); err != nil {
		return err
	}
	err := f(neutralQuerier{q})
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), RollbackTimeout)
	defer cancel()
	if _, rerr := q.ExecContext(back, neutralOff); rerr != nil {
		spoiled()
		if err == nil {
			err = rerr
		}
	}
	return err
}
