package sqlite

import (
	"database/sql"
	"strings"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

const (
	// rowsOfValues is how many rows of the greatest size the values that a statement holds at once may come to.
	rowsOfValues = 4
	// leastValue is what every value may have, however many there are.
	leastValue = 64 << 10
)

// LimitValues keeps a query that is to run on the connection from making values whose sum is much more than a row may have,
// in bytes: SQLite itself only knows a limit for each value, and may hold one for each column and each call of a
// function. A greater one is SQLITE_TOOBIG. restore gives the connection back the limit that it had; the
// rows must be closed by then. Connections of other drivers know no limits and get none.
func (Dialect) LimitValues(c *sql.Conn, query string, row int64) (restore func()) {
	values := int64(strings.Count(query, "("))
	_ = c.Raw(func(conn any) error {
		if d, ok := conn.(interface {
			ColumnInfo(query string) ([]driver.ColumnInfo, error)
		}); ok {
			columns, err := d.ColumnInfo(query)
			values += int64(len(columns))
			return err // which the query will meet too
		}
		return nil
	})
	most := max(min(row, rowsOfValues*row/max(values, 1)), min(leastValue, row))
	before, err := driver.Limit(c, lib.SQLITE_LIMIT_LENGTH, int(most))
	if err != nil {
		return func() {}
	}
	return func() { _, _ = driver.Limit(c, lib.SQLITE_LIMIT_LENGTH, before) }
}
