package mysql

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

// SetLastKey makes LAST_INSERT_ID() of the connection the key.
func (Dialect) SetLastKey(ctx context.Context, q dialect.Querier, key int64) error {
	_, err := q.ExecContext(ctx, fmt.Sprintf("DO LAST_INSERT_ID(%d)", key))
	return err
}
