package settle

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

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

// Conflicts reads the rows of the conflicts table that the condition names.
func Conflicts(ctx context.Context, n *store.Store, where string, args ...any) ([]conflict.Conflict, error) {
	rows, err := n.DB.QueryContext(ctx, "SELECT "+conflictColumns+" FROM "+n.Engine.Own("conflicts")+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []conflict.Conflict
	for rows.Next() {
		var k conflict.Conflict
		var at, batch int64
		if err := rows.Scan(&k.ID, &at, &k.Database, &k.Table, &k.Key, &k.Base, &k.Local, &k.Remote, &k.Origin, &batch, &k.Policy, &k.Outcome, &k.Reason, &k.State); err != nil {
			return nil, err
		}
		k.At, k.Batch = time.Unix(0, at), uint64(batch)
		list = append(list, k)
	}
	return list, rows.Err()
}

// rewrite writes the row that lost a conflict, in the transaction. lost is the row as the conflicts table has it: the conflict's Local
// where the snap lost, or its Remote.
func rewrite(ctx context.Context, n *store.Store, tx *sql.Tx, k conflict.Conflict, lost string) error {
	name := journal.TableName{Database: k.Database, Table: k.Table}
	t := n.Tables.Load().ByName[name]
	if t == nil {
		return fmt.Errorf("there is no table %s any more; create it again, or dismiss the conflict", name)
	}
	key, err := parseRow(k.Key)
	if err != nil {
		return err
	}
	table := store.QuoteName(n.Physical(k.Database), k.Table)
	if k.Database == "" {
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
	w := rewriting{node: n, database: k.Database, name: k.Table, table: table, condition: condition, key: whereArgs, there: found > 0, fields: row}
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
