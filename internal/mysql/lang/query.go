package lang

import (
	"context"
	"database/sql"

	"github.com/ddb-project/ddb/dialect"
)

// Texts runs a query of the catalogue and returns all its rows as text.
func Texts(ctx context.Context, q dialect.Querier, query string) ([][]sql.NullString, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]sql.NullString
	for rows.Next() {
		r := make([]sql.NullString, len(cols))
		dest := make([]any, len(cols))
		for i := range r {
			dest[i] = &r[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// Exec runs statements one after the other.
func Exec(ctx context.Context, q dialect.Querier, statements ...string) error {
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return Wrap(err)
		}
	}
	return nil
}
