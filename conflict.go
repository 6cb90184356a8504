package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
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
func ParsePolicy(name string) (Policy, error) { return conflict.ParsePolicy(name) }

// conflictRow is a conflict that is about to be stored.
type conflictRow struct {
	a                   *arrived
	table               journal.TableName
	columns             []string // of base and local
	theirs              []string // of remote
	key                 []any
	keyAt               []int
	base, local, remote []any
	policy              string
	outcome             string
	reason              string
}

// maxConflictBytes limits the images of a conflict: it travels in one message.
const maxConflictBytes = link.FrameBytes * 3 / 4

// images returns the rows of the conflict as JSON. One that is larger than most, or for which there is no room, is left out
// if it did not lose; if it did there is an error: what is lost must be found again.
func (c *conflictRow) images(most int) (map[string]any, error) {
	list := make(map[string]any)
	room := maxConflictBytes
	add := func(name string, columns []string, values []any, lost bool) error {
		image := rowJSON(columns, values)
		if size := len(image); size > min(most, room) {
			if lost {
				return fmt.Errorf("a row of table %s is too large to be kept as a conflict (%d bytes, written as JSON): raise max_allowed_packet "+
					"on the master and its followers, or keep such rows smaller", c.table, size)
			}
			image = fmt.Sprintf(`{"$left out":"%d bytes"}`, size)
		}
		room -= len(image)
		list[name] = image
		return nil
	}
	local := func() error { return add("local", c.columns, c.local, c.outcome != "snap") }
	remote := func() error { return add("remote", c.theirs, c.remote, c.outcome == "snap" || c.outcome == "function") }
	first, second := local, remote
	if c.outcome == "snap" {
		first, second = remote, local // the loser first
	}
	if err := first(); err != nil {
		return nil, err
	}
	if err := second(); err != nil {
		return nil, err
	}
	return list, add("base", c.columns, c.base, false)
}

// rowKey returns the key as it stands in the conflicts table.
func (c *conflictRow) rowKey() string {
	names := make([]string, len(c.keyAt))
	for i, k := range c.keyAt {
		names[i] = c.columns[k]
	}
	return rowJSON(names, c.key)
}

// values returns the row of the conflicts table; see images.
func (c *conflictRow) values(t *dialect.Table, id string, at int64, most int) ([]any, error) {
	images, err := c.images(most)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{"id": id, "at": at, "db": c.table.Database, "tbl": c.table.Table, "rowkey": c.rowKey(),
		"base": images["base"], "local": images["local"], "remote": images["remote"],
		"origin": c.a.snap, "batch": int64(c.a.number), "policy": c.policy, "outcome": c.outcome, "reason": c.reason, "state": "open"}
	values := make([]any, len(t.Stored))
	for i, name := range t.Stored {
		values[i] = fields[name]
	}
	return values, nil
}

const conflictColumns = "id, at, db, tbl, rowkey, base, local, remote, origin, batch, policy, outcome, reason, state"

// Conflicts lists the conflicts that are open, as this node knows them, the newest
// first, at most 1000. ConflictsAfter lists those that follow.
func (c *Cluster) Conflicts(ctx context.Context) ([]Conflict, error) {
	list, err := c.conflicts(ctx, "state = 'open' ORDER BY at DESC, id LIMIT 1000")
	return list, wrapError("conflicts", err)
}

// ConflictsAfter is Conflicts for what follows one of them, which may be settled by now, in the same order: called with
// the last of what it returned until it returns none, it lists all.
func (c *Cluster) ConflictsAfter(ctx context.Context, last Conflict) ([]Conflict, error) {
	at := last.At.UnixNano()
	list, err := c.conflicts(ctx, "state = 'open' AND (at < ? OR at = ? AND id > ?) ORDER BY at DESC, id LIMIT 1000", at, at, last.ID)
	return list, wrapError("conflicts", err)
}

func (c *Cluster) conflicts(ctx context.Context, where string, args ...any) ([]Conflict, error) {
	if c.node == nil {
		return nil, errors.New("a Cluster made by Wrap has no conflicts table")
	}
	rows, err := c.node.DB.QueryContext(ctx, "SELECT "+conflictColumns+" FROM "+c.node.Engine.Own("conflicts")+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Conflict
	for rows.Next() {
		var k Conflict
		var at, batch int64
		if err := rows.Scan(&k.ID, &at, &k.Database, &k.Table, &k.Key, &k.Base, &k.Local, &k.Remote, &k.Origin, &batch, &k.Policy, &k.Outcome, &k.Reason, &k.State); err != nil {
			return nil, err
		}
		k.At, k.Batch = time.Unix(0, at), uint64(batch)
		list = append(list, k)
	}
	return list, rows.Err()
}

// DismissConflict notes that the losing values of a conflict are not wanted. It can be
// called on any node; ErrNoConflict if the conflict is not open there.
func (c *Cluster) DismissConflict(ctx context.Context, id string) error {
	return wrapError("dismiss conflict", c.settleConflict(ctx, id, "dismissed", func(*sql.Tx, Conflict) error { return nil }))
}

// RetryConflict writes the losing values of a conflict again, as a new change: the snap's
// where it lost, the master's where the snap won. Of a row that is still there it writes the columns that the loser had changed. Columns that
// the table has no more are left out. It can be called on any node; ErrNoConflict if the conflict is not open there.
func (c *Cluster) RetryConflict(ctx context.Context, id string) error {
	return wrapError("retry conflict", c.settleConflict(ctx, id, "retried", func(tx *sql.Tx, k Conflict) error {
		lost := k.Local
		if k.Outcome == "snap" {
			lost = k.Remote
		}
		return c.rewrite(ctx, tx, k, lost)
	}))
}

// settleConflict runs f and marks the conflict, in one transaction.
func (c *Cluster) settleConflict(ctx context.Context, id, state string, f func(*sql.Tx, Conflict) error) error {
	list, err := c.conflicts(ctx, "id = ? AND state = 'open'", id)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: %q", ErrNoConflict, id)
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	table, err := c.conflictsTable(ctx, tx)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, settleStatement(table), state, id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%w: %q", ErrNoConflict, id))
	}
	if err := f(tx, list[0]); err != nil {
		return err
	}
	return tx.Commit()
}

// conflictsTable names the table where the transaction runs: a replica's runs on the master, whose
// databases may have other names.
func (c *Cluster) conflictsTable(ctx context.Context, tx *sql.Tx) (string, error) {
	own := c.node.Engine.Own("conflicts")
	if c.node.Dialect.Language() != dialect.MySQL || c.opts.Role != Replica {
		return own, nil
	}
	var there sql.NullString
	if err := tx.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&there); err != nil || there.String == "" {
		return own, err
	}
	here := store.QuoteName("", c.node.Primary+"_ddb")
	return strings.Replace(own, here, store.QuoteName("", there.String+"_ddb"), 1), nil
}

// rewrite writes a row that lost.
func (c *Cluster) rewrite(ctx context.Context, tx *sql.Tx, k Conflict, lost string) error {
	name := journal.TableName{Database: k.Database, Table: k.Table}
	t := c.node.Tables.Load().ByName[name]
	if t == nil {
		return fmt.Errorf("there is no table %s any more; create it again, or dismiss the conflict", name)
	}
	key, err := parseRow(k.Key)
	if err != nil {
		return err
	}
	table := store.QuoteName(c.node.Physical(k.Database), k.Table)
	if c.node.Dialect.Language() == dialect.MySQL && k.Database == "" {
		table = store.QuoteName("", k.Table) // the master may have another name for the database
	}
	var where []string
	var whereArgs []any
	for _, f := range key {
		where = append(where, store.QuoteName("", f.name)+" = ?")
		whereArgs = append(whereArgs, f.value)
	}
	condition := " WHERE " + strings.Join(where, " AND ")
	if lost == "" {
		_, err := tx.ExecContext(ctx, "DELETE FROM "+table+condition, whereArgs...)
		return err
	}
	row, changed, err := losersOf(k, t, lost)
	if err != nil {
		return err
	}
	var found int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+condition, whereArgs...).Scan(&found); err != nil {
		return err
	}
	w := rewriting{node: c.node, database: k.Database, name: k.Table, table: table, condition: condition, key: whereArgs, there: found > 0, fields: row}
	if w.there {
		w.fields = changed
	}
	if len(w.fields) == 0 {
		return nil
	}
	return w.run(ctx, tx)
}

func stored(t *dialect.Table, column string) bool {
	for _, name := range t.Stored {
		if name == column {
			return true
		}
	}
	return false
}
