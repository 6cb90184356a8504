package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/snap"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// DB returns an *sql.DB with the same routing as the Cluster, for sqlx, gorm, ent, sqlc or a
// migration tool. It is closed with the Cluster.
//
// What sets the state of a connection (SET, PRAGMA, LOCK TABLES) and BEGIN in a text are refused by its Exec and Query as by the
// Cluster's, since they would have no effect on what follows. They have it on its Conns and transactions. A driver is not told whether a
// statement is on a Conn, so on one that was not got from [Cluster.Conn] they must not be the first: send any other before, SELECT 1 for example.
func (c *Cluster) DB() *sql.DB { return c.gate.DB }

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
	return c.gate.Exec(ctx, query, args)
}

// Query is [Cluster.QueryContext] with the background context.
func (c *Cluster) Query(query string, args ...any) (*sql.Rows, error) {
	return c.QueryContext(context.Background(), query, args...)
}

// QueryContext executes a query that returns rows, typically a SELECT, on a node that is
// fresh enough for the context (see [WithConsistency]), or on the master if the
// query is not plainly a read. If the node fails before it answers, the query is tried once on another.
func (c *Cluster) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.gate.Query(ctx, query, args)
}

// QueryRow is [Cluster.QueryRowContext] with the background context.
func (c *Cluster) QueryRow(query string, args ...any) *sql.Row {
	return c.QueryRowContext(context.Background(), query, args...)
}

// QueryRowContext executes a query that is expected to return at most one row, as
// [sql.DB.QueryRowContext] does, routed like QueryContext.
func (c *Cluster) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return c.gate.QueryRow(ctx, query, args)
}

// Prepare is [Cluster.PrepareContext] with the background context.
func (c *Cluster) Prepare(query string) (*sql.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext creates a prepared statement. Each execution is routed as if the text were given
// again, so mistakes in it show when it is first executed. It returns ErrNotReplicable for a statement
// that sets the state of a connection, as ExecContext does.
func (c *Cluster) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return c.gate.Prepare(ctx, query)
}

// Begin is [Cluster.BeginTx] with the background context and default options.
func (c *Cluster) Begin() (*sql.Tx, error) { return c.BeginTx(context.Background(), nil) }

// BeginTx starts a transaction: on the master, or if opts asks for ReadOnly on one node that is fresh
// enough. On SQLite a transaction that may write holds the only writer until it ends; others wait up to
// Options.BusyTimeout and then get ErrBusy.
func (c *Cluster) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	return c.gate.DB.BeginTx(ctx, opts)
}

// Conn returns a single connection: a session whose statements are routed like the Cluster's until one
// of them has to do with the state of a connection (SET, PRAGMA, BEGIN in a text, user variables, locks, CALL); from then
// on all go to one connection of the master, which nobody else uses and which ends with the Conn: settings and locks
// are gone then, and a transaction that is still open is rolled back.
func (c *Cluster) Conn(ctx context.Context) (*sql.Conn, error) {
	return c.gate.Conn(ctx)
}

// Ping is [Cluster.PingContext] with the background context.
func (c *Cluster) Ping() error { return c.PingContext(context.Background()) }

// PingContext verifies that writes have somewhere to go: that the master answers (on a snap, the local database).
func (c *Cluster) PingContext(ctx context.Context) error {
	return fault.During("ping", c.gate.Ping(ctx))
}

// Stats returns the statistics of the pool of the node that writes go to, or of the local
// database if there is one.
func (c *Cluster) Stats() sql.DBStats { return c.gate.Stats() }

// Nodes lists all nodes of the cluster as this one sees them, the master or this node first.
func (c *Cluster) Nodes() []NodeStatus { return c.nodes.Statuses() }

// Watch returns the nodes as reads are routed by at present, and a channel that is closed when they should be
// looked at again: when a state changes, and once per Options.Heartbeat.
func (c *Cluster) Watch() ([]NodeStatus, <-chan struct{}) { return c.nodes.Watch() }

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
	return fault.During("wait", c.f.WaitReady(ctx))
}

// WaitLevel waits until every connected replica has everything written so far.
func (c *Cluster) WaitLevel(ctx context.Context) (err error) {
	defer fault.Door("wait", &err)
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
func (c *Cluster) Maintain(id string, out bool) (err error) {
	defer fault.Door("maintain", &err)
	v := c.route.View.Load()
	m := v.All[id]
	if m == nil || m.Master {
		return fmt.Errorf("there is no replica %q to take out; known are %s", id, strings.Join(v.IDs(), ", "))
	}
	m.Hold.Store(out)
	c.refresh()
	return nil
}

// Detach removes every trace of ddb from a database that no node uses: its
// triggers, outboxes, journal and other tables. The user's tables stay as they are. A snap
// with batches that its master does not have yet is refused, unless opts.Rejoin gives them up. Of opts, ID, Databases,
// Dialect, Rejoin and Logger count.
func Detach(ctx context.Context, db *sql.DB, opts Options) (err error) {
	defer fault.Door("detach", &err)
	if opts.ID == "" {
		opts.ID = "detach"
	}
	opts, err = Options{ID: opts.ID, Databases: opts.Databases, Dialect: opts.Dialect, Rejoin: opts.Rejoin, Logger: opts.Logger}.withDefaults()
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
	if err = snap.RefusePending(ctx, n, opts.Rejoin); err == nil {
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

// Forget takes a follower that will not come back off the list of nodes, on the master. If it does come
// back it is let in as before. The range of keys that a snap handed out may be given to another snap once no other is left and its
// conflicts are settled; if the first one comes back after that it gets a range of its own anew, and where a row that it had not handed over has
// the key of another's they meet as a conflict. A follower that is connected is not forgotten.
func (c *Cluster) Forget(ctx context.Context, id string) (err error) {
	defer fault.Door("forget", &err)
	if c.m == nil {
		return fmt.Errorf("%w: followers are forgotten on the master", ErrNotMaster)
	}
	return c.m.fleet.Forget(ctx, id)
}

// Dialect returns what SQL the cluster's databases are spoken to in: "sqlite", or "mysql" for MariaDB and MySQL.
func (c *Cluster) Dialect() string { return c.texts.Class.String() }

// Fault says what an error of a statement, whichever node it ran on, means to the dialect of the cluster's databases: whether the same may
// succeed another time ([dialect.Busy]), for example; 0 for one that no database has given.
func (c *Cluster) Fault(err error) dialect.Fault { return c.dialect.Fault(err) }

// Objects lists the statements that make this node's whole schema in an empty database, in an
// order in which they can run, without anything of ddb's.
func (c *Cluster) Objects(ctx context.Context) (_ []dialect.Object, err error) {
	defer fault.Door("objects", &err)
	if c.node == nil {
		return nil, errors.New("a Cluster made by Wrap does not read the schema")
	}
	return c.node.Engine.Objects(ctx, c.node.DB)
}

// PingLocal verifies that the database of this process answers, for health checks: a node whose
// database is down must not be sent anything, whatever its master knows of it.
func (c *Cluster) PingLocal(ctx context.Context) error {
	return fault.During("ping", c.gate.PingLocal(ctx))
}

// Tail describes the last n entries of this node's journal, the newest first, at most 1000. It reads them whole.
func (c *Cluster) Tail(ctx context.Context, n int) (_ []EntryInfo, err error) {
	defer fault.Door("tail", &err)
	if c.node == nil {
		return nil, fmt.Errorf("a Cluster made by Wrap has no journal")
	}
	return journal.Tail(ctx, c.node.Journal, min(max(n, 1), 1000))
}

// Tables lists the tables as this node's database describes them, those that cannot be replicated
// with the reason in Refusal.
func (c *Cluster) Tables(ctx context.Context) (_ []*dialect.Table, err error) {
	defer fault.Door("tables", &err)
	if c.node == nil {
		return nil, fmt.Errorf("a Cluster made by Wrap does not read the schema")
	}
	return c.node.Engine.Tables(ctx, c.node.DB)
}
