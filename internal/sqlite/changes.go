package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

var _ dialect.ChangeCounter = (*engine)(nil)

// Changes implements [dialect.ChangeCounter]: the rows that the connection itself has changed, triggers and foreign keys included, are
// counted in total_changes(), and the commits of others in data_version.
func (e *engine) Changes(ctx context.Context, c *sql.Conn) (string, error) {
	k := e.quickOf(c)
	if k == nil {
		return "", nil
	}
	mark, err := text(ctx, k, "SELECT total_changes() || ' ' || data_version FROM pragma_data_version")
	if err != nil {
		return "", fmt.Errorf("changes: %w", err)
	}
	return fmt.Sprint(k.number, " ", mark), nil
}
