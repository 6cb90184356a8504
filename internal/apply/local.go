package apply

import (
	"context"
	"database/sql"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
)

// Local is what a node does in its database itself, while an applier writes to it: a snap is one.
type Local interface {
	// Enter waits until the node itself writes nothing, and keeps it from writing until the stay is left: nothing may be
	// written to tables of which the statements of a schema entry have been run by half.
	Enter(ctx context.Context) (Stay, error)
	// Emptied is told, before the stay is left, that the node has given its data up for a snapshot.
	Emptied()
	// TablesMade is told, between two stays, that a snapshot has made and filled the tables of a database in which schema
	// statements are in no transaction.
	TablesMade(ctx context.Context, c *sql.Conn) error
}

// Stay is the time in which an applier has the database for itself, in one transaction as a rule; of a schema entry
// where that takes more than one, the last of them. All is called by the applier's goroutine, with its connection.
type Stay interface {
	// Opened is called first in each transaction.
	Opened(ctx context.Context, c *sql.Conn) error
	// Includes is told, in the transaction and before the rows, which batches of snaps the entries hold: for each queue
	// the number of the last.
	Includes(ctx context.Context, c *sql.Conn, batches map[string]uint64) error
	// Write applies rows of entries.
	Write(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error
	// Schema calls run, which runs the statements: in the transaction, or before it where they can be in none.
	Schema(ctx context.Context, c *sql.Conn, statements []dialect.Statement, run func() error) error
	// Restored is called, in the transaction, when tables have been filled anew: by the statements of an entry and its rows,
	// or by a snapshot.
	Restored(ctx context.Context, c *sql.Conn, snapshot bool) error
	// Leave ends the stay; nothing counts unless the transaction was committed.
	Leave(committed bool)
}

// Passive is a Local that does nothing in its database itself: a replica is one.
type Passive struct{ Store *store.Store }

// Enter waits for nobody.
func (p Passive) Enter(context.Context) (Stay, error) { return p, nil }

// Emptied does nothing.
func (Passive) Emptied() {}

// TablesMade does nothing.
func (Passive) TablesMade(context.Context, *sql.Conn) error { return nil }

// Opened does nothing.
func (Passive) Opened(context.Context, *sql.Conn) error { return nil }

// Includes notes the numbers: a replica that is promoted must know as well as the master before it which batches it has.
func (p Passive) Includes(ctx context.Context, c *sql.Conn, batches map[string]uint64) error {
	return p.Store.SetReceived(ctx, p.Store.Quick(c), batches)
}

// Write applies the rows.
func (p Passive) Write(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	return p.Store.Engine.Apply(ctx, c, t, rows, mode)
}

// Schema runs the statements.
func (Passive) Schema(_ context.Context, _ *sql.Conn, _ []dialect.Statement, run func() error) error {
	return run()
}

// Restored does nothing.
func (Passive) Restored(context.Context, *sql.Conn, bool) error { return nil }

// Leave does nothing.
func (Passive) Leave(bool) {}
