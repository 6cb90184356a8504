package codec

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
)

// Reader knows the columns of a query and receives its rows.
type Reader struct {
	Exprs []string // of the columns, as SQL
	Cells []any    // a *Cell for each, for rows.Scan
}

// Add adds an expression, whose value is of the column's kind.
func (r *Reader) Add(expr string, c Column) {
	r.Exprs = append(r.Exprs, expr)
	r.Cells = append(r.Cells, c.newCell())
}

// AddColumns adds columns of the table with the alias, and returns where they begin.
func (r *Reader) AddColumns(alias string, columns []Column) int {
	at := len(r.Cells)
	for _, c := range columns {
		r.Add(c.selectAs(alias), c)
	}
	return at
}

// Collect runs a query of the reader's columns and spools its rows.
func (r *Reader) Collect(ctx context.Context, q dialect.Querier, query string) (*Spool, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	s := &Spool{width: len(r.Cells)}
	for rows.Next() {
		if err = rows.Scan(r.Cells...); err == nil {
			err = s.add(r.Cells)
		}
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Run spools the query's rows and hands them on.
func (r *Reader) Run(ctx context.Context, q dialect.Querier, query string, emit func([]any) error) error {
	s, err := r.Collect(ctx, q, query)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Each(emit)
}
