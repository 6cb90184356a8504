// Package gate is where the statements of a program come in: a driver of database/sql whose connections route statement by statement, so
// that Cluster.DB and all that is made of it are the true sql.DB, sql.Conn, sql.Tx and sql.Stmt. It owns the ways that writes go (one for
// each place that can be), the connections that a program's statements are bound to, what ends a statement early (a KILL, a limit of its answer),
// and the transactions that are open. Reads that any node may answer it leaves to package route.
//
// It promises that no statement leaves anything on a connection that another caller meets (C1-C3, state.go), that none which
// cannot be replicated is sent, and that none is sent twice which may have run.
package gate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// Gate is where the statements of a program come in. It is safe for concurrent use, once one of OnMaster, OnReplica, OnSnap
// and OnDatabase has told it where writes go.
type Gate struct {
	config  Config
	node    *store.Store
	dialect dialect.Dialect
	killer  dialect.Killer // nil where the dialect has none
	texts   *route.Texts
	route   *route.Router

	DB      *sql.DB // of the routing driver
	Streams *sql.DB // the same for what followers forward, whatever limits the program gives to DB

	closed  atomic.Bool
	open    *openTxs
	changes atomic.Uint64 // statements that were to change rows or the schema

	writes writePath
	main   *sql.DB // where what only the writer can answer goes
	remote *sql.DB // on a follower: connections to the master over the transport
	master Master
	number func() int64 // of this node among those that hand out keys; 0 while it has all of them
}

// Config is what a Gate goes by.
type Config struct {
	ID           string          // of the node
	Role         health.Role     // Master where somebody else replicates
	Master       string          // the address of a follower's master; "" elsewhere
	Node         *store.Store    // nil where somebody else replicates
	Dialect      dialect.Dialect // of the databases
	Texts        *route.Texts
	Route        *route.Router
	WaitReplicas int           // how many replicas a write on a master waits for; may be 0
	WaitTimeout  time.Duration // how long such a write waits until it is in an entry
}

// Master is what a Gate needs of a master.
type Master struct {
	Sequencer Sequencer
	Replicas  Replicas
	Schema    SchemaRunner
	// Writer is the only writer; nil where the database has many. What they need of the master is Conn then.
	Writer *write.Group
	// Conn takes a connection for a program's write.
	Conn func(ctx context.Context) (write.Conn, error)
	// Settle ships schema statements that a transaction of Writer's has run, before its commit.
	Settle func(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() journal.Position, error)
	// Number is that of the master among the nodes that hand out keys; 0 while it has all of them.
	Number func() int64
}

// Sequencer makes the entries of what is written on a master.
type Sequencer interface {
	// Count counts a write whose entry is not made with it, after its commit, and returns its number.
	Count() uint64
	// WakeUp asks for a pass.
	WakeUp()
	// Covers waits until entries hold the write of that number, and returns the last of them.
	Covers(ctx context.Context, write uint64) (journal.Position, error)
	// LookAgain makes a pass that looks at the schema, whether it seems to have changed or not.
	LookAgain(ctx context.Context) error
	// End returns the last entry.
	End() journal.Position
}

// Replicas are those that follow a master.
type Replicas interface {
	// Confirmed waits until so many of them have the entry. The error is ErrNotConfirmed.
	Confirmed(ctx context.Context, lsn journal.LSN, count int) error
	// NotConfirmed returns ErrNotConfirmed with what is known of the write.
	NotConfirmed(ctx context.Context, what string) error
}

// SchemaRunner runs schema statements on a master.
type SchemaRunner interface {
	// RunSchema runs a schema statement and ships it: on the program's connection on, or on any if that is nil.
	RunSchema(ctx context.Context, on *sql.Conn, query string, args []any) error
	// PlainSchema refuses what cannot be run and shipped whatever it does.
	PlainSchema(ctx context.Context, query string, args []any) error
	// InReplicated refuses a statement that names no database where the session on has gone to one that is not replicated.
	InReplicated(ctx context.Context, on *sql.Conn, query string) error
}

const (
	endTimeout    = 5 * time.Second  // for transactions to end by themselves when the node closes
	commitTimeout = 30 * time.Minute // for collecting what a transaction has changed, which may be millions of rows
)

// New returns a Gate for nothing but reads.
func New(config Config) *Gate {
	g := &Gate{config: config, node: config.Node, dialect: config.Dialect, texts: config.Texts, route: config.Route, open: newOpenTxs(), number: func() int64 { return 0 }}
	g.killer, _ = config.Dialect.(dialect.Killer)
	g.DB, g.Streams = sql.OpenDB(routed{gate: g}), sql.OpenDB(routed{gate: g, streams: true})
	return g
}

// OnMaster makes writes go to the node's own database, and to replicas from there.
func (g *Gate) OnMaster(m Master) {
	g.master, g.main, g.number = m, g.node.DB, m.Number
	if m.Writer == nil {
		g.writes = &pooledWrites{gate: g}
		return
	}
	m.Writer.Hooks.Wrote = func() { g.noted() }
	g.writes = &groupedWrites{gate: g, w: m.Writer, change: g.changeSchema, settle: m.Settle,
		wrote: func(ctx context.Context, pos journal.Position) error {
			g.route.Session.Sees(uint64(pos.LSN))
			if g.config.WaitReplicas == 0 {
				return nil
			}
			return m.Replicas.Confirmed(ctx, pos.LSN, g.config.WaitReplicas)
		}}
}

// OnReplica sends writes to the master, over connections of remote.
func (g *Gate) OnReplica(remote *sql.DB) {
	g.main, g.remote = remote, remote
	g.writes = &forwardedWrites{gate: g, db: remote}
}

// OnSnap makes writes go to the node's own database: by its only writer w, or where that is nil as s has it. remote leads to the master.
func (g *Gate) OnSnap(w *write.Group, s ManyWriters, number func() int64, remote *sql.DB) {
	g.main, g.remote, g.number = g.node.DB, remote, number
	if w == nil {
		g.writes = &snapWrites{gate: g, s: s}
		return
	}
	g.writes = &groupedWrites{gate: g, w: w,
		wrote:  func(context.Context, journal.Position) error { return nil },
		change: func(_ context.Context, _ *sql.Conn, stmt *route.Statement, _ []any) error { return g.notMaster(stmt) }}
}

// OnDatabase makes writes go to a database that somebody else replicates.
func (g *Gate) OnDatabase(db *sql.DB) {
	g.main = db
	g.writes = &externalWrites{gate: g, db: db}
}

// Shut keeps new statements out, and waits for the transactions that are open to end, or ends them. It reports whether that was done before.
func (g *Gate) Shut() (was bool) {
	if g.closed.Swap(true) {
		return true
	}
	g.open.wait()
	return false
}

// Close ends the connections that programs have.
func (g *Gate) Close() error { return errors.Join(g.DB.Close(), g.Streams.Close()) }

// keyNumber returns the number of this node if its triggers move rows, or 0.
func (g *Gate) keyNumber() int64 {
	if g.node == nil || keys.Mover(g.node) == nil {
		return 0
	}
	return g.number()
}

// fault says what an error of a node's database means.
func (g *Gate) fault(err error) dialect.Fault { return g.dialect.Fault(err) }

// notMaster is the error for a schema statement elsewhere than on the master.
func (g *Gate) notMaster(stmt *route.Statement) error {
	return fmt.Errorf("%w: %s %s does not change the schema; run it on the master, at %s: %s", fault.ErrNotMaster, g.config.Role, g.config.ID, g.config.Master, stmt)
}

// Exec runs a statement on whatever connection is free, where writes go. The errors are those of Cluster.ExecContext.
func (g *Gate) Exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	res, err := g.exec(ctx, g.texts.Read(query), args)
	if err != nil {
		return res, fault.During("exec", g.explain(ended(ctx, err)))
	}
	return res, nil
}

// Query runs a query on a node that is fresh enough for the context, or where writes go if it is not plainly a read.
func (g *Gate) Query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if g.closed.Load() {
		return nil, fault.During("query", fault.ErrClosed)
	}
	if !g.texts.IsRead(query) {
		return g.DB.QueryContext(context.WithValue(ctx, pooledKey{}, true), query, args...)
	}
	var rows *sql.Rows
	var err error
	if g.guards(ctx) { // which takes an end to be told of: see readGuarded
		rows, err = g.DB.QueryContext(ctx, query, args...)
	} else {
		rows, err = g.route.Read(ctx, query, args)
	}
	if err != nil {
		return nil, fault.During("query", err)
	}
	return rows, nil
}

// QueryRow is Query for one row.
func (g *Gate) QueryRow(ctx context.Context, query string, args []any) *sql.Row {
	if !g.texts.IsRead(query) {
		ctx = context.WithValue(ctx, pooledKey{}, true)
	} else if !g.closed.Load() && !g.guards(ctx) {
		rule := route.RuleOf(ctx)
		// The error of a row shows only in Scan, too late for another try: a local
		// node, or the master, cannot be marked down, so its row is as good as its rows.
		m, err := g.route.Choose(rule, nil)
		if err == nil && (m.Local || m.Master) {
			m.Reads.Add(1)
			route.Answered(ctx, m.ID)
			row := m.DB.QueryRowContext(ctx, query, args...)
			if rule.Node == "" && g.route.Knows(m, row.Err()) != nil {
				return g.DB.QueryRowContext(route.WithChosen(ctx, m), query, args...)
			}
			return row
		}
		if err == nil {
			ctx = route.WithChosen(ctx, m) // one read takes one turn of the picker
		}
	}
	return g.DB.QueryRowContext(ctx, query, args...)
}

// Prepare keeps the text of a statement; each execution is routed as if it were given again. It returns ErrNotReplicable for one that sets
// the state of a connection.
func (g *Gate) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := g.refuseState(g.texts.Read(query)); err != nil {
		return nil, fault.During("prepare", err)
	}
	return g.DB.PrepareContext(ctx, query)
}

// Conn returns a connection that is held by one caller for certain.
func (g *Gate) Conn(ctx context.Context) (*sql.Conn, error) {
	conn, err := g.DB.Conn(ctx)
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

// Ping verifies that writes have somewhere to go, or returns ErrClosed.
func (g *Gate) Ping(ctx context.Context) error {
	if g.closed.Load() {
		return fault.ErrClosed
	}
	return g.main.PingContext(ctx)
}

// PingLocal verifies that the database of this process answers, or returns ErrClosed.
func (g *Gate) PingLocal(ctx context.Context) error {
	switch {
	case g.closed.Load():
		return fault.ErrClosed
	case g.node == nil:
		return g.main.PingContext(ctx)
	}
	return g.node.DB.PingContext(ctx)
}

// Stats returns those of the database of this process, or where there is none those of the master's.
func (g *Gate) Stats() sql.DBStats {
	if g.node != nil {
		return g.node.DB.Stats()
	}
	return g.main.Stats()
}

// Changed returns how many statements were to change rows or the schema.
func (g *Gate) Changed() uint64 { return g.changes.Load() }
