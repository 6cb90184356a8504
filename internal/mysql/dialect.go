package mysql

import (
	"context"
	"database/sql"
	"errors"
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

// Limits of what is sent to the server at once.
const (
	maxStatement      = 1 << 20   // bytes of SQL text in one statement
	maxInline         = 256 << 10 // bytes of one value that still go into the statement of its row
	maxKeys           = 400       // keys in one DELETE
	maxLookup         = 50        // keys in one Lookup statement
	maxLookupIntegers = 1000      // the same, where they are integers
	clearChunk        = 10000     // note ids in one DELETE
	minPool           = 3         // connections that a node needs at least: lock, pass, everything else
	goodPool          = 8         // connections with which its own work and the program's do not wait for each other
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

func (e *engine) identify(ctx context.Context, q dialect.Querier) error {
	rows, err := texts(ctx, q, "SELECT VERSION(), DATABASE(), @@lower_case_table_names, @@max_allowed_packet, CURRENT_USER()")
	if err != nil {
		return fmt.Errorf("mysql: connect: %w", wrap(err))
	}
	r := rows[0]
	var major, minor int
	fmt.Sscanf(r[0].String, "%d.%d", &major, &minor)
	e.mariadb = strings.Contains(strings.ToLower(r[0].String), "mariadb")
	old := major*100+minor < 800
	if e.mariadb {
		old = major*100+minor < 1006
	}
	if old {
		return fmt.Errorf("mysql: server version %s is too old: ddb needs MariaDB 10.6 or MySQL 8.0", r[0].String)
	}
	e.fold = r[2].String != "0"
	e.packet = atoi(r[3].String)
	e.user = r[4].String
	e.statement = min(maxStatement, e.packet/2)
	bound := slices.Clone(e.cfg.Databases)
	if len(bound) == 0 && r[1].Valid {
		bound = []string{r[1].String}
	}
	if len(bound) == 0 {
		return errors.New("mysql: no database: name one in the DSN or in Databases")
	}
	for i, d := range bound {
		if e.fold {
			bound[i] = strings.ToLower(d)
		}
		switch strings.ToLower(d) {
		case "", "mysql", "information_schema", "performance_schema", "sys":
			return fmt.Errorf("mysql: database %q cannot be replicated: name the program's own databases", d)
		}
	}
	e.own = bound[0] + "_ddb"
	if len(e.own) > 64 {
		return fmt.Errorf("mysql: database name %q is too long: ddb needs room for %q (64 characters)", bound[0], e.own)
	}
	if slices.Contains(bound, e.own) {
		return fmt.Errorf("mysql: database %q is ddb's own: leave it out of Databases", e.own)
	}
	e.bound = bound
	e.all.Store(&bound)
	return nil
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

// databases lists the replicated databases; the first one is the primary one.
func (e *engine) databases() []string { return *e.all.Load() }

// grants is what SHOW GRANTS says: privileges by scope ("*" or a database pattern).
type grants map[string]map[string]bool

func readGrants(ctx context.Context, q dialect.Querier) (grants, error) {
	rows, err := texts(ctx, q, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	g := grants{}
	for _, r := range rows {
		privs, rest, ok := strings.Cut(strings.TrimPrefix(r[0].String, "GRANT "), " ON ")
		if !ok {
			continue // a role, whose privileges have lines of their own
		}
		scope, _, _ := strings.Cut(rest, " TO ")
		db, obj, ok := strings.Cut(scope, ".")
		if !ok || obj != "*" {
			continue
		}
		db = strings.ReplaceAll(strings.Trim(db, "`\""), "``", "`")
		if g[db] == nil {
			g[db] = map[string]bool{}
		}
		for p := range strings.SplitSeq(privs, ",") {
			g[db][strings.TrimSpace(p)] = true
		}
	}
	return g, nil
}

// allows reports whether the privilege is granted globally or, with a database
// name, on that database.
func (g grants) allows(db, priv string) bool {
	for scope, have := range g {
		if !have[priv] && !have["ALL PRIVILEGES"] {
			continue
		}
		if scope == "*" || db != "" && like(scope, db) {
			return true
		}
	}
	return false
}

// like matches SQL's LIKE with backslash as the escape, as grants use it.
func like(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	switch c := pattern[0]; {
	case c == '%':
		return like(pattern[1:], s) || s != "" && like(pattern, s[1:])
	case c == '\\' && len(pattern) > 1:
		return s != "" && s[0] == pattern[1] && like(pattern[2:], s[1:])
	case s == "":
		return false
	case c == '_':
		return like(pattern[1:], s[1:])
	default:
		return (c|0x20) == (s[0]|0x20) && like(pattern[1:], s[1:])
	}
}

var (
	userPrivileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER"}
	ownPrivileges  = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "TRIGGER"}
)

func (e *engine) checkPrivileges(ctx context.Context, q dialect.Querier) error {
	g, err := readGrants(ctx, q)
	if err != nil || len(g) == 0 {
		return nil // the statements themselves will tell
	}
	if g.allows("", "PROCESS") {
		e.process = true
		if _, err := texts(ctx, q, "SELECT "+e.fileName("'a'")); err != nil {
			e.process = false // the server does not tell how the dictionary spells names
		}
	}
	check := func(db string, want []string) error {
		var missing []string
		for _, p := range want {
			if !g.allows(db, p) {
				missing = append(missing, p)
			}
		}
		if missing == nil {
			return nil
		}
		return fmt.Errorf("mysql: the user lacks privileges on database %q: GRANT %s ON %s.* TO it: %w",
			db, strings.Join(missing, ", "), ident(db), dialect.ErrPrivilege)
	}
	for _, db := range e.databases() {
		if err := check(db, userPrivileges); err != nil {
			return err
		}
	}
	if err := check(e.own, ownPrivileges); err != nil {
		return err
	}
	if g.allows("", "SUPER") {
		return nil
	}
	rows, err := texts(ctx, q, "SELECT @@log_bin, @@log_bin_trust_function_creators")
	if err == nil && isOn(rows[0][0].String) && !isOn(rows[0][1].String) {
		return errTrust
	}
	return nil
}

// Warning says what the node cannot notice with the privileges that its user has; "" if it notices everything.
func (e *engine) Warning() string {
	if e.process {
		return ""
	}
	name, host, _ := strings.Cut(e.user, "@")
	return "a TRUNCATE by a client that bypasses ddb stays unseen, and the other nodes keep the rows, because the database user lacks a privilege: " +
		"GRANT PROCESS ON *.* TO " + ident(name) + "@" + ident(host)
}

var errTrust = fmt.Errorf("mysql: the server writes a binary log and then lets only users with SUPER create triggers: "+
	"SET GLOBAL log_bin_trust_function_creators=1 (and in the server's configuration): %w", dialect.ErrPrivilege)

func isOn(s string) bool { return s == "1" || strings.EqualFold(s, "ON") }

// Own returns the quoted name of ddb's own table of that short name.
func (e *engine) Own(name string) string { return qualified(e.own, name) }

// Transactional reports false: schema statements commit.
func (e *engine) Transactional() bool { return false }
