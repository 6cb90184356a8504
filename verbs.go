package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// DB returns an *sql.DB with the same routing as the Cluster, for sqlx, gorm, ent, sqlc or a
// migration tool. It is closed with the Cluster.
//
// What sets the state of a connection (SET, PRAGMA, LOCK TABLES) and BEGIN in a text are refused by its Exec and Query as by the
// Cluster's, since they would have no effect on what follows. They have it on its Conns and transactions. A driver is not told whether a
// statement is on a Conn, so on one that was not got from [Cluster.Conn] they must not be the first: send any other before, SELECT 1 for example.
func (c *Cluster) DB() *sql.DB { return c.sqlDB }

// Exec is [Cluster.ExecContext] with the background context.
func (c *Cluster) Exec(query string, args ...any) (sql.Result, error) {
	return c.ExecContext(context.Background(), query, args...)
}

// ExecContext executes a query without returning any rows, on the master (on a snap:
// locally). The args are for any placeholder parameters in the query. When it returns without error the
// write is durable there, and on Options.WaitReplicas replicas.
//
// A statement that would change the state of a connection which others use is refused with ErrNotReplicable: SET, USE, LOCK
// TABLES, a PRAGMA, BEGIN and the like are for [Cluster.Conn]. What may change it in passing, such as a CALL, has a connection of
// its own; a transaction that it leaves open is rolled back, and an error says so.
//
// It returns ErrNotConfirmed, together with the result (on the master: database/sql hands on no result with an error, so
// a replica and [Cluster.DB] return the error alone), if replicas did not confirm in time, or before ctx ended; ErrNoMaster if the master cannot be reached; ErrNotReplicable for a
// statement that would make what cannot be replicated; ErrNotMaster for a
// schema statement on another node. It is never sent twice.
func (c *Cluster) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := c.exec(ctx, query, args)
	if err != nil {
		return res, wrapError("exec", c.explain(ended(ctx, err)))
	}
	return res, nil
}

func (c *Cluster) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	if c.texts.Blank(query) {
		return noResult{}, nil
	}
	if err := c.refuseHidden(query); err != nil {
		return nil, err
	}
	if err := c.refuseDoubt(ctx, query, c.masterDB().QueryContext); err != nil {
		return nil, err
	}
	switch c.texts.Kind(query) {
	case sqlclass.Schema:
		if c.texts.Temporary(query) {
			return nil, fmt.Errorf("%w: a temporary object belongs to one connection; create it on one got from Cluster.Conn", ErrNotReplicable)
		}
		c.writesN.Add(1)
		return c.writes.schema(ctx, nil, query, args)
	case sqlclass.TxControl:
		return nil, fmt.Errorf("%w: %s on a pool of connections has no effect one can rely on; use Begin, or a connection got from Cluster.Conn", ErrNotReplicable, sqlclass.Brief(query))
	}
	if err := c.refuseState(query); err != nil {
		return nil, err
	}
	switch c.texts.Kind(query) {
	case sqlclass.Write:
		if err := c.refuseForeignLast(query); err != nil {
			return nil, err
		}
		c.writesN.Add(1)
		if strings.Contains(query, ";") {
			return c.execSeveral(ctx, query, args)
		}
		return c.writes.exec(ctx, query, args)
	case sqlclass.Other, sqlclass.Session:
		return c.masterDB().ExecContext(ctx, query, args...)
	}
	return c.writes.exec(ctx, query, args)
}

// refuseHidden refuses, before any of it runs, a text that holds a schema statement elsewhere than on the master, and what
// would change a snap's schema unseen: what a statement prepares or a compound one holds is known to the server only. Every
// statement but a plain read comes by here, so it is also where those on ddb's own tables end.
func (c *Cluster) refuseHidden(query string) error {
	if err := c.texts.RefuseOwn(query); err != nil {
		return err
	}
	if err := c.texts.Unread(query); err != nil {
		return fmt.Errorf("%w: some of it would be run, and nobody knows what; end what is open, or leave it out: %w: %s", ErrNotReplicable, err, sqlclass.Brief(query))
	}
	switch {
	case c.node == nil || c.opts.Role == Master:
	case c.opts.Role == Snap && sqlclass.Dynamic(c.texts.Class, query):
		return fmt.Errorf("%w: a snap runs no prepared or compound statement in SQL, which may change the schema; send its statements one by one: %s",
			ErrNotReplicable, sqlclass.Brief(query))
	case c.texts.HidesSchema(query):
		return c.notMaster(query)
	}
	return nil
}

// execSeveral runs a text of several statements. Those that change the schema must be
// run one by one, so that each becomes an entry of its own.
func (c *Cluster) execSeveral(ctx context.Context, query string, args []any) (sql.Result, error) {
	list, err := sqlclass.Split(c.texts.Class, query)
	if err != nil {
		return c.writes.exec(ctx, query, args) // the database words it better
	}
	schema := slices.ContainsFunc(list, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.Schema })
	for _, s := range list {
		if s.Kind == sqlclass.TxControl && (c.texts.Class == sqlclass.SQLite || schema) {
			// It would end the transaction that ddb has put around the statements, and of others with them.
			return nil, fmt.Errorf("%w: %s among several statements; use Begin", ErrNotReplicable, sqlclass.Brief(s.SQL))
		}
	}
	if !schema {
		return c.writes.exec(ctx, query, args)
	}
	return c.oneByOne(query, args, amongSchema, func(s string) (sql.Result, error) { return c.exec(ctx, s, nil) })
}

// amongSchema is why several statements with arguments are refused: each that changes the schema becomes an entry of its own.
const amongSchema = "several statements with a schema statement among them take no arguments"

// oneByOne runs the statements of a text that cannot be run as one. refusal is said if it has arguments.
func (c *Cluster) oneByOne(query string, args []any, refusal string, exec func(statement string) (sql.Result, error)) (sql.Result, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotReplicable, refusal)
	}
	list, err := sqlclass.Split(c.texts.Class, query)
	if err != nil {
		return nil, err
	}
	var res sql.Result = noResult{}
	for i, s := range list {
		if res, err = exec(s.SQL); err != nil {
			return nil, fmt.Errorf("statement %d of %d: %w", i+1, len(list), err)
		}
	}
	return res, nil
}

// Query is [Cluster.QueryContext] with the background context.
func (c *Cluster) Query(query string, args ...any) (*sql.Rows, error) {
	return c.QueryContext(context.Background(), query, args...)
}

// QueryContext executes a query that returns rows, typically a SELECT, on a node that is
// fresh enough for the context (see [WithConsistency]), or on the master if the
// query is not plainly a read. If the node fails before it answers, the query is tried once on another.
func (c *Cluster) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	if !c.texts.IsRead(query) {
		return c.sqlDB.QueryContext(context.WithValue(ctx, pooledKey{}, true), query, args...)
	}
	read := c.route.Read
	if c.guards(ctx) { // which takes an end to be told of: see readGuarded
		read = func(ctx context.Context, query string, args []any) (*sql.Rows, error) {
			return c.sqlDB.QueryContext(ctx, query, args...)
		}
	}
	rows, err := read(ctx, query, args)
	if err != nil {
		return nil, wrapError("query", err)
	}
	return rows, nil
}

// QueryRow is [Cluster.QueryRowContext] with the background context.
func (c *Cluster) QueryRow(query string, args ...any) *sql.Row {
	return c.QueryRowContext(context.Background(), query, args...)
}

// QueryRowContext executes a query that is expected to return at most one row, as
// [sql.DB.QueryRowContext] does, routed like QueryContext.
func (c *Cluster) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if !c.texts.IsRead(query) {
		ctx = context.WithValue(ctx, pooledKey{}, true)
	} else if !c.closed.Load() && !c.guards(ctx) {
		rule := route.RuleOf(ctx)
		// The error of a row shows only in Scan, too late for another try: a local
		// node, or the master, cannot be marked down, so its row is as good as its rows.
		m, err := c.route.Choose(rule, nil)
		if err == nil && (m.Local || m.Master) {
			m.Reads.Add(1)
			route.Answered(ctx, m.ID)
			row := m.DB.QueryRowContext(ctx, query, args...)
			if rule.Node == "" && c.route.Knows(m, row.Err()) != nil {
				return c.sqlDB.QueryRowContext(route.WithChosen(ctx, m), query, args...)
			}
			return row
		}
		if err == nil {
			ctx = route.WithChosen(ctx, m) // one read takes one turn of the picker
		}
	}
	return c.sqlDB.QueryRowContext(ctx, query, args...)
}

// Prepare is [Cluster.PrepareContext] with the background context.
func (c *Cluster) Prepare(query string) (*sql.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext creates a prepared statement. Each execution is routed as if the text were given
// again, so mistakes in it show when it is first executed. It returns ErrNotReplicable for a statement
// that sets the state of a connection, as ExecContext does.
func (c *Cluster) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := c.refuseState(query); err != nil {
		return nil, wrapError("prepare", err)
	}
	return c.sqlDB.PrepareContext(ctx, query)
}

// Begin is [Cluster.BeginTx] with the background context and default options.
func (c *Cluster) Begin() (*sql.Tx, error) { return c.BeginTx(context.Background(), nil) }

// BeginTx starts a transaction: on the master, or if opts asks for ReadOnly on one node that is fresh
// enough. On SQLite a transaction that may write holds the only writer until it ends; others wait up to
// Options.BusyTimeout and then get ErrBusy.
func (c *Cluster) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	return c.sqlDB.BeginTx(ctx, opts)
}

// Conn returns a single connection: a session whose statements are routed like the Cluster's until one
// of them has to do with the state of a connection (SET, PRAGMA, BEGIN in a text, user variables, locks, CALL); from then
// on all go to one connection of the master, which nobody else uses and which ends with the Conn: settings and locks
// are gone then, and a transaction that is still open is rolled back.
func (c *Cluster) Conn(ctx context.Context) (*sql.Conn, error) {
	conn, err := c.sqlDB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	err = conn.Raw(func(dc any) error {
		dc.(*routedConn).own = true
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Ping is [Cluster.PingContext] with the background context.
func (c *Cluster) Ping() error { return c.PingContext(context.Background()) }

// PingContext verifies that writes have somewhere to go: that the master answers (on a snap, the local database).
func (c *Cluster) PingContext(ctx context.Context) error { return wrapError("ping", c.ping(ctx)) }

func (c *Cluster) ping(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return c.masterDB().PingContext(ctx)
}

// Stats returns the statistics of the pool of the node that writes go to, or of the local
// database if there is one.
func (c *Cluster) Stats() sql.DBStats {
	if c.node != nil {
		return c.node.DB.Stats()
	}
	return c.masterDB().Stats()
}

// masterDB is where what only the writer can answer goes.
func (c *Cluster) masterDB() *sql.DB {
	switch {
	case c.m != nil || c.opts.Role == Snap:
		return c.node.DB
	case c.f != nil:
		return c.toMain
	}
	return c.outside[0].member.DB
}

// beginRead opens a read-only transaction on one node.
func (c *Cluster) beginRead(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	rule := route.RuleOf(ctx)
	m, err := c.route.Choose(rule, nil)
	if err != nil {
		return nil, err
	}
	begin := func(m *route.Member) (*sql.Tx, error) {
		if c.texts.Class == sqlclass.SQLite && (m.Local || c.node == nil) {
			return m.DB.BeginTx(ctx, nil) // its driver knows no options; plainTx keeps the promise
		}
		return m.DB.BeginTx(ctx, opts)
	}
	m.Reads.Add(1)
	tx, err := begin(m)
	if err != nil && c.route.NodeFailed(err) && rule.Node == "" {
		c.route.Failed(m, err)
		if m, err = c.route.Choose(rule, m); err == nil {
			tx, err = begin(m)
		}
	}
	if err != nil {
		return nil, err
	}
	t := &plainTx{c: c, tx: tx, readOnly: true, on: m, begin: begin}
	if m.Local || c.node == nil {
		t.db = m.DB
	}
	return t, nil
}

// Nodes lists all nodes of the cluster as this one sees them, the master or this node first.
func (c *Cluster) Nodes() []NodeStatus { return c.statuses() }

// Watch returns the nodes as reads are routed by at present, and a channel that is closed when they should be
// looked at again: when a state changes, and once per Options.Heartbeat.
func (c *Cluster) Watch() ([]NodeStatus, <-chan struct{}) { return c.health.Watch() }

// Position returns the end of this node's journal.
func (c *Cluster) Position() Position {
	switch {
	case c.m != nil:
		return c.m.seq.State.Load().Pos
	case c.f != nil:
		return c.f.Position()
	}
	return Position{}
}

// ID returns the node's id.
func (c *Cluster) ID() string { return c.opts.ID }

// Role returns the node's role.
func (c *Cluster) Role() Role { return c.opts.Role }

// WaitReady waits until the node can serve: a master at once, a replica or snap when it is
// active. It returns the reason if the node has failed, or the context's error.
func (c *Cluster) WaitReady(ctx context.Context) error {
	if c.f == nil {
		return nil
	}
	return c.f.WaitReady(ctx)
}

// WaitLevel waits until every connected replica has everything written so far.
func (c *Cluster) WaitLevel(ctx context.Context) error {
	if c.m == nil {
		return fmt.Errorf("%w: WaitLevel is for the master", ErrNotMaster)
	}
	if _, err := c.m.seq.Covers(ctx, c.m.seq.Written.Load()); err != nil {
		return err
	}
	if err := c.m.seq.LookAgain(ctx); err != nil {
		return err
	}
	return c.m.fleet.WaitLevel(ctx, c.m.seq.State.Load().Pos.LSN)
}

// Maintain takes a node out of routing (no reads are sent to it from this Cluster), or
// lets it back in. It goes on following.
func (c *Cluster) Maintain(id string, out bool) error {
	v := c.route.View.Load()
	m := v.All[id]
	if m == nil || m.Master {
		return fmt.Errorf("ddb: there is no replica %q to take out; known are %s", id, strings.Join(v.IDs(), ", "))
	}
	m.Hold.Store(out)
	c.refresh()
	return nil
}

// Detach removes every trace of ddb from a database that no node uses: its
// triggers, outboxes, journal and other tables. The user's tables stay as they are. A snap
// with batches that its master does not have yet is refused, unless opts.Rejoin gives them up. Of opts, ID, Databases,
// Dialect, Rejoin and Logger count.
func Detach(ctx context.Context, db *sql.DB, opts Options) error {
	if opts.ID == "" {
		opts.ID = "detach"
	}
	opts, err := Options{ID: opts.ID, Databases: opts.Databases, Dialect: opts.Dialect, Rejoin: opts.Rejoin, Logger: opts.Logger}.withDefaults()
	if err == nil {
		err = given(db, "Detach")
	}
	if err != nil {
		return err
	}
	n, err := store.Open(ctx, db, opts.node())
	if err != nil {
		return err
	}
	if err = refusePending(ctx, n, opts); err == nil {
		err = keys.Install(ctx, n, n.DB, nil, 0)
	}
	if err == nil {
		err = keys.SettleCounters(ctx, n)
	}
	if err == nil {
		err = n.Engine.RemoveCapture(ctx, n.DB)
	}
	if err == nil {
		err = n.Engine.DropOwn(ctx, n.DB)
	}
	return errors.Join(err, n.Unlock())
}

// explain adds the node and the way out to an error of a database that has none.
func (c *Cluster) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrDiskFull):
		return err
	case c.fault(err).Is(dialect.KeysUsedUp) && c.sharesKeys():
		return fmt.Errorf("node %s has used up its keys of an AUTO_INCREMENT column, one in %d of those of its type: give it a larger type, or new rows keys of your own: %w", c.opts.ID, keys.Step, err)
	case !c.fault(err).Is(dialect.Full):
		return err
	}
	return fmt.Errorf("%w: node %s: make room where its database is, and write again: %w", ErrDiskFull, c.opts.ID, err)
}

// wrapError adds what was being done, once.
func wrapError(verb string, err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("ddb: %s: %w", verb, err)
}

// Forget takes a follower that will not come back off the list of nodes, on the master. If it does come
// back it is let in as before. The range of keys that a snap handed out may be given to another snap once no other is left and its
// conflicts are settled; if the first one comes back after that it gets a range of its own anew, and where a row that it had not handed over has
// the key of another's they meet as a conflict. A follower that is connected is not forgotten.
func (c *Cluster) Forget(ctx context.Context, id string) error {
	if c.m == nil {
		return fmt.Errorf("%w: followers are forgotten on the master", ErrNotMaster)
	}
	return wrapError("forget", c.m.fleet.Forget(ctx, id))
}
