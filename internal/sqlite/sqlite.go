// Package sqlite is ddb's dialect for modernc.org/sqlite.
//
// Everything of ddb's own lies in the user's file under names that begin with
// "_ddb_". SQLite has one writer at a time, so a transaction that begins IMMEDIATE
// sees all notes and no new ones come while it runs.
package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	driver "modernc.org/sqlite"
)

// prefix begins the names of all that is ddb's own in a database.
const prefix = "_ddb_"

// busyTimeout is how long ddb's own transactions wait for another writer, in
// milliseconds, where the program's DSN asks for less.
const busyTimeout = 10_000

// Dialect implements [dialect.Dialect] for modernc.org/sqlite.
type Dialect struct{}

var _ interface {
	dialect.Driven
	dialect.ValueLimiter
	dialect.TransactionTeller
} = Dialect{}

// Name returns "sqlite".
func (Dialect) Name() string { return "sqlite" }

// Drives tells the drivers by the names of their types: whatever is around one of them, Bind says what it cannot use.
func (Dialect) Drives(d sqldriver.Driver) bool {
	return strings.Contains(reflect.TypeOf(d).String(), "sqlite")
}

// Language is SQLite's.
func (Dialect) Language() dialect.Language { return dialect.SQLite }

// Bind checks that db is a SQLite database that can be replicated.
func (Dialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	if got, want := reflect.TypeOf(db.Driver()), reflect.TypeFor[*driver.Driver](); got != want {
		return nil, fmt.Errorf("the database is opened with driver %v; open it with sql.Open(\"sqlite\", ...) of modernc.org/sqlite", got)
	}
	if len(cfg.Databases) > 1 || (len(cfg.Databases) == 1 && cfg.Databases[0] != "" && cfg.Databases[0] != "main") {
		return nil, fmt.Errorf("a SQLite node has one database, \"main\"; leave Databases empty instead of %q", cfg.Databases)
	}
	if db.Stats().MaxOpenConnections == 1 {
		// What writes keeps its connection, and reads would wait for it for ever.
		return nil, errors.New("the pool allows 1 open connection, which ddb keeps for writing, so that no read would ever get one: " +
			"raise SetMaxOpenConns; a database in memory that connections share is \"file:name?mode=memory&cache=shared\"")
	}
	e := &engine{db: db, cfg: cfg, known: make(map[string]*table), settings: make(map[*sql.Conn]settings), quick: make(map[*sql.Conn]*quickConn)}
	if err := e.check(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// engine implements [dialect.Engine].
type engine struct {
	db   *sql.DB
	cfg  dialect.Config
	file string // the database file, "" for one in memory

	bared atomic.Bool // Run has dropped the triggers of all tables, and they may not have been made anew

	mu       sync.Mutex
	known    map[string]*table      // the catalogue that Tables last returned, by name
	settings map[*sql.Conn]settings // of the connections handed out, as they were
	quick    map[*sql.Conn]*quickConn
}

// What the engine is able to do besides.
var _ interface {
	dialect.Engine
	dialect.Quickener
	dialect.Temporaries
	dialect.SettingComparer
	dialect.CounterLister
	dialect.FunctionLister
	dialect.NoteReader
	dialect.KeyMover
	dialect.NameFolder
	dialect.KeyGauge
	dialect.Compiler
	dialect.Cascader
	dialect.FileCopier
} = (*engine)(nil)

// check refuses databases that cannot be replicated correctly.
func (e *engine) check(ctx context.Context) error {
	c, err := e.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	defer c.Close()
	if e.file, err = text(ctx, c, "SELECT coalesce(max(file), '') FROM pragma_database_list WHERE name = 'main'"); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	encoding, err := text(ctx, c, "PRAGMA encoding")
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if encoding != "UTF-8" {
		// SQLite converts UTF-16 on the way in and out, which mangles text that is not valid.
		return fmt.Errorf("the database's encoding is %s; ddb needs UTF-8: copy it (sqlite3 old.db .dump | sqlite3 new.db)", encoding)
	}
	var v any
	if err := c.QueryRowContext(ctx, "SELECT '2020-01-02'").Scan(&v); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if _, isTime := v.(time.Time); isTime {
		return errors.New("the DSN's _texttotime turns text that looks like a date into another text; open the database without it")
	}
	if e.file == "" {
		return e.checkShared(ctx, c)
	}
	return nil
}

// checkShared refuses an in-memory database of which each pooled connection has its own.
// The only mark of a database that another connection can see and that is no change
// of its contents is user_version; it is put back at once.
func (e *engine) checkShared(ctx context.Context, c *sql.Conn) (err error) {
	old, err := integer(ctx, c, "PRAGMA user_version")
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	second, err := e.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	defer second.Close()
	mark := (old + 1234567) & 0x3fffffff
	if _, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", mark)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	seen, err := integer(ctx, second, "PRAGMA user_version")
	_, err2 := c.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA user_version = %d", old))
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if seen != mark {
		return errors.New("each connection of the pool has an in-memory database of its own; use a file, or \"file:name?mode=memory&cache=shared\"")
	}
	return nil
}

// quote makes a name an SQL identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal makes a text an SQL string.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// own reports whether a name is in ddb's name space.
func own(name string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// text returns the first column of a query's first row.
func text(ctx context.Context, q dialect.Querier, query string, args ...any) (string, error) {
	var s string
	err := first(ctx, q, &s, query, args...)
	return s, err
}

// integer returns the first column of a query's first row.
func integer(ctx context.Context, q dialect.Querier, query string, args ...any) (int64, error) {
	var n sql.NullInt64
	err := first(ctx, q, &n, query, args...)
	return n.Int64, err
}

func first(ctx context.Context, q dialect.Querier, to any, query string, args ...any) error {
	if k, ok := q.(*quickConn); ok && len(args) == 0 {
		return k.first(ctx, to, query)
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(to); err != nil {
		return err
	}
	return rows.Close()
}

// each runs fn for every row of a query, which it scans into to.
func each(ctx context.Context, q dialect.Querier, query string, to []any, fn func() error, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// atomic runs fn in a transaction: its own, or a savepoint of the one that runs.
func (e *engine) atomic(ctx context.Context, q dialect.Querier, fn func(q dialect.Querier) error) (err error) {
	if db, ok := q.(*sql.DB); ok {
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		q = c
	}
	begin, commit, rollback := "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"
	if _, err := q.ExecContext(ctx, begin); err != nil {
		if !strings.Contains(err.Error(), "within a transaction") {
			return err
		}
		begin, commit, rollback = "SAVEPOINT _ddb", "RELEASE _ddb", "ROLLBACK TO _ddb; RELEASE _ddb"
		if _, err := q.ExecContext(ctx, begin); err != nil {
			return err
		}
	}
	if err = fn(q); err == nil {
		if err = ctx.Err(); err == nil {
			// A cancellation that comes while COMMIT runs would make its success look like a failure.
			_, err = q.ExecContext(context.WithoutCancel(ctx), commit)
		}
	}
	if err != nil {
		_, _ = q.ExecContext(context.WithoutCancel(ctx), rollback)
	}
	return err
}

// run executes statements one after the other.
func run(ctx context.Context, q dialect.Querier, statements ...string) error {
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%w (in %.200s)", err, s)
		}
	}
	return nil
}
