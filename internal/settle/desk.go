package settle

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
)

// Desk carries out what a person decides about conflicts, on any node.
type Desk struct {
	Node  *store.Store
	Begin func(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) // a transaction of the program's
	// Elsewhere says that transactions run on the master and not on Node, whose databases may have other names.
	Elsewhere bool
}

// Dismiss notes that the losing values of a conflict are not wanted. It returns ErrNoConflict if the conflict is not open.
func (d *Desk) Dismiss(ctx context.Context, id string) error {
	return d.decide(ctx, id, "dismissed", func(*sql.Tx, conflict.Conflict) error { return nil })
}

// Retry writes the losing values of a conflict again. It returns ErrNoConflict if the conflict is not open.
func (d *Desk) Retry(ctx context.Context, id string) error {
	return d.decide(ctx, id, "retried", func(tx *sql.Tx, k conflict.Conflict) error {
		lost := k.Local
		if k.Outcome == "snap" {
			lost = k.Remote
		}
		return rewrite(ctx, d.Node, tx, k, lost)
	})
}

// decide runs f and marks the conflict, in one transaction.
func (d *Desk) decide(ctx context.Context, id, state string, f func(*sql.Tx, conflict.Conflict) error) error {
	list, err := Conflicts(ctx, d.Node, "id = ? AND state = 'open'", id)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: %q", fault.ErrNoConflict, id)
	}
	tx, err := d.Begin(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	table, err := d.table(ctx, tx)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, Mark(table), state, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%w: %q", fault.ErrNoConflict, id))
	}
	if err := f(tx, list[0]); err != nil {
		return err
	}
	return tx.Commit()
}

// table names the table of conflicts where the transaction runs.
func (d *Desk) table(ctx context.Context, tx *sql.Tx) (string, error) {
	own := d.Node.Engine.Own("conflicts")
	if !d.Elsewhere {
		return own, nil
	}
	there, err := d.Node.Engine.Database(ctx, tx)
	if err != nil || there == "" {
		return own, err
	}
	ours, theirs := d.Node.Engine.OwnDatabase(d.Node.Primary), d.Node.Engine.OwnDatabase(there)
	return strings.Replace(own, store.QuoteName("", ours), store.QuoteName("", theirs), 1), nil
}

// Mark returns the statement that marks a conflict in the table: its arguments are the state, and the id.
func Mark(table string) string {
	return "UPDATE " + table + " SET state = ? WHERE id = ? AND state = 'open'"
}
