package mysql

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
)

// rowReader knows the columns of a query and receives its rows.
type rowReader struct {
	exprs []string
	cells []any
}

// add adds an expression, whose value is of the column's kind.
func (r *rowReader) add(expr string, c column) {
	r.exprs = append(r.exprs, expr)
	r.cells = append(r.cells, c.newCell())
}

// addColumns adds columns of the table with the alias, and returns where they begin.
func (r *rowReader) addColumns(alias string, columns []column) int {
	at := len(r.cells)
	for _, c := range columns {
		r.add(c.selectAs(alias), c)
	}
	return at
}

// collect runs a query of the reader's columns and spools its rows.
func (r *rowReader) collect(ctx context.Context, q dialect.Querier, query string) (*spool, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	s := &spool{width: len(r.cells)}
	for rows.Next() {
		if err = rows.Scan(r.cells...); err == nil {
			err = s.add(r.cells)
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// run spools the query's rows and hands them on.
func (r *rowReader) run(ctx context.Context, q dialect.Querier, query string, emit func([]any) error) error {
	s, err := r.collect(ctx, q, query)
	if err != nil {
		return err
	}
	defer s.close()
	return s.each(emit)
}
