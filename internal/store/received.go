package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

// Received returns the number of the last batch that this node has from a snap's queue, 0 if it has none.
func (n *Store) Received(ctx context.Context, q dialect.Querier, queue string) (uint64, error) {
	var number int64
	err := dialect.ScanOne(ctx, q, []any{&number}, "SELECT number FROM "+n.Engine.Own("received")+" WHERE snap = ?", queue)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("node %s: read received batches: %w", n.ID, err)
	}
	return uint64(number), nil
}

// SetReceived stores the numbers of the last batches that this node has from snaps, by their queues.
func (n *Store) SetReceived(ctx context.Context, q dialect.Querier, numbers map[string]uint64) error {
	for queue, number := range numbers {
		if _, err := q.ExecContext(ctx, "REPLACE INTO "+n.Engine.Own("received")+" (snap, number) VALUES (?, ?)", queue, int64(number)); err != nil {
			return fmt.Errorf("node %s: note received batches: %w", n.ID, err)
		}
	}
	return nil
}
