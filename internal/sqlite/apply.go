package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Limits of one statement that writes rows.
const (
	rowsAtOnce      = 100
	variablesAtOnce = 2000
)

// writer writes rows of one table through prepared statements.
type writer struct {
	tb    *table
	q     dialect.Querier
	verb  string // INSERT OR ...
	tail  string // ON CONFLICT ...
	stmts map[int]dialect.Stmt
	del   dialect.Stmt
	mine  []dialect.Stmt // to be closed
}

// Apply makes the rows of a table be as stated.
func (e *engine) Apply(ctx context.Context, q dialect.Querier, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	tb, err := e.info(ctx, q, t)
	if err == nil {
		err = tb.checkRows(rows)
	}
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	w := &writer{tb: tb, q: e.Quick(q), verb: "INSERT OR ABORT", tail: tb.upsert(!tb.ExactKey || tb.oddKey(rows))}
	if mode == dialect.Replace {
		w.verb, w.tail = "INSERT OR REPLACE", ""
	}
	defer w.close()
	if err := w.write(ctx, rows); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// checkRows refuses rows that are not of the table's shape.
func (tb *table) checkRows(rows []dialect.Row) error {
	for i := range rows {
		r := &rows[i]
		if len(r.Key) != len(tb.Key) || r.Values != nil && len(r.Values) != len(tb.Stored) {
			return fmt.Errorf("table %s: %w: a row of %d values and a key of %d for %d columns and a key of %d", tb.Name,
				dialect.ErrSchemaMismatch, len(r.Values), len(r.Key), len(tb.Stored), len(tb.Key))
		}
		if r.Values == nil {
			continue
		}
		// OR REPLACE would write the column's default instead of a NULL.
		for _, n := range tb.notNull {
			if r.Values[n] == nil {
				return fmt.Errorf("table %s, key %s: %w: NULL in the column %s, which takes none", tb.Name, showKey(r.Key), dialect.ErrDiverged, tb.Stored[n])
			}
		}
	}
	return nil
}

// oddKey reports whether a row's key may be equal to one of another storage class even
// in a column of integers: SQLite keeps the REAL -2^63 there, which equals the integer.
func (tb *table) oddKey(rows []dialect.Row) bool {
	for i := range rows {
		if rows[i].Values == nil {
			continue
		}
		for _, k := range tb.Key {
			switch v := rows[i].Values[k].(type) {
			case float64:
				return true
			case int64:
				if v == math.MinInt64 && !tb.rowidKey {
					return true
				}
			}
		}
	}
	return false
}

// upsert returns the clause that changes the row with the same key in place, as no
// DELETE would be: foreign keys that point to it must not act.
// With keys it writes the key too, which may be equal and yet not the same.
func (tb *table) upsert(keys bool) string {
	var target, set []string
	for _, k := range tb.Key {
		target = append(target, quote(tb.Stored[k]))
	}
	for i, s := range tb.Stored {
		if keys || !slices.Contains(tb.Key, i) {
			set = append(set, quote(s)+" = excluded."+quote(s))
		}
	}
	clause := " ON CONFLICT (" + strings.Join(target, ", ") + ") DO "
	if len(set) == 0 {
		return clause + "NOTHING"
	}
	return clause + "UPDATE SET " + strings.Join(set, ", ")
}

// write deletes the absent rows, then writes the others.
func (w *writer) write(ctx context.Context, rows []dialect.Row) error {
	present := make([]*dialect.Row, 0, len(rows))
	for i := range rows {
		if rows[i].Values != nil {
			present = append(present, &rows[i])
			continue
		}
		if err := w.delete(ctx, rows[i].Key); err != nil {
			return err
		}
	}
	if err := w.used(ctx, rows); err != nil {
		return err
	}
	for len(present) > 0 {
		n := w.atOnce(len(present))
		err := w.insert(ctx, present[:n])
		if isUnique(err) && w.tail != "" {
			return w.exchange(ctx, present)
		}
		if isCheck(err) {
			if n > 1 {
				n = 1 // which of them it is about is not told
				err = w.insert(ctx, present[:1])
			}
			err = w.unjudged(ctx, present[0], err)
		}
		if err != nil {
			return w.named(present[0], err)
		}
		present = present[n:]
	}
	return nil
}

// used keeps the keys of deleted rows from being handed out anew by AUTOINCREMENT, should this node be a master one
// day: a row may have come and gone between two entries. Inserts see to theirs.
func (w *writer) used(ctx context.Context, rows []dialect.Row) error {
	if !w.tb.autoIncr {
		return nil
	}
	var highest int64
	for i := range rows {
		if key, ok := rows[i].Key[0].(int64); ok && rows[i].Values == nil {
			highest = max(highest, key)
		}
	}
	if highest == 0 {
		return nil
	}
	name := literal(w.tb.Name)
	res, err := w.q.ExecContext(ctx, "UPDATE main.sqlite_sequence SET seq = max(seq, ?) WHERE name = "+name, highest)
	if err != nil {
		return fmt.Errorf("table %s: AUTOINCREMENT: %w", w.tb.Name, err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	if _, err = w.q.ExecContext(ctx, "INSERT INTO main.sqlite_sequence (name, seq) VALUES ("+name+", ?)", highest); err != nil {
		return fmt.Errorf("table %s: AUTOINCREMENT: %w", w.tb.Name, err)
	}
	return nil
}

// atOnce returns how many of n rows the next statement writes: one of few
// sizes, so that statements are the same again and again and stay compiled.
func (w *writer) atOnce(n int) int {
	most := max(1, min(rowsAtOnce, variablesAtOnce/len(w.tb.Stored)))
	switch few := most / 10; {
	case n >= most:
		return most
	case few > 1 && n >= few:
		return few
	}
	return 1
}

// exchange writes rows among which unique values may be swapped: one by one
// as long as that helps, and the rest (a ring) after deleting all of them.
func (w *writer) exchange(ctx context.Context, rows []*dialect.Row) error {
	on, err := integer(ctx, w.q, "PRAGMA foreign_keys")
	if err != nil {
		return err
	}
	keep := on != 0 && w.tb.isParent // a DELETE would act on the children
	for keep {
		var left []*dialect.Row
		for _, r := range rows {
			err := w.fitting(ctx, r)
			if isUnique(err) {
				left = append(left, r)
			} else if err != nil {
				return w.named(r, err)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) == len(rows) {
			return w.named(left[0], errors.New("UNIQUE constraint: the values of rows that others reference cannot be exchanged in a ring"))
		}
		rows = left
	}
	for _, r := range rows {
		if err := w.delete(ctx, r.Key); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if err := w.fitting(ctx, r); err != nil {
			return w.named(r, err)
		}
	}
	return nil
}

// named tells which row an error is about.
func (w *writer) named(r *dialect.Row, err error) error {
	if isUnique(err) {
		err = fmt.Errorf("%w: %w", dialect.ErrDiverged, err)
	}
	return fmt.Errorf("table %s, key %s: %w", w.tb.Name, showKey(r.Key), err)
}

// insert writes rows with one statement.
func (w *writer) insert(ctx context.Context, rows []*dialect.Row) error {
	stmt := w.stmts[len(rows)]
	if stmt == nil {
		names := make([]string, len(w.tb.Stored))
		for i, s := range w.tb.Stored {
			names[i] = quote(s)
		}
		one := "(" + repeat("?", len(names)) + ")"
		var err error
		stmt, err = w.prepare(ctx, w.verb+" INTO main."+quote(w.tb.Name)+" ("+strings.Join(names, ", ")+") VALUES "+repeat(one, len(rows))+w.tail)
		if err != nil {
			return err
		}
		if w.stmts == nil {
			w.stmts = make(map[int]dialect.Stmt)
		}
		w.stmts[len(rows)] = stmt
	}
	args := make([]any, 0, len(rows)*len(w.tb.Stored))
	for _, r := range rows {
		args = append(args, r.Values...)
	}
	_, err := stmt.ExecContext(ctx, args...)
	return err
}

// delete removes the row of a key, if it is there.
func (w *writer) delete(ctx context.Context, key []any) (err error) {
	if w.del == nil {
		if w.del, err = w.prepare(ctx, "DELETE FROM main."+quote(w.tb.Name)+" AS t WHERE "+w.tb.keyIs()); err != nil {
			return err
		}
	}
	if _, err = w.del.ExecContext(ctx, key...); err != nil {
		return fmt.Errorf("table %s, key %s: %w", w.tb.Name, showKey(key), err)
	}
	return nil
}

// keyIs compares the key of the row t with as many parameters.
func (tb *table) keyIs() string {
	return tb.key("t", " AND ", func(i int, col string) string { return tb.collate(i, col) + " = ?" })
}

// prepare compiles a statement, or finds that the connection has it compiled.
func (w *writer) prepare(ctx context.Context, query string) (dialect.Stmt, error) {
	if k, ok := w.q.(*quickConn); ok {
		if s, err := k.statement(ctx, query); err != nil {
			return nil, err
		} else {
			return s, nil
		}
	}
	s, err := w.q.(preparer).PrepareContext(ctx, query)
	if err == nil {
		w.mine = append(w.mine, s)
	}
	return s, err
}

func (w *writer) close() {
	for _, s := range w.mine {
		_ = s.Close()
	}
}

// isUnique reports whether an error is a clash of unique values.
func isUnique(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && (e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == lib.SQLITE_CONSTRAINT_ROWID)
}

// showKey writes a key for an error.
func showKey(key []any) string {
	parts := make([]string, len(key))
	for i, v := range key {
		switch v := v.(type) {
		case []byte:
			parts[i] = fmt.Sprintf("x'%.64x'", v)
		case string:
			parts[i] = fmt.Sprintf("%.64q", v)
		default:
			parts[i] = fmt.Sprint(v)
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// Lookup emits the rows of keys. A transaction of ddb's holds the write lock, so
// that none of them changes until it ends.
func (e *engine) Lookup(ctx context.Context, q dialect.Querier, t *dialect.Table, keys [][]any, emit func(dialect.Row) error) error {
	tb, err := e.info(ctx, q, t)
	if err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	q = e.Quick(q)
	one, many := tb.lookupSQL(), ""
	if tb.rowidKey && len(keys) >= lookupAtOnce {
		many = tb.lookupManySQL()
	}
	for len(keys) > 0 && err == nil {
		if many != "" && len(keys) >= lookupAtOnce {
			args := make([]any, lookupAtOnce)
			for i := range args {
				args[i] = keys[i][0]
			}
			err = tb.lookup(ctx, q, many, args, keys[:lookupAtOnce], emit)
			keys = keys[lookupAtOnce:]
			continue
		}
		err = tb.lookup(ctx, q, one, keys[0], keys[:1], emit)
		keys = keys[1:]
	}
	if err != nil {
		return fmt.Errorf("lookup %s: %w", t.Name, err)
	}
	return nil
}

// lookupAtOnce is how many rows a query looks up by their rowid: to start one takes
// longer than to find a row.
const lookupAtOnce = 50

// lookup emits what the query finds for the keys: the place of a key among them, and its row.
func (tb *table) lookup(ctx context.Context, q dialect.Querier, query string, args []any, keys [][]any, emit func(dialect.Row) error) error {
	answers := dialect.Answers{Keys: keys, Emit: emit}
	err := eachRow(ctx, q, 1+len(tb.Stored), query, func(v []any) error {
		i := int(v[0].(int64))
		return answers.Found(i, dialect.Row{Key: keys[i], Values: v[1:]})
	}, args...)
	if err != nil {
		return err
	}
	return answers.End()
}

// lookupSQL is the query of lookup for one key.
func (tb *table) lookupSQL() string {
	return fmt.Sprintf("SELECT 0, %s FROM main.%s t WHERE %s", tb.read("t"), quote(tb.Name), tb.keyIs())
}

// lookupManySQL is the query of lookup for as many rowids as it takes at once.
func (tb *table) lookupManySQL() string {
	list := make([]string, lookupAtOnce)
	for i := range list {
		list[i] = fmt.Sprintf("(%d, ?)", i)
	}
	// CROSS JOIN keeps the list outermost, so that the rows come in its order.
	return fmt.Sprintf("SELECT k.column1, %s FROM (VALUES %s) k CROSS JOIN main.%s t WHERE t.%s = k.column2",
		tb.read("t"), strings.Join(list, ", "), quote(tb.Name), quote(tb.Stored[tb.Key[0]]))
}
