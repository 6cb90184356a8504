package settle

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
)

// lastBatch is the last batch that a master has settled of a queue.
type lastBatch struct {
	Number uint64 `cbor:"1,keyasint"`
	Sum    []byte `cbor:"2,keyasint"`
}

// metaLast names the meta row of a queue's last batch.
func metaLast(queue string) string {
	h := sha256.Sum256([]byte(queue))
	return "last:" + hex.EncodeToString(h[:16])
}

// setLast stores the last batch of each queue that the list has batches of, in the order of their numbers.
func (s *Settler) setLast(ctx context.Context, c *sql.Conn, list []*arrived) error {
	last := make(map[string]*arrived)
	for _, a := range list {
		last[a.job.from.conn.Queue()] = a
	}
	if len(last) == 0 {
		return nil
	}
	var args []any
	for queue, a := range last {
		v, err := wire.Marshal(lastBatch{a.number, a.sum})
		if err != nil {
			return err
		}
		args = append(args, metaLast(queue), v)
	}
	_, err := c.ExecContext(ctx, "REPLACE INTO "+s.node.Engine.Own("meta")+" (k, v) VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(last)-1), args...)
	if err != nil {
		return fmt.Errorf("node %s: note the last batches: %w", s.node.ID, err)
	}
	return nil
}

// last returns the sum of the batch of that number, nil if this node did not settle it, or has settled others since.
func (s *Settler) last(ctx context.Context, q dialect.Querier, queue string, number uint64) ([]byte, error) {
	b, _, err := store.Value[lastBatch](ctx, s.node, q, metaLast(queue))
	if err != nil || b.Number != number {
		return nil, err
	}
	return b.Sum, nil
}
