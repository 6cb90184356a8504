package fleet

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
)

// countLimit is how long a snapshot waits for the number of its rows, which only says how far it has come.
const countLimit = time.Second

// estimateRows returns about how many rows the tables hold, 0 if that takes too long to find out.
func estimateRows(ctx context.Context, n *store.Store, tables []*dialect.Table) int64 {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	var total int64
	for _, t := range tables {
		var rows int64
		var err error
		if estimator, ok := n.Engine.(dialect.RowEstimator); ok {
			rows, err = estimator.EstimateRows(ctx, n.DB, t)
		} else {
			err = dialect.ScanOne(ctx, n.DB, []any{&rows}, "SELECT count(*) FROM "+store.QuoteName(t.Database, t.Name))
		}
		if err != nil {
			n.Log.Debug("the rows of a snapshot cannot be counted", "table", n.Name(t), "error", err)
			return 0
		}
		total += rows
	}
	return total
}
