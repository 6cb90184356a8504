package mysql

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/apply"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Fault says what an error of the server or of its driver means.
func (Dialect) Fault(err error) dialect.Fault { return lang.Fault(err) }

// Unjudged is the beginning of a statement that stores what it can, on MariaDB.
const Unjudged = apply.Unjudged

// Checks returns a condition that is true for a row of the table, in the database of that name, "" for the current one, that breaks a CHECK
// on one of the columns, or on a generated column made of them; "" if there is no such CHECK. A text that looks like a column's name counts as one.
func Checks(ctx context.Context, q dialect.Querier, database, table string, columns []string) (string, error) {
	return apply.Checks(ctx, q, database, table, columns)
}
