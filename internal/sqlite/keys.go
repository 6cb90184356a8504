package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// SQLite hands out the highest key plus one, which may be in another node's range. Two triggers per table notice a key
// that was handed out beyond this node's range and move the row to the range's next key. That happens only while another
// node's keys are the highest in the table. SQLite itself goes on telling the key before the move. A trigger
// of the user's that asks for the new row's key would be told the one before the move as well: where there is one, a row that
// would have to be moved is refused.

const (
	keyTriggers = prefix + "key_" // begins the names of the triggers
	keyTable    = `"_ddb_keys"`   // what the triggers know
)

// keyTables are ddb's own tables for handed-out keys. _ddb_keys holds for each table whether the key of the row that is being
// inserted is handed out, how many rows were moved, and of the last one the key that was handed out (NULL once a row
// got it by the user's wish) and the one that it was moved to. A row put into _ddb_last vanishes, but
// last_insert_rowid() goes on telling its key.
var keyTables = []string{
	`DROP TABLE IF EXISTS main."_ddb_keys"`, // an earlier ddb had it without moves, and no _ddb_last
	`CREATE TABLE IF NOT EXISTS main."_ddb_keys" (tbl TEXT NOT NULL PRIMARY KEY, handed INTEGER NOT NULL, moves INTEGER NOT NULL DEFAULT 0, was INTEGER, last INTEGER) WITHOUT ROWID`,
	`CREATE TABLE IF NOT EXISTS main."_ddb_last" (id INTEGER PRIMARY KEY)`,
	`CREATE TRIGGER IF NOT EXISTS main."_ddb_last_ai" AFTER INSERT ON "_ddb_last" BEGIN DELETE FROM "_ddb_last"; END`,
}

// InstallKeys makes the tables hand out keys from lo up to but without hi; see [dialect.KeyMover].
func (e *engine) InstallKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table, lo, hi int64, noted bool) error {
	users, err := userTriggers(ctx, q)
	if err != nil {
		return err
	}
	want := make(map[string]string)
	for _, t := range tables {
		if column := t.HandedOutKey(); column != "" && !t.Own && hi != 0 {
			k := keyTriggerWriter{table: t.Name, column: column, lo: lo, hi: hi, guarded: e.cfg.Guard}
			k.heed(users)
			if noted {
				// The capture may note the move before the insert: the row did not exist before.
				k.note = fmt.Sprintf("INSERT INTO %s (k1, existed) VALUES (NEW.%s, 0); ", outbox(t.ID), ticked(column))
			}
			want[keyTriggers+"bi_"+t.Name], want[keyTriggers+"ai_"+t.Name] = k.before(), k.after()
		}
	}
	have, err := keyTriggersIn(ctx, q)
	if err != nil {
		return err
	}
	statements := []string{}
	for name, text := range have {
		if want[name] != text {
			statements = append(statements, "DROP TRIGGER "+ticked(name))
		}
	}
	for name, text := range want {
		if have[name] != text {
			statements = append(statements, text)
		}
	}
	if hi != 0 {
		var ready bool // the last of keyTables is there
		if err := dialect.ScanOne(ctx, q, []any{&ready}, "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = '_ddb_last_ai')"); err != nil {
			return err
		}
		if !ready {
			statements = append(slices.Clone(keyTables), statements...)
		}
	}
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func keyTriggersIn(ctx context.Context, q dialect.Querier) (map[string]string, error) {
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

// userTrigger is a trigger of the user's.
type userTrigger struct{ table, name, text string }

func userTriggers(ctx context.Context, q dialect.Querier) ([]userTrigger, error) {
	rows, err := q.QueryContext(ctx, "SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'trigger' AND substr(name, 1, 5) <> '_ddb_' ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []userTrigger
	for rows.Next() {
		var t userTrigger
		if err := rows.Scan(&t.table, &t.name, &t.text); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// keyTriggerWriter writes the two triggers of a table.
type keyTriggerWriter struct {
	table, column string
	lo, hi        int64
	note          string // of a snap's capture
	guarded       bool   // there is a flagTable
	misled        string // a trigger of the user's that would be told a key that is no row's
	quiet         bool   // there are triggers of the user's that a move must not fire
}

// heed takes the user's triggers into account.
func (k *keyTriggerWriter) heed(triggers []userTrigger) {
	for _, t := range triggers {
		is := sqlclass.ParseTrigger(t.text, k.column)
		on := strings.EqualFold(t.table, k.table)
		told := slices.ContainsFunc(is.Told, func(name string) bool { return strings.EqualFold(name, k.table) })
		switch {
		case on && is.Verb == "INSERT" && is.After && (is.Key || is.Last), told:
			k.misled = t.name
		case on && is.Verb == "UPDATE":
			k.quiet = true
		}
	}
}

// unlessQuiet is the condition that ddb itself does not write.
func (k *keyTriggerWriter) unlessQuiet() string {
	if !k.guarded {
		return "" // a master that takes nothing from snaps any more writes nothing itself
	}
	return " AND NOT EXISTS (SELECT 1 FROM " + flagTable + ")"
}

// before writes the trigger that notes whether a key is about to be handed out. In a BEFORE INSERT trigger such
// a key shows as -1 (or NULL); afterwards it cannot be told any more.
func (k *keyTriggerWriter) before() string {
	table, handed := literal(k.table), fmt.Sprintf("(NEW.%[1]s IS NULL OR NEW.%[1]s = -1)", ticked(k.column))
	// As a rule the row says so already, and writing it again would be another page for the commit to write.
	return fmt.Sprintf("CREATE TRIGGER %s BEFORE INSERT ON %s WHEN NOT EXISTS (SELECT 1 FROM "+keyTable+" WHERE tbl = %s AND handed = %s)"+k.unlessQuiet()+" BEGIN "+
		"INSERT INTO "+keyTable+" (tbl, handed) VALUES (%s, %s) ON CONFLICT (tbl) DO UPDATE SET handed = excluded.handed; END",
		ticked(keyTriggers+"bi_"+k.table), ticked(k.table), table, handed, table, handed)
}

// after writes the trigger that moves a row. A row whose key is -1 has it by the user's wish, as good as always.
func (k *keyTriggerWriter) after() string {
	table, name, key := literal(k.table), ticked(k.table), ticked(k.column)
	begin := fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON %s WHEN (NEW.%s < %d OR NEW.%s >= %d) AND NEW.%s <> -1"+k.unlessQuiet()+
		" AND EXISTS (SELECT 1 FROM "+keyTable+" WHERE tbl = %s AND (handed = 1 OR was = NEW.%s)) BEGIN ",
		ticked(keyTriggers+"ai_"+k.table), name, key, k.lo, key, k.hi, key, table, key)
	if k.misled != "" {
		return begin + fmt.Sprintf("SELECT RAISE(ABORT, %s) FROM "+keyTable+" WHERE tbl = %s AND handed = 1; END",
			literal(fmt.Sprintf("table %s: the key that SQLite hands out is another node's, and trigger %s asks for the key of a new row before ddb can give it one of this node's; "+
				"give new rows keys of your own", k.table, k.misled)), table)
	}
	move := fmt.Sprintf("UPDATE %s SET %s = (SELECT last FROM "+keyTable+" WHERE tbl = %s) WHERE %s = NEW.%s AND EXISTS (SELECT 1 FROM "+keyTable+" WHERE tbl = %s AND handed = 1); ",
		name, key, table, key, key, table)
	if k.quiet && k.guarded {
		move = "INSERT INTO " + flagTable + " VALUES (1); " + move + "DELETE FROM " + flagTable + "; "
	}
	return begin + k.note + fmt.Sprintf("UPDATE "+keyTable+" SET was = CASE handed WHEN 1 THEN NEW.%s END, moves = moves + handed, "+
		"last = CASE handed WHEN 1 THEN max(%s, coalesce((SELECT max(%s) FROM %s WHERE %s >= %d AND %s < %d), %d)) + 1 ELSE last END WHERE tbl = %s; "+
		"SELECT RAISE(ABORT, %s) FROM "+keyTable+" WHERE tbl = %s AND handed = 1 AND last >= %d; ",
		key, lastOwn(k.lo, k.hi), key, name, key, k.lo, key, k.hi, k.lo-1, table,
		literal("the keys of this node for table "+k.table+" are used up; give new rows keys of your own"), table, k.hi) + move + "END"
}

// lastOwn is the last key of a range that a row was moved to, or 0. Before a Rejoin the node may have had a higher range.
func lastOwn(lo, hi int64) string {
	return fmt.Sprintf("CASE WHEN last >= %d AND last < %d THEN last ELSE 0 END", lo, hi)
}

// ticked quotes a name in backticks, as the texts of the triggers have it.
func ticked(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
