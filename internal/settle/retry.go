package settle

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/conflict"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/store"
)

// losersOf returns the row that lost, as far as the table still has its columns, and those of its fields that the loser had changed.
func losersOf(k conflict.Conflict, t *dialect.Table, lost string) (row, changed []rowField, err error) {
	if row, err = parseRow(lost); err != nil {
		return nil, nil, err
	}
	row = slices.DeleteFunc(row, func(f rowField) bool { return !stored(t, f.name) })
	var base []rowField
	if k.Base != "" && !strings.HasPrefix(k.Base, `{"$left out"`) {
		if base, err = parseRow(k.Base); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range row {
		if !slices.ContainsFunc(base, func(b rowField) bool { return b.name == f.name && batch.EqualValues(b.value, f.value) }) {
			changed = append(changed, f)
		}
	}
	return row, changed, nil
}

// rewriting writes a row that lost.
type rewriting struct {
	node             *store.Store // whose row it is
	database, name   string       // of the table; the database is "" for the current one
	table, condition string
	key              []any      // arguments of the condition
	there            bool       // it is an update
	fields           []rowField // what is written
}

// run updates the row, or inserts it. MariaDB judges the whole row whichever columns a statement writes; where it refuses the row, it is
// written unjudged, and only what was written is judged then.
func (w *rewriting) run(ctx context.Context, tx *sql.Tx) error {
	var names, marks, set []string
	var args []any
	for _, f := range w.fields {
		name := store.QuoteName("", f.name)
		names, marks, set, args = append(names, name), append(marks, "?"), append(set, name+" = ?"), append(args, f.value)
	}
	query := "INSERT INTO " + w.table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
	if w.there {
		query, args = "UPDATE "+w.table+" SET "+strings.Join(set, ", ")+w.condition, append(args, w.key...)
	}
	rewriter, ok := w.node.Engine.(dialect.Rewriter)
	_, refused := tx.ExecContext(ctx, query, args...)
	if !ok || !w.node.Fault(refused).Is(dialect.Unfit) {
		return refused
	}
	if _, err := tx.ExecContext(ctx, rewriter.Unjudged(query), args...); err != nil {
		return refused
	}
	stands, err := w.stands(ctx, tx, rewriter)
	if err == nil && !stands {
		err = refused
	}
	return err
}

// stands reports whether the row has the values that were written, and holds to the CHECKs on them.
func (w *rewriting) stands(ctx context.Context, tx *sql.Tx, rewriter dialect.Rewriter) (bool, error) {
	query, args := "SELECT COUNT(*) FROM "+w.table+w.condition, slices.Clone(w.key)
	var columns []string
	for _, f := range w.fields {
		query, args = query+" AND "+store.QuoteName("", f.name)+" <=> ?", append(args, f.value)
		columns = append(columns, f.name)
	}
	broken, err := rewriter.Checks(ctx, tx, w.database, w.name, columns)
	if err != nil {
		return false, fmt.Errorf("read the CHECK constraints of table %s: %w", w.table, err)
	}
	if broken != "" {
		query += " AND (" + broken + ") IS NOT TRUE"
	}
	var n int64
	err = tx.QueryRowContext(ctx, query, args...).Scan(&n)
	return n == 1, err
}
