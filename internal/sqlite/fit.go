package sqlite

import (
	"context"
	"errors"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// An INSERT is judged by all CHECKs of its table, also where most values have been the row's for long. An UPDATE is judged only by
// those on the columns that it names. So a row that a CHECK refuses is written unjudged, and the values that were given
// are written again over it.

// isCheck reports whether an error is that of a CHECK.
func isCheck(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code() == lib.SQLITE_CONSTRAINT_CHECK
}

// fitting writes one row, and again unjudged if a CHECK refuses it.
func (w *writer) fitting(ctx context.Context, r *dialect.Row) error {
	return w.unjudged(ctx, r, w.insert(ctx, []*dialect.Row{r}))
}

// unjudged writes a row that a CHECK has refused, if none forbids the values that were given. Any other error is returned.
func (w *writer) unjudged(ctx context.Context, r *dialect.Row, refused error) error {
	if !isCheck(refused) || r.Given == nil {
		return refused
	}
	if err := w.ignoreChecks(ctx, true); err != nil {
		return err
	}
	err := w.insert(ctx, []*dialect.Row{r})
	if back := w.ignoreChecks(context.WithoutCancel(ctx), false); err == nil {
		err = back
	}
	if err != nil {
		return err
	}
	var set []string
	for i, given := range r.Given {
		if given {
			set = append(set, quote(w.tb.Stored[i])+" = "+quote(w.tb.Stored[i]))
		}
	}
	if len(set) == 0 {
		return nil
	}
	_, err = w.q.ExecContext(ctx, "UPDATE main."+quote(w.tb.Name)+" AS t SET "+strings.Join(set, ", ")+" WHERE "+w.tb.keyIs(), r.Key...)
	return err
}

// ignoreChecks turns CHECKs off or on. SQLite does that while it compiles the statement, so the statement is not one that is kept compiled.
func (w *writer) ignoreChecks(ctx context.Context, ignore bool) error {
	q := w.q
	if k, ok := q.(*quickConn); ok {
		q = k.Conn
	}
	value := "OFF"
	if ignore {
		value = "ON"
	}
	_, err := q.ExecContext(ctx, "PRAGMA ignore_check_constraints = "+value)
	return err
}
