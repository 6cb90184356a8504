package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// Dialect is MariaDB and MySQL. The zero value is ready for use.
type Dialect struct{}

var _ dialect.Dialect = Dialect{}

// Name returns "mysql".
func (Dialect) Name() string { return "mysql" }

// Connections of a pool.
const (
	minPool  = 3 // that a node needs at least: lock, pass, everything else
	goodPool = 8 // with which its own work and the program's do not wait for each other
)

// engine is the dialect bound to one *sql.DB.
type engine struct {
	db        *sql.DB
	cfg       dialect.Config
	bound     []string                 // the databases that it was bound to; the first one is the primary one
	all       atomic.Pointer[[]string] // bound, and those that Replicate has added
	own       string                   // name of ddb's own database
	mariadb   bool
	fold      bool        // lower_case_table_names != 0
	process   bool        // the user may read InnoDB's dictionary
	user      string      // the server's CURRENT_USER
	statement int         // limit of a statement's size, bytes
	packet    int         // max_allowed_packet, bytes
	noLoad    atomic.Bool // LOAD DATA LOCAL has been refused

	catalog atomic.Pointer[catalog]  // what Tables returned last
	lock    atomic.Pointer[nodeLock] // nil without one

	installed atomic.Pointer[map[string]int] // how many triggers InstallCapture has left, by database; nil for none

	mu    sync.Mutex
	conns map[*sql.Conn]*session // connections handed out by Conn
}

var _ dialect.Engine = (*engine)(nil)

// Bind checks the server's version, that a database is selected or named, and that
// the user has the privileges that ddb needs. Errors wrap dialect.ErrPrivilege where
// a GRANT or a server variable is missing; their words name it.
func (Dialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	if n := db.Stats().MaxOpenConnections; n > 0 && n < minPool {
		return nil, fmt.Errorf("mysql: the pool allows %d open connections, ddb needs at least %d, and %d or more to leave the program some: raise SetMaxOpenConns", n, minPool, goodPool)
	}
	e := &engine{db: db, cfg: cfg, conns: map[*sql.Conn]*session{}}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, connectError(err)
	}
	defer c.Close()
	if err := e.identify(ctx, c); err != nil {
		return nil, err
	}
	if err := e.checkPrivileges(ctx, c); err != nil {
		return nil, err
	}
	return e, nil
}

// Replicate makes the engine replicate these databases beside those it was bound to. A node that holds its lock
// takes it on these too; if it cannot, nothing changes.
func (e *engine) Replicate(ctx context.Context, more []string) error {
	all := slices.Clone(e.bound)
	for _, d := range more {
		if e.fold {
			d = strings.ToLower(d)
		}
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	if err := e.lockOnly(ctx, all); err != nil {
		return err
	}
	e.all.Store(&all)
	return nil
}

// Transactional reports false: schema statements commit.
func (e *engine) Transactional() bool { return false }
