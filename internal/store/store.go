// Package store is a database with ddb's own tables in it: what master and followers have in common. It binds to the database, holds
// the lock that keeps a second node out, knows the tables (Catalogue) and the databases that are replicated, and keeps what a node must
// remember in the table meta. It knows neither links nor entries' content.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/journal"
)

// Store is what master and followers have in common: the database, ddb's own
// tables in it, and the journal.
type Store struct {
	Config  Config // as given to Open
	ID      string // of the node
	DB      *sql.DB
	Dialect dialect.Dialect
	Engine  dialect.Engine
	Journal journal.Journal
	Log     hclog.Logger
	Unlock  func() error // gives the database back
	Lock    lockState

	ClusterID string                    // "" before the node belongs to a cluster
	Primary   string                    // the node's own name of the database that entries call ""
	More      atomic.Pointer[[]string]  // databases added by CREATE DATABASE
	Tables    atomic.Pointer[Catalogue] // as last read
	said      sync.Map                  // what Once was asked
}

// OwnDatabase stands in entries for the place of ddb's own replicated tables.
const OwnDatabase = "%ddb"

// Logical gives the name that entries use for a database: each node may have another
// name for its primary one.
func (n *Store) Logical(database string) string {
	if database == n.Primary {
		return ""
	}
	return database
}

// Physical is the inverse of Logical, for statements.
func (n *Store) Physical(database string) string {
	if database == "" {
		return n.Primary
	}
	return database
}

// Once reports whether it is asked for the first time: what a person need be told once.
func (n *Store) Once(what string) bool {
	_, said := n.said.LoadOrStore(what, true)
	return !said
}

// Name gives the name that entries use for a table.
func (n *Store) Name(t *dialect.Table) journal.TableName {
	if t.Own {
		return journal.TableName{Database: OwnDatabase, Table: strings.TrimPrefix(t.Name, "_ddb_")}
	}
	return journal.TableName{Database: n.Logical(t.Database), Table: t.Name}
}

// brought are the dialects that ddb brings: what is in the names of their drivers' types, and the packages that register them.
var brought = []struct{ driver, path string }{
	{"sqlite", "github.com/ddb-project/ddb/dialect/sqlite"},
	{"mysql", "github.com/ddb-project/ddb/dialect/mysql"},
}

// dialectOf finds the dialect of the driver of the database. An error is ErrOptions, and names the package to import.
func dialectOf(db *sql.DB) (dialect.Dialect, error) {
	if d := dialect.Of(db); d != nil {
		return d, nil
	}
	name := reflect.TypeOf(db.Driver()).String()
	var list []string
	for _, b := range brought {
		line := fmt.Sprintf("import _ %q", b.path)
		if strings.Contains(name, b.driver) {
			return nil, fmt.Errorf("%w: the dialect for the driver %s has not been imported: %s, or set Options.Dialect", fault.ErrOptions, name, line)
		}
		list = append(list, line)
	}
	return nil, fmt.Errorf("%w: no dialect for the driver %s; use that of a dialect, %s, or set Options.Dialect", fault.ErrOptions, name, strings.Join(list, " or "))
}

// AssumedDialect is dialectOf for a database that somebody else replicates: a driver that tells nothing is taken for one of MariaDB or
// MySQL, if that dialect has been imported.
func AssumedDialect(db *sql.DB) (dialect.Dialect, error) {
	d, err := dialectOf(db)
	if err == nil {
		return d, nil
	}
	name := reflect.TypeOf(db.Driver()).String()
	for _, b := range brought {
		if strings.Contains(name, b.driver) {
			return nil, err
		}
	}
	if server := dialect.Named("mysql"); server != nil {
		return server, nil
	}
	return nil, err
}

// Config is what a node's database needs to know of the node.
type Config struct {
	ID        string
	Role      health.Role
	Dialect   dialect.Dialect // nil: found from the driver
	Databases []string
	Guard     bool            // the user's triggers stay still while the node itself writes
	Journal   journal.Journal // nil: a table in the database
	Logger    hclog.Logger
}

// Open binds to the database, locks it against a second node and makes ddb's own tables.
func Open(ctx context.Context, db *sql.DB, cfg Config) (*Store, error) {
	d := cfg.Dialect
	if d == nil {
		var err error
		if d, err = dialectOf(db); err != nil {
			return nil, err
		}
	}
	engine, err := d.Bind(ctx, db, dialect.Config{Databases: cfg.Databases, Guard: cfg.Guard})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", cfg.ID, err)
	}
	n := &Store{Config: cfg, ID: cfg.ID, DB: db, Dialect: d, Engine: engine, Log: cfg.Logger.With("node", cfg.ID, "role", string(cfg.Role))}
	if n.Unlock, err = engine.Lock(ctx); err != nil {
		return nil, n.lockError(err)
	}
	if w, ok := engine.(dialect.Warner); ok && cfg.Role != health.Replica && w.Warning() != "" {
		n.Log.Warn(w.Warning())
	}
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(err, n.Unlock())
	}
	return n, nil
}

func (n *Store) prepare(ctx context.Context) error {
	if err := n.Engine.CreateOwn(ctx, n.DB); err != nil {
		return fmt.Errorf("node %s: create ddb's own tables: %w", n.ID, err)
	}
	if n.Journal = n.Config.Journal; n.Journal == nil {
		n.Journal = journal.NewSQL(n.DB, n.Engine, n.InTx)
	}
	if err := n.findPrimary(ctx); err != nil {
		return err
	}
	if err := n.loadDatabases(ctx); err != nil {
		return err
	}
	id, _, err := n.Meta(ctx, n.DB, MetaCluster)
	if err != nil {
		return err
	}
	n.ClusterID = string(id)
	return nil
}

// findPrimary finds the name of the database that entries leave out.
func (n *Store) findPrimary(ctx context.Context) (err error) {
	if n.Primary, err = n.Engine.Database(ctx, n.DB); err != nil {
		return fmt.Errorf("node %s: find the current database: %w", n.ID, err)
	}
	if n.Primary != "" && len(n.Config.Databases) > 0 {
		n.Primary = n.Config.Databases[0]
	}
	return nil
}

// InTx runs f in a transaction of ddb's own, on a connection of its own.
func (n *Store) InTx(ctx context.Context, f func(q dialect.Querier) error) error {
	return n.WithTx(ctx, dialect.Replay, func(c *sql.Conn) error { return f(c) })
}

// WithTx runs f in a transaction of the purpose.
func (n *Store) WithTx(ctx context.Context, p dialect.Purpose, f func(c *sql.Conn) error) error {
	c, err := n.Engine.Conn(ctx, p)
	if err != nil {
		return err
	}
	defer n.Engine.Release(c)
	return n.TxOn(ctx, c, p, func() error { return f(c) })
}

// TxOn runs f in a transaction of the purpose on a connection that is at hand.
func (n *Store) TxOn(ctx context.Context, c *sql.Conn, p dialect.Purpose, f func() error) error {
	if err := n.Engine.Begin(ctx, c, p); err != nil {
		return err
	}
	if err := f(); err != nil {
		return errors.Join(err, n.Rollback(c))
	}
	if err := n.Engine.Commit(ctx, c, p); err != nil {
		return err
	}
	return nil
}

// rollbackTimeout bounds the end of a transaction that is given up.
const rollbackTimeout = 5 * time.Second

// Rollback ends the transaction on a connection, if there is one, even if the caller's context is over.
func (n *Store) Rollback(c dialect.Querier) error {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_, err := c.ExecContext(ctx, "ROLLBACK")
	if n.Fault(err).Is(dialect.NotInTx) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// SingleWriter reports whether the database has one writer at a time.
func (n *Store) SingleWriter() bool { return n.Engine.SingleWriter() }

// Quick returns q, or something on the same connection that runs the same statements faster when they come again.
func (n *Store) Quick(q dialect.Querier) dialect.Querier {
	if e, ok := n.Engine.(dialect.Quickener); ok {
		return e.Quick(q)
	}
	return q
}

// NewClusterID makes the id of a cluster that begins.
func NewClusterID() string { return rand.Text() }

// EntryTime returns when an entry of the journal was made, in unix nanoseconds: by the clock of the master that made it, or if it is an
// anchor, by this node's, which was told no other. It is 0 if the journal does not have the entry.
func (n *Store) EntryTime(ctx context.Context, lsn journal.LSN) (at int64, anchor bool, err error) {
	if lsn == 0 {
		return 0, false, nil
	}
	parts, err := n.Journal.Read(ctx, lsn, -1, 1)
	if err != nil || len(parts) == 0 || parts[0].LSN != lsn {
		return 0, false, err
	}
	return parts[0].At, parts[0].Anchor(), nil
}

// Drop closes a connection of a pool instead of giving it back.
func Drop(c *sql.Conn) { c.Raw(func(any) error { return driver.ErrBadConn }) }

// QuoteName quotes an identifier in the way that both MariaDB and SQLite read.
func QuoteName(database, name string) string {
	q := "`" + strings.ReplaceAll(name, "`", "``") + "`"
	if database != "" {
		q = "`" + strings.ReplaceAll(database, "`", "``") + "`." + q
	}
	return q
}

// Savepoint runs f so that nothing is left of it if it fails.
func Savepoint(ctx context.Context, c *sql.Conn, name string, f func() error) error {
	if _, err := c.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	err := f()
	if err != nil {
		if _, rerr := c.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+name); rerr != nil {
			return fmt.Errorf("%w: %w", fault.ErrClosed, errors.Join(err, rerr)) // the transaction is over
		}
	}
	if _, rerr := c.ExecContext(ctx, "RELEASE SAVEPOINT "+name); rerr != nil {
		return errors.Join(err, rerr)
	}
	return err
}
