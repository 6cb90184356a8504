package sqlite

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
)

// HasTemporary reports whether the connection has temporary objects.
func (e *engine) HasTemporary(ctx context.Context, q dialect.Querier) (bool, error) {
	n, err := integer(ctx, q, "SELECT count(*) FROM temp.sqlite_schema")
	return n > 0, err
}

// IsTemporary reports whether the name stands for a temporary object on the connection. database is "" if the statement
// names none.
func (e *engine) IsTemporary(ctx context.Context, q dialect.Querier, database, name string) (bool, error) {
	if database != "" {
		return false, nil
	}
	n, err := integer(ctx, q, "SELECT count(*) FROM temp.sqlite_schema WHERE name = ? COLLATE NOCASE", name)
	return n > 0, err
}
