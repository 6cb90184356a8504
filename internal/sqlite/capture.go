package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// captureVersion changes when the triggers that this code writes do.
const captureVersion = 2

// outbox returns the quoted name of a table's outbox.
func outbox(id int64) string { return quote(fmt.Sprintf("%sout_%d", prefix, id)) }

// columns returns "prefix1, prefix2, ..." up to n.
func columns(prefix string, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s%d", prefix, i+1)
	}
	return b.String()
}

// outboxSQL returns the statement that makes the outbox. Its columns have no type, so
// that they keep a value's storage class. An id is not used again while a note with a
// higher one stands, and a pass clears what it has seen before another writer comes.
func (tb *table) outboxSQL(id int64, mode dialect.CaptureMode) string {
	cols := "id INTEGER PRIMARY KEY, " + columns("k", len(tb.Key))
	if mode == dialect.Images {
		cols += ", existed, " + columns("o", len(tb.Stored))
	}
	return "CREATE TABLE " + outbox(id) + " (" + cols + ")"
}

// key lists the key columns of a row variable, each made by f.
func (tb *table) key(row, sep string, f func(i int, col string) string) string {
	parts := make([]string, len(tb.Key))
	for i, k := range tb.Key {
		parts[i] = f(i, row+"."+quote(tb.Stored[k]))
	}
	return strings.Join(parts, sep)
}

func plain(_ int, col string) string { return col }

// collate adds the collation of the key's index, which may be another than the column's.
func (tb *table) collate(i int, expr string) string {
	if tb.rowidKey {
		return expr
	}
	return expr + " COLLATE " + quote(tb.keyColl[i])
}

// keyEqual compares the keys of two rows; keys hold no NULL once a default is filled in.
func (tb *table) keyEqual(a, b string) string {
	return tb.key(a, " AND ", func(i int, col string) string {
		value := b + "." + quote(tb.Stored[tb.Key[i]])
		if b == "NEW" {
			value = tb.filled(tb.Stored[tb.Key[i]])
		}
		return tb.collate(i, col) + " = " + value
	})
}

// images lists the stored columns of a row variable.
func (tb *table) images(row string) string {
	parts := make([]string, len(tb.Stored))
	for i, s := range tb.Stored {
		parts[i] = row + "." + quote(s)
	}
	return strings.Join(parts, ", ")
}

// triggers returns the capture triggers' names and statements.
func (tb *table) triggers(id int64, mode dialect.CaptureMode) [][2]string {
	w := triggerWriter{tb: tb, id: id, mode: mode}
	after, update, remove := "", "", ""
	if tb.keyNullable {
		check := fmt.Sprintf("SELECT RAISE(ABORT, %s) WHERE %s;",
			literal("table "+tb.Name+": NULL in the primary key, which ddb cannot replicate; declare it NOT NULL"),
			tb.key("NEW", " OR ", func(_ int, c string) string { return c + " IS NULL" }))
		after, update = check, check
	}
	moved := " WHERE NOT (" + tb.keyEqual("OLD", "NEW") + ")"
	if mode == dialect.Keys {
		after += w.note("VALUES (" + tb.key("NEW", ", ", plain) + ")")
		update += w.note("VALUES ("+tb.key("NEW", ", ", plain)+")") + w.note("SELECT "+tb.key("OLD", ", ", plain)+moved)
		remove += w.note("VALUES (" + tb.key("OLD", ", ", plain) + ")")
		w.add("d", "AFTER DELETE", remove)
	} else {
		// The previous image is noted before the change, so that a user's AFTER trigger
		// that changes the row again cannot note a later image first.
		after += w.note("(" + tb.key("NEW", ", ", plain) + ", 0)")
		update += w.note("new:" + moved)
		w.add("d", "BEFORE DELETE", w.note("old"))
	}
	w.add("i", "AFTER INSERT", after)
	w.add("u", "AFTER UPDATE", update)
	w.replaced()
	return w.out
}

// triggerWriter builds the triggers of one table.
type triggerWriter struct {
	tb   *table
	id   int64
	mode dialect.CaptureMode
	out  [][2]string
}

// quiet tells, in the mode Images, whether notes are to be made.
var quiet = fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %s WHERE off = %d)", flagTable, quietFlag)

func (w *triggerWriter) add(suffix, event, body string) {
	when := ""
	if w.mode == dialect.Images && event != "BEFORE INSERT" { // which looks only if it has found a row
		when = " WHEN " + quiet
	}
	name := fmt.Sprintf("%s%d_%s", prefix, w.id, suffix)
	w.out = append(w.out, [2]string{name, fmt.Sprintf("CREATE TRIGGER %s %s ON %s%s BEGIN %s END", quote(name), event, quote(w.tb.Name), when, body)})
}

// note writes the statement that notes a key: what is VALUES or SELECT for keys
// alone; for images it is "old", "new:" with a condition, or a row of values.
func (w *triggerWriter) note(what string) string {
	tb := w.tb
	into := "INSERT INTO " + outbox(w.id) + " (" + columns("k", len(tb.Key))
	switch {
	case w.mode == dialect.Keys:
		return into + ") " + what + "; "
	case what == "old":
		return into + ", existed, " + columns("o", len(tb.Stored)) + ") VALUES (" + tb.key("OLD", ", ", plain) + ", 1, " + tb.images("OLD") + "); "
	case strings.HasPrefix(what, "new:"):
		return into + ", existed) SELECT " + tb.key("NEW", ", ", plain) + ", 0" + what[4:] + "; "
	}
	return into + ", existed) VALUES " + what + "; "
}

// others writes the statement that notes the rows that stand where the new one goes.
func (w *triggerWriter) others(where string) string {
	tb := w.tb
	into := "INSERT INTO " + outbox(w.id) + " (" + columns("k", len(tb.Key))
	from := " FROM " + quote(tb.Name) + " AS t WHERE " + where + "; "
	if w.mode == dialect.Keys {
		return into + ") SELECT " + tb.key("t", ", ", plain) + from
	}
	return into + ", existed, " + columns("o", len(tb.Stored)) + ") SELECT " + tb.key("t", ", ", plain) + ", 1, " + tb.images("t") + from
}

// replaced writes the BEFORE triggers. OR REPLACE removes rows that share a unique
// value with the new one without firing their DELETE triggers (recursive_triggers
// is off by default), so what would clash is noted beforehand, whatever the
// statement then does: a note too many does no harm.
func (w *triggerWriter) replaced() {
	tb := w.tb
	var insert, update string
	var of []string
	unless := ""
	if w.mode == dialect.Images {
		unless = " AND " + quiet
	}
	plainColumns := true
	for _, u := range tb.uniques {
		for _, where := range tb.clashes(u) {
			// In a BEFORE INSERT trigger a key yet to be handed out is -1 or NULL; NOT (NULL) must not hide the row.
			insert += w.others(where + " AND (" + tb.keyEqual("t", "NEW") + ") IS NOT 1" + unless)
			update += w.others(where + " AND NOT (" + tb.keyEqual("t", "OLD") + ")")
		}
		plainColumns = plainColumns && u.columns != nil
		of = append(of, u.columns...)
	}
	rowid := ""
	if tb.rowidName != "" {
		rowid = w.others("t." + tb.rowidName + " = NEW." + tb.rowidName)
	}
	if w.mode == dialect.Images {
		same := w.others(tb.keyEqual("t", "NEW") + unless)
		if tb.rowidName != "" {
			same += w.others("t." + tb.rowidName + " = NEW." + tb.rowidName + unless)
		}
		w.add("bi", "BEFORE INSERT", same+insert)
		same = w.others(tb.keyEqual("t", "NEW") + " AND NOT (" + tb.keyEqual("t", "OLD") + ")")
		w.add("bu", "BEFORE UPDATE", w.note("old")+same+rowid+update)
		return
	}
	if insert+rowid != "" {
		w.add("bi", "BEFORE INSERT", rowid+insert)
	}
	event := "BEFORE UPDATE"
	if plainColumns && rowid == "" && len(of) > 0 {
		for i, c := range of {
			of[i] = quote(c)
		}
		slices.Sort(of)
		event += " OF " + strings.Join(slices.Compact(of), ", ")
	}
	if update+rowid != "" {
		w.add("bu", event, rowid+update)
	}
}

// clashes returns the conditions under which a row t may stand where the new one goes. Where defaults
// are filled in first, what generated columns become is not known, and they count as equal.
func (tb *table) clashes(u unique) []string {
	var all, known []string
	for _, t := range u.terms {
		equal := fmt.Sprintf("%s COLLATE %s = %s", t.old, quote(t.coll), t.new)
		if all = append(all, equal); !t.late {
			known = append(known, equal)
		}
	}
	if u.where != "" {
		all, known = append(all, "("+u.where+")"), append(known, "("+u.where+")")
	}
	list := []string{strings.Join(all, " AND ")}
	if lacks := tb.lacks(); len(known) < len(all) && lacks != "" {
		list = append(list, strings.Join(append(known, "("+lacks+")"), " AND "))
	}
	return list
}

// dropCaptureTriggers drops all of ddb's triggers and makes the captures count as outdated.
func (e *engine) dropCaptureTriggers(ctx context.Context, q dialect.Querier) error {
	list, err := ownTriggers(ctx, q)
	if err != nil {
		return err
	}
	for _, t := range list {
		if err := run(ctx, q, "DROP TRIGGER "+quote(t.name)); err != nil {
			return err
		}
	}
	return nil
}

// trigger is a trigger as the schema has it.
type trigger struct {
	name, table, sql string
	rowid            int64
}

func ownTriggers(ctx context.Context, q dialect.Querier) ([]trigger, error) {
	all, err := allTriggers(ctx, q)
	return slices.DeleteFunc(all, func(t trigger) bool { return !own(t.name) }), err
}

func allTriggers(ctx context.Context, q dialect.Querier) ([]trigger, error) {
	var list []trigger
	var t trigger
	err := each(ctx, q, "SELECT name, tbl_name, sql, rowid FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY rowid",
		[]any{&t.name, &t.table, &t.sql, &t.rowid}, func() error { list = append(list, t); return nil })
	return list, err
}
