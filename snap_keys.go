package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// Keys that the database hands out come from disjoint sets per node.
//
// SQLite hands out the highest key plus one, which may be in another node's range. Two
// triggers per table notice a key that was handed out beyond this node's range and
// move the row to the range's next key; Result.LastInsertId tells the key moved to, last_insert_rowid(),
// RETURNING and the user's own AFTER INSERT triggers the one before. That happens only
// while another node's keys are the highest in the table.
//
// MariaDB gets auto_increment_increment and auto_increment_offset on the connections through
// which ddb writes.

const (
	keyBits      = 40                  // a node's range on SQLite has 2^40 keys
	maxKeyNodes  = 1 << (62 - keyBits) // ranges on SQLite
	keyStep      = 256                 // auto_increment_increment on MariaDB
	keyTriggers  = "_ddb_key_"         // begins the names of the triggers
	keyTable     = `"_ddb_keys"`       // what the triggers know
	keyTableDDL  = `CREATE TABLE IF NOT EXISTS "_ddb_keys" (tbl TEXT NOT NULL PRIMARY KEY, handed INTEGER NOT NULL, was INTEGER, last INTEGER) WITHOUT ROWID`
	keyFlagTable = `"_ddb_flag"` // holds a row while ddb itself writes
)

// maxNodes returns how many nodes there are keys for.
func maxNodes(dialect string) int64 {
	if dialect == "mysql" {
		return keyStep
	}
	return maxKeyNodes
}

// keyRange returns the keys of a node on SQLite, from lo up to but without hi. The master has all below the snaps'.
func keyRange(number int64) (lo, hi int64) {
	if number < firstSnapNode {
		return 1, firstSnapNode << keyBits
	}
	return number << keyBits, (number + 1) << keyBits
}

// installKeys makes the tables hand out keys of the node's range. number is 0 while the node has none.
func (n *node) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table, number int64) error {
	if n.dialect.Name() != "sqlite" {
		return nil
	}
	if number == 0 {
		tables = nil
	}
	want := make(map[string]string)
	for _, t := range tables {
		if column := handedOut(t); column != "" && !t.Own {
			bi, ai := keyTriggersOf(t.Name, column, number)
			if n.opts.Role == Snap {
				// The capture may note the move before the insert: the row did not exist before.
				note := fmt.Sprintf(" BEGIN INSERT INTO %s (k1, existed) VALUES (NEW.%s, 0); ", n.engine.Own(fmt.Sprintf("out_%d", t.ID)), quoteName("", column))
				ai = strings.Replace(ai, " BEGIN ", note, 1)
			}
			want[keyTriggers+"bi_"+t.Name], want[keyTriggers+"ai_"+t.Name] = bi, ai
		}
	}
	have, err := n.keyTriggersIn(ctx, q)
	if err != nil {
		return err
	}
	statements := []string{}
	for name, text := range have {
		if want[name] != text {
			statements = append(statements, "DROP TRIGGER "+quoteName("", name))
		}
	}
	for name, text := range want {
		if have[name] != text {
			statements = append(statements, text)
		}
	}
	if len(statements) > 0 {
		statements = append([]string{keyTableDDL}, statements...)
	}
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("ddb: node %s: key ranges: %w", n.opts.ID, err)
		}
	}
	return nil
}

// handedOut returns the column of a table whose values SQLite hands out, or "".
func handedOut(t *dialect.Table) string {
	if len(t.Key) != 1 {
		return ""
	}
	name := t.Stored[t.Key[0]]
	for _, c := range t.Columns {
		if c.Name == name && c.AutoIncrement {
			return name
		}
	}
	return ""
}

func (n *node) keyTriggersIn(ctx context.Context, q dialect.Querier) (map[string]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?", len(keyTriggers), keyTriggers)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have := make(map[string]string)
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		have[name] = text
	}
	return have, rows.Err()
}

// keyTriggersOf returns the two triggers of a table. In a BEFORE INSERT trigger a key
// that is yet to be handed out shows as -1 (or NULL); afterwards it cannot be told any more.
func keyTriggersOf(table, column string, number int64) (before, after string) {
	lo, hi := keyRange(number)
	text, name, key := "'"+strings.ReplaceAll(table, "'", "''")+"'", quoteName("", table), quoteName("", column)
	quiet := "NOT EXISTS (SELECT 1 FROM " + keyFlagTable + ")"
	handed := fmt.Sprintf("(NEW.%[1]s IS NULL OR NEW.%[1]s = -1)", key)
	// As a rule the row says so already, and writing it again would be another page for the commit to write.
	before = fmt.Sprintf("CREATE TRIGGER %s BEFORE INSERT ON %s WHEN NOT EXISTS (SELECT 1 FROM "+keyTable+" WHERE tbl = %s AND handed = %s AND was IS NULL) AND %s BEGIN "+
		"INSERT INTO "+keyTable+" (tbl, handed) VALUES (%s, %s) ON CONFLICT (tbl) DO UPDATE SET handed = excluded.handed, was = NULL; END",
		quoteName("", keyTriggers+"bi_"+table), name, text, handed, quiet, text, handed)
	after = fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON %s WHEN (NEW.%s < %d OR NEW.%s >= %d) AND %s AND EXISTS (SELECT 1 FROM "+keyTable+" WHERE tbl = %s AND handed = 1) BEGIN "+
		"UPDATE "+keyTable+" SET handed = 0, was = NEW.%s, last = max(coalesce(last, 0), coalesce((SELECT max(%s) FROM %s WHERE %s >= %d AND %s < %d), %d)) + 1 WHERE tbl = %s; "+
		"SELECT RAISE(ABORT, '%s') FROM "+keyTable+" WHERE tbl = %s AND last >= %d; "+
		"UPDATE %s SET %s = (SELECT last FROM "+keyTable+" WHERE tbl = %s) WHERE %s = NEW.%s; END",
		quoteName("", keyTriggers+"ai_"+table), name, key, lo, key, hi, quiet, text,
		key, key, name, key, lo, key, hi, lo-1, text,
		strings.ReplaceAll("ddb: the keys of this node for table "+table+" are used up; give new rows keys of your own", "'", "''"), text, hi,
		name, key, text, key, key)
	return before, after
}

// installKeys makes the snap's tables hand out its own keys.
func (s *snapSide) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	return s.node.installKeys(ctx, q, tables, s.numberOfNode.Load())
}

// installKeys keeps the master's keys out of the ranges of the snaps.
func (s *sequencer) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	if !s.sharesKeys() {
		return s.node.installKeys(ctx, q, nil, 0)
	}
	return s.node.installKeys(ctx, q, tables, firstSnapNode-1)
}

var insertInto = regexp.MustCompile("(?is)^\\s*(?:INSERT|REPLACE)\\b(?:\\s+OR\\s+\\w+)?\\s+INTO\\s+(?:(?:main|\"main\"|`main`)\\s*\\.\\s*)?(?:\"((?:[^\"]|\"\")+)\"|`((?:[^`]|``)+)`|\\[([^\\]]+)\\]|([^\\s(.]+))")

// movedResult is a Result whose LastInsertId is the key that the row was moved to.
type movedResult struct {
	sql.Result
	id int64
}

func (r movedResult) LastInsertId() (int64, error) { return r.id, nil }

// moved corrects the result of an insert whose row has been moved to another key.
func (n *node) moved(ctx context.Context, c *sql.Conn, query string, r sql.Result, number int64) (sql.Result, error) {
	if number == 0 || r == nil {
		return r, nil
	}
	id, err := r.LastInsertId()
	lo, hi := keyRange(number)
	if err != nil || id >= lo && id < hi {
		return r, nil
	}
	m := insertInto.FindStringSubmatch(query)
	if m == nil {
		return r, nil
	}
	table := strings.ReplaceAll(m[1], `""`, `"`) + strings.ReplaceAll(m[2], "``", "`") + m[3] + m[4]
	var last int64
	err = scanOne(ctx, c, []any{&last}, "SELECT last FROM "+keyTable+" WHERE lower(tbl) = lower(?) AND was = ?", table, id)
	if errors.Is(err, sql.ErrNoRows) || err != nil && strings.Contains(err.Error(), "no such table") {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return movedResult{r, last}, nil
}

// result is the writer's hook of a snap.
func (s *snapSide) result(ctx context.Context, c *sql.Conn, query string, r sql.Result) (sql.Result, error) {
	return s.moved(ctx, c, query, r, s.numberOfNode.Load())
}

// keyResult is the writer's hook of a master.
func (m *master) keyResult(ctx context.Context, c *sql.Conn, query string, r sql.Result) (sql.Result, error) {
	if !m.sharesKeys() {
		return r, nil
	}
	return m.moved(ctx, c, query, r, firstSnapNode-1)
}
