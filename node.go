package ddb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// node is what master and followers have in common: the database, ddb's own
// tables in it, and the journal.
type node struct {
	cfg     nodeConfig
	id      string
	db      *sql.DB
	dialect dialect.Dialect
	engine  dialect.Engine
	journal Journal
	log     hclog.Logger
	unlock  func() error
	lock    lockState

	clusterID string
	primary   string                   // the node's own name of the database that entries call ""
	more      atomic.Pointer[[]string] // databases added by CREATE DATABASE
	tables    atomic.Pointer[catalogue]
	said      sync.Map // what Once was asked
}

// ownDatabase stands in entries for the place of ddb's own replicated tables.
const ownDatabase = "%ddb"

// logical gives the name that entries use for a database: each node may have another
// name for its primary one.
func (n *node) logical(database string) string {
	if database == n.primary {
		return ""
	}
	return database
}

// physical is the inverse of logical, for statements.
func (n *node) physical(database string) string {
	if database == "" {
		return n.primary
	}
	return database
}

// once reports whether it is asked for the first time: what a person need be told once.
func (n *node) once(what string) bool {
	_, said := n.said.LoadOrStore(what, true)
	return !said
}

// name gives the name that entries use for a table.
func (n *node) name(t *dialect.Table) journal.TableName {
	if t.Own {
		return journal.TableName{Database: ownDatabase, Table: strings.TrimPrefix(t.Name, "_ddb_")}
	}
	return journal.TableName{Database: n.logical(t.Database), Table: t.Name}
}

// catalogue is what is known of the tables. It is immutable; a new one replaces it.
type catalogue struct {
	version string // dialect.Schema.Version when it was read
	list    []*dialect.Table
	byName  map[journal.TableName]*dialect.Table
	// functions are the user's: stored ones, and on SQLite those that the program has registered.
	functions []string
	// disguised are the user's functions, in lower case, that have the name of one that another server has built in.
	disguised []string
	// writers are the views, in lower case, that call a function of the user's, which may write.
	writers []string
	// overOwn are the views, in lower case, that show tables of ddb's own.
	overOwn []string
}

func (n *node) newCatalogue(version string, list []*dialect.Table) *catalogue {
	c := &catalogue{version: version, list: list, byName: make(map[journal.TableName]*dialect.Table, len(list))}
	for _, t := range list {
		c.byName[n.name(t)] = t
	}
	return c
}

// replicated lists the tables that can be replicated.
func (c *catalogue) replicated() []*dialect.Table {
	var list []*dialect.Table
	for _, t := range c.list {
		if t.Refusal == "" {
			list = append(list, t)
		}
	}
	return list
}

// users returns how many tables of the user's are replicated.
func (c *catalogue) users() (n int) {
	for _, t := range c.replicated() {
		if !t.Own {
			n++
		}
	}
	return n
}

// dialectOf finds the dialect from the driver of the database.
func dialectOf(db *sql.DB) (dialect.Dialect, error) {
	name := reflect.TypeOf(db.Driver()).String()
	switch {
	case strings.Contains(name, "sqlite"):
		return sqlite.Dialect{}, nil
	case strings.Contains(name, "mysql"):
		return mysql.Dialect{}, nil
	}
	return nil, fmt.Errorf("%w: no dialect for the driver %s; use modernc.org/sqlite or go-sql-driver/mysql, or set Options.Dialect", ErrOptions, name)
}

// nodeConfig is what a node's database needs to know of the node.
type nodeConfig struct {
	ID        string
	Role      Role
	Dialect   dialect.Dialect // nil: found from the driver
	Databases []string
	Guard     bool    // the user's triggers stay still while the node itself writes
	Journal   Journal // nil: a table in the database
	Logger    hclog.Logger
}

func (o Options) node() nodeConfig {
	return nodeConfig{ID: o.ID, Role: o.Role, Dialect: o.Dialect, Databases: o.Databases, Guard: o.guards(), Journal: o.Journal, Logger: o.Logger}
}

// openNode binds to the database, locks it against a second node and makes ddb's own tables.
func openNode(ctx context.Context, db *sql.DB, cfg nodeConfig) (*node, error) {
	d := cfg.Dialect
	if d == nil {
		var err error
		if d, err = dialectOf(db); err != nil {
			return nil, err
		}
	}
	engine, err := d.Bind(ctx, db, dialect.Config{Databases: cfg.Databases, Guard: cfg.Guard})
	if err != nil {
		return nil, fmt.Errorf("ddb: node %s: %w", cfg.ID, err)
	}
	n := &node{cfg: cfg, id: cfg.ID, db: db, dialect: d, engine: engine, log: cfg.Logger.With("node", cfg.ID, "role", string(cfg.Role))}
	if n.unlock, err = engine.Lock(ctx); err != nil {
		return nil, n.lockError(err)
	}
	if w, ok := engine.(interface{ Warning() string }); ok && cfg.Role != Replica && w.Warning() != "" {
		n.log.Warn(w.Warning())
	}
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(err, n.unlock())
	}
	return n, nil
}

func (n *node) prepare(ctx context.Context) error {
	if err := n.engine.CreateOwn(ctx, n.db); err != nil {
		return fmt.Errorf("ddb: node %s: create ddb's own tables: %w", n.id, err)
	}
	if n.journal = n.cfg.Journal; n.journal == nil {
		n.journal = journal.NewSQL(n.db, n.engine, n.inTx)
	}
	if err := n.findPrimary(ctx); err != nil {
		return err
	}
	if err := n.loadDatabases(ctx); err != nil {
		return err
	}
	id, _, err := n.meta(ctx, n.db, metaCluster)
	if err != nil {
		return err
	}
	n.clusterID = string(id)
	return nil
}

// findPrimary finds the name of the database that entries leave out.
func (n *node) findPrimary(ctx context.Context) error {
	switch {
	case n.dialect.Name() == "sqlite":
		return nil
	case len(n.cfg.Databases) > 0:
		n.primary = n.cfg.Databases[0]
		return nil
	}
	if err := dialect.ScanOne(ctx, n.db, []any{&n.primary}, "SELECT DATABASE()"); err != nil {
		return fmt.Errorf("ddb: node %s: find the current database: %w", n.id, err)
	}
	return nil
}

// Names of the rows in the meta table.
const (
	metaCluster  = "cluster"  // id of the cluster
	metaRole     = "role"     // role of the node that owns the database
	metaEpoch    = "epoch"    // of a master: the epoch of its reign
	metaSchema   = "schema"   // of a master: the schema as last shipped
	metaCursor   = "cursor"   // of a follower: how far a snapshot has come
	metaApplied  = "applied"  // of a follower whose journal is elsewhere: the last entry whose rows are here
	metaThrough  = "through"  // of a follower after a snapshot: consistent from that LSN on
	metaIntent   = "intent"   // of a follower: the schema entry that is being run
	metaNode     = "nodeid"   // id of the node
	metaNumber   = "number"   // of a snap: the number of the last batch handed to the master
	metaQueue    = "queue"    // of a snap: the name of its queue
	metaNodeNum  = "nodenum"  // of a snap: its number, for handed-out keys
	metaDatabase = "database" // databases added by CREATE DATABASE
)

// meta reads a row of the meta table.
func (n *node) meta(ctx context.Context, q dialect.Querier, key string) ([]byte, bool, error) {
	var v []byte
	err := dialect.ScanOne(ctx, q, []any{&v}, "SELECT v FROM "+n.engine.Own("meta")+" WHERE k = ?", key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("ddb: node %s: read meta %s: %w", n.id, key, err)
	}
	return v, true, nil
}

// setMeta writes a row of the meta table; a nil value deletes it.
func (n *node) setMeta(ctx context.Context, q dialect.Querier, key string, value []byte) error {
	var err error
	if value == nil {
		_, err = q.ExecContext(ctx, "DELETE FROM "+n.engine.Own("meta")+" WHERE k = ?", key)
	} else {
		_, err = q.ExecContext(ctx, "REPLACE INTO "+n.engine.Own("meta")+" (k, v) VALUES (?, ?)", key, value)
	}
	if err != nil {
		return fmt.Errorf("ddb: node %s: write meta %s: %w", n.id, key, err)
	}
	return nil
}

// metaValue reads a row of the meta table that holds an encoded value.
func metaValue[T any](ctx context.Context, n *node, q dialect.Querier, key string) (v T, ok bool, err error) {
	b, ok, err := n.meta(ctx, q, key)
	if err != nil || !ok {
		return v, false, err
	}
	if err := wire.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("ddb: node %s: meta %s: %w", n.id, key, err)
	}
	return v, true, nil
}

func (n *node) setMetaValue(ctx context.Context, q dialect.Querier, key string, v any) error {
	b, err := wire.Marshal(v)
	if err != nil {
		return fmt.Errorf("ddb: node %s: meta %s: %w", n.id, key, err)
	}
	return n.setMeta(ctx, q, key, b)
}

// inTx runs f in a transaction of ddb's own, on a connection of its own.
func (n *node) inTx(ctx context.Context, f func(q dialect.Querier) error) error {
	return n.withTx(ctx, dialect.Replay, func(c *sql.Conn) error { return f(c) })
}

// withTx runs f in a transaction of the purpose.
func (n *node) withTx(ctx context.Context, p dialect.Purpose, f func(c *sql.Conn) error) error {
	c, err := n.engine.Conn(ctx, p)
	if err != nil {
		return err
	}
	defer n.engine.Release(c)
	return n.txOn(ctx, c, p, func() error { return f(c) })
}

// txOn runs f in a transaction of the purpose on a connection that is at hand.
func (n *node) txOn(ctx context.Context, c *sql.Conn, p dialect.Purpose, f func() error) error {
	if err := n.engine.Begin(ctx, c, p); err != nil {
		return err
	}
	if err := f(); err != nil {
		return errors.Join(err, rollback(c))
	}
	if err := n.engine.Commit(ctx, c, p); err != nil {
		return err
	}
	return nil
}

// rollback ends the transaction even if the caller's context is over.
func rollback(c dialect.Querier) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_, err := c.ExecContext(ctx, "ROLLBACK")
	if err != nil && (strings.Contains(err.Error(), "no transaction is active") || errors.Is(err, sql.ErrConnDone)) {
		return nil
	}
	return err
}

// loadTables reads the catalogue from the database and makes it the node's.
func (n *node) loadTables(ctx context.Context, q dialect.Querier) (*catalogue, error) {
	c, err := n.readTables(ctx, q)
	if err == nil {
		n.tables.Store(c)
	}
	return c, err
}

// readTables reads the catalogue from the database.
func (n *node) readTables(ctx context.Context, q dialect.Querier) (*catalogue, error) {
	version, err := n.engine.Version(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("ddb: node %s: schema version: %w", n.id, err)
	}
	list, err := n.engine.Tables(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("ddb: node %s: read tables: %w", n.id, err)
	}
	c := n.newCatalogue(version, list)
	if e, ok := n.engine.(interface {
		Functions(context.Context, dialect.Querier) ([]string, error)
	}); ok {
		if c.functions, err = e.Functions(ctx, q); err != nil {
			return nil, fmt.Errorf("ddb: node %s: read functions: %w", n.id, err)
		}
		for _, f := range c.functions {
			if n.dialect.Name() == sqlclass.MySQL.String() && sqlclass.BuiltIn(f) {
				c.disguised = append(c.disguised, strings.ToLower(f))
			}
		}
	}
	if e, ok := n.engine.(interface {
		Views(context.Context, dialect.Querier) (map[string]string, error)
	}); ok {
		views, err := e.Views(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("ddb: node %s: read views: %w", n.id, err)
		}
		c.lookInto(views, n.primary+"_ddb")
	}
	return c, nil
}

// lookInto finds, on a server, the views that may write when they are read, and those that show ddb's own tables. views holds
// their definitions, empty ones where the server does not tell.
func (c *catalogue) lookInto(views map[string]string, own string) {
	names := make(map[string]map[string]bool, len(views))
	for view, text := range views {
		names[view] = sqlclass.Names(sqlclass.MySQL, text)
		if sqlclass.Classify(sqlclass.MySQL, text) != sqlclass.Read {
			c.writers = append(c.writers, view)
		}
		if marked(text) && rights.OwnTables(sqlclass.MySQL, text, rights.Scope{Own: own}) {
			c.overOwn = append(c.overOwn, view)
		}
	}
	spread(&c.writers, names)
	spread(&c.overOwn, names)
}

// spread adds the views that name one of the list, directly or by another view.
func spread(list *[]string, names map[string]map[string]bool) {
	for grown := true; grown; {
		grown = false
		for view, named := range names {
			if !slices.Contains(*list, view) && slices.ContainsFunc(*list, func(n string) bool { return named[n] }) {
				*list, grown = append(*list, view), true
			}
		}
	}
}

// singleWriter reports whether the database has one writer at a time.
func (n *node) singleWriter() bool {
	s, ok := n.engine.(interface{ SingleWriter() bool })
	return ok && s.SingleWriter()
}

// quick returns q, or something on the same connection that runs the same statements faster when they come again.
func (n *node) quick(q dialect.Querier) dialect.Querier {
	if e, ok := n.engine.(interface {
		Quick(dialect.Querier) dialect.Querier
	}); ok {
		return e.Quick(q)
	}
	return q
}

func newClusterID() string { return rand.Text() }

// entryTime returns when an entry of the journal was made, by the clock of the master then, or if it is an anchor, by this
// node's, which was told no other; 0 if the journal does not have it.
func (n *node) entryTime(ctx context.Context, lsn LSN) (at int64, anchor bool, err error) {
	if lsn == 0 {
		return 0, false, nil
	}
	parts, err := n.journal.Read(ctx, lsn, -1, 1)
	if err != nil || len(parts) == 0 || parts[0].LSN != lsn {
		return 0, false, err
	}
	return parts[0].At, parts[0].Anchor(), nil
}
