package dialect

import (
	"context"
	"database/sql"
	"errors"
)

// ScanOne scans the only row of a query; sql.ErrNoRows if there is none.
func ScanOne(ctx context.Context, q Querier, into []any, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(rows.Err(), sql.ErrNoRows)
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	return errors.Join(rows.Close(), rows.Err())
}
