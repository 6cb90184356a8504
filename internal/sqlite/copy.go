package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// Scan emits rows in the order of the key's index, whatever directions that has.
func (e *engine) Scan(ctx context.Context, q dialect.Querier, t *dialect.Table, after []any, limit int, emit func(values []any) error) (more bool, err error) {
	tb, err := e.info(ctx, q, t)
	if err != nil {
		return false, fmt.Errorf("scan: %w", err)
	}
	if after != nil && len(after) != len(tb.Key) {
		return false, fmt.Errorf("scan %s: %w: %d key values for %d key columns", t.Name, dialect.ErrSchemaMismatch, len(after), len(tb.Key))
	}
	where, args := "", []any{}
	if after != nil {
		where, args = tb.behind(after)
	}
	order := tb.key("t", ", ", func(i int, col string) string {
		if tb.keyDesc[i] {
			return tb.collate(i, col) + " DESC"
		}
		return tb.collate(i, col)
	})
	query := fmt.Sprintf("SELECT %s FROM main.%s t%s ORDER BY %s LIMIT ?", tb.read("t"), quote(t.Name), where, order)
	rows, err := q.QueryContext(ctx, query, append(args, limit)...)
	if err != nil {
		return false, fmt.Errorf("scan %s: %w", t.Name, err)
	}
	defer rows.Close()
	s := newScanner(len(tb.Stored))
	n := 0
	for rows.Next() {
		if err = s.scan(rows); err == nil {
			err = emit(s.values)
		}
		if err != nil {
			return false, fmt.Errorf("scan %s: %w", t.Name, err)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("scan %s: %w", t.Name, err)
	}
	return n == limit, nil
}

// behind returns the condition that a row comes after a key: with the columns a and b,
// a >= ? AND (a > ? OR a = ? AND b > ?). The first part alone finds the place in the index.
func (tb *table) behind(after []any) (where string, args []any) {
	var or []string
	prefix := ""
	var prefixArgs []any
	for i, k := range tb.Key {
		col := tb.collate(i, "t."+quote(tb.Stored[k]))
		op := " > ?"
		if tb.keyDesc[i] {
			op = " < ?"
		}
		or = append(or, prefix+col+op)
		args = append(append(args, prefixArgs...), after[i])
		prefix += col + " = ? AND "
		prefixArgs = append(prefixArgs, after[i])
	}
	if len(or) == 1 {
		return " WHERE " + or[0], args
	}
	head := strings.Replace(strings.Replace(or[0], " > ?", " >= ?", 1), " < ?", " <= ?", 1)
	return " WHERE " + head + " AND (" + strings.Join(or, " OR ") + ")", append([]any{after[0]}, args...)
}

// Wipe drops the user's tables, views and triggers. Virtual tables stay: they are
// not replicated, so no snapshot could give their rows back.
func (e *engine) Wipe(ctx context.Context, c *sql.Conn) error {
	on, err := integer(ctx, c, "PRAGMA foreign_keys")
	if err == nil && on != 0 { // else DROP TABLE would delete row by row and act on children
		if _, err = c.ExecContext(ctx, "PRAGMA foreign_keys = OFF"); err == nil {
			defer c.ExecContext(context.WithoutCancel(ctx), "PRAGMA foreign_keys = ON")
		}
	}
	if err == nil {
		err = e.atomic(ctx, c, func(q dialect.Querier) error { return e.wipe(ctx, q) })
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	return nil
}

func (e *engine) wipe(ctx context.Context, q dialect.Querier) error {
	objects, err := e.Objects(ctx, q)
	if err != nil {
		return err
	}
	for i := len(objects) - 1; i >= 0; i-- { // triggers, views, indexes, tables
		o := objects[i]
		drop := "DROP " + strings.ToUpper(o.Kind) + " IF EXISTS main." + quote(o.Name)
		switch o.Kind {
		case "index":
			continue // goes with its table
		case "pragma":
			drop = "PRAGMA main." + o.Name + " = 0"
		}
		if err := run(ctx, q, drop); err != nil {
			return err
		}
	}
	return nil
}

// DropOwn removes capture and all of ddb's own tables.
func (e *engine) DropOwn(ctx context.Context, q dialect.Querier) error {
	err := e.atomic(ctx, q, func(q dialect.Querier) error {
		if err := e.RemoveCapture(ctx, q); err != nil {
			return err
		}
		var drop []string
		var name string
		err := each(ctx, q, "SELECT name FROM main.sqlite_schema WHERE type = 'table'", []any{&name}, func() error {
			if own(name) {
				drop = append(drop, "DROP TABLE main."+quote(name))
			}
			return nil
		})
		if err != nil {
			return err
		}
		return run(ctx, q, drop...)
	})
	if err != nil {
		return fmt.Errorf("drop own tables: %w", err)
	}
	return nil
}
