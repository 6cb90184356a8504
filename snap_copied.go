package ddb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
)

// A snap drops what the master has, by number. If its database is copied to a second machine, both give the same
// numbers, and either would drop batches that only the other has sent. So the master remembers what the
// last batch of each queue was, and a snap that holds another under that number does not go on.

// lastBatch is the last batch that a master has settled of a queue.
type lastBatch struct {
	Number uint64 `cbor:"1,keyasint"`
	Sum    []byte `cbor:"2,keyasint"`
}

// sumBatch returns the sum of a batch as it travels.
func sumBatch(payload []byte) []byte {
	h := sha256.Sum256(payload)
	return h[:16]
}

// metaLast names the meta row of a queue's last batch.
func metaLast(queue string) string {
	h := sha256.Sum256([]byte(queue))
	return "last:" + hex.EncodeToString(h[:16])
}

// setLast stores the last batch of each queue that the list has batches of, in the order of their numbers.
func (m *master) setLast(ctx context.Context, c *sql.Conn, list []*arrived) error {
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
	_, err := c.ExecContext(ctx, "REPLACE INTO "+m.node.Engine.Own("meta")+" (k, v) VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(last)-1), args...)
	if err != nil {
		return fmt.Errorf("ddb: node %s: note the last batches: %w", m.node.ID, err)
	}
	return nil
}

// last returns the sum of the batch of that number, nil if this node did not settle it, or has settled others since.
func (m *master) last(ctx context.Context, q dialect.Querier, queue string, number uint64) ([]byte, error) {
	b, _, err := store.Value[lastBatch](ctx, m.node, q, metaLast(queue))
	if err != nil || b.Number != number {
		return nil, err
	}
	return b.Sum, nil
}

// sameQueue makes sure that what the master counts as this snap's is what waits here under the same numbers.
func (s *snapSide) sameQueue(ctx context.Context, w link.Welcome) error {
	var lowest, highest sql.NullInt64
	if err := dialect.ScanOne(ctx, s.f.node.DB, []any{&lowest, &highest}, "SELECT MIN(number), MAX(number) FROM "+s.batch+" WHERE number <= ?", int64(w.Number)); err != nil {
		return fmt.Errorf("ddb: node %s: read batches: %w", s.f.node.ID, err)
	}
	if !lowest.Valid {
		return nil // nothing waits that could be taken for another's
	}
	same := uint64(highest.Int64) == w.Number
	if same && len(w.Last) > 0 {
		var payload []byte
		err := dialect.ScanOne(ctx, s.f.node.DB, []any{&payload}, "SELECT payload FROM "+s.batch+" WHERE number = ?", int64(w.Number))
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it has just been dropped
		}
		if err != nil {
			return fmt.Errorf("ddb: node %s: read batches: %w", s.f.node.ID, err)
		}
		same = string(sumBatch(payload)) == string(w.Last)
	}
	if same {
		return nil
	}
	if s.f.opts.Rejoin {
		return s.renumber(ctx, w.Number)
	}
	return fmt.Errorf("%w: batch %d of snap %s waits here, but the master has another under that number: this database is a copy of another machine's, or an older state of it. "+
		"Set Rejoin once to have what waits sent as new batches; then give each machine a database and an id of its own",
		ErrForked, lowest.Int64, s.f.node.ID)
}

// renumber takes the numbers of all batches that wait, which get new ones above those that the master has.
func (s *snapSide) renumber(ctx context.Context, above uint64) error {
	s.mu.Lock()
	s.numbering = false
	s.mu.Unlock()
	err := s.tx(ctx, func(q dialect.Querier) error {
		if _, err := q.ExecContext(ctx, "UPDATE "+s.batch+" SET number = NULL"); err != nil {
			return fmt.Errorf("ddb: node %s: renumber batches: %w", s.f.node.ID, err)
		}
		return s.f.node.SetValue(ctx, q, store.MetaNumber, above)
	})
	if err != nil {
		return err
	}
	s.f.node.Log.Warn("what waits is sent as new batches: the master has others under their numbers", "above", above)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = above
	return nil
}
