package ddb

import (
	"context"
	"errors"

	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/settle"
)

// What is told of conflicts, and what decides them, stands in package conflict, where each type has its documentation and methods.
type (
	// Conflict is one row of the conflicts table: what a snap wrote and what it met. See [conflict.Conflict].
	Conflict = conflict.Conflict
	// Policy says what becomes of a row that a snap has changed when the master's row is no longer the one
	// that the snap had seen. It is set per table in Options.Conflicts of the master. See [conflict.Policy].
	Policy = conflict.Policy
	// Collision is what a [PolicyFunc] decides on. See [conflict.Collision].
	Collision = conflict.Collision
)

// The policies. Whatever loses is kept in the conflicts table; see [Cluster.Conflicts].
var (
	// MasterWins refuses the snap's whole transaction if one of its rows conflicts. The zero Policy is this one.
	MasterWins = conflict.MasterWins
	// SnapWins writes the snap's row.
	SnapWins = conflict.SnapWins
	// NewestWins writes the row that was changed last. See [conflict.NewestWins].
	NewestWins = conflict.NewestWins
	// MergeColumns takes each column from the side that changed it. Where both did, or one
	// side deleted the row, the master's stands.
	MergeColumns = conflict.MergeColumns
)

// PolicyFunc returns a policy that asks resolve which row to store. See [conflict.PolicyFunc].
func PolicyFunc(name string, resolve func(Collision) (map[string]any, error)) Policy {
	return conflict.PolicyFunc(name, resolve)
}

// ParsePolicy returns the policy of that name: "master", "snap", "newest" or "merge". Another one is ErrOptions.
func ParsePolicy(name string) (Policy, error) {
	p, err := conflict.ParsePolicy(name)
	return p, fault.During("policy", err)
}

// Conflicts lists the conflicts that are open, as this node knows them, the newest
// first, at most 1000. ConflictsAfter lists those that follow.
func (c *Cluster) Conflicts(ctx context.Context) ([]Conflict, error) {
	list, err := c.conflicts(ctx, "state = 'open' ORDER BY at DESC, id LIMIT 1000")
	return list, fault.During("conflicts", err)
}

// ConflictsAfter is Conflicts for what follows one of them, which may be settled by now, in the same order: called with
// the last of what it returned until it returns none, it lists all.
func (c *Cluster) ConflictsAfter(ctx context.Context, last Conflict) ([]Conflict, error) {
	at := last.At.UnixNano()
	list, err := c.conflicts(ctx, "state = 'open' AND (at < ? OR at = ? AND id > ?) ORDER BY at DESC, id LIMIT 1000", at, at, last.ID)
	return list, fault.During("conflicts", err)
}

func (c *Cluster) conflicts(ctx context.Context, where string, args ...any) ([]Conflict, error) {
	if _, err := c.desk(); err != nil {
		return nil, err
	}
	return settle.Conflicts(ctx, c.node, where, args...)
}

// DismissConflict notes that the losing values of a conflict are not wanted. It can be
// called on any node; ErrNoConflict if the conflict is not open there.
func (c *Cluster) DismissConflict(ctx context.Context, id string) error {
	desk, err := c.desk()
	if err == nil {
		err = desk.Dismiss(ctx, id)
	}
	return fault.During("dismiss conflict", err)
}

// RetryConflict writes the losing values of a conflict again, as a new change: the snap's
// where it lost, the master's where the snap won. Of a row that is still there it writes the columns that the loser had changed. Columns that
// the table has no more are left out. It can be called on any node; ErrNoConflict if the conflict is not open there.
func (c *Cluster) RetryConflict(ctx context.Context, id string) error {
	desk, err := c.desk()
	if err == nil {
		err = desk.Retry(ctx, id)
	}
	return fault.During("retry conflict", err)
}

// desk is where a person's decisions about conflicts are carried out.
func (c *Cluster) desk() (*settle.Desk, error) {
	if c.node == nil {
		return nil, errors.New("a Cluster made by Wrap has no conflicts table")
	}
	return &settle.Desk{Node: c.node, Begin: c.BeginTx, Elsewhere: c.opts.Role == Replica}, nil
}
