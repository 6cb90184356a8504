package snap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
)

// A snap drops what the master has, by number. If its database is copied to a second machine, both give the same
// numbers, and either would drop batches that only the other has sent. So the master remembers what the
// last batch of each queue was, and a snap that holds another under that number does not go on.

// sameQueue makes sure that what the master counts as this snap's is what waits here under the same numbers.
func (s *Snap) sameQueue(ctx context.Context, w link.Welcome) error {
	var lowest, highest sql.NullInt64
	if err := dialect.ScanOne(ctx, s.node.DB, []any{&lowest, &highest}, "SELECT MIN(number), MAX(number) FROM "+s.queue.table+" WHERE number <= ?", int64(w.Number)); err != nil {
		return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	if !lowest.Valid {
		return nil // nothing waits that could be taken for another's
	}
	same := uint64(highest.Int64) == w.Number
	if same && len(w.Last) > 0 {
		var payload []byte
		err := dialect.ScanOne(ctx, s.node.DB, []any{&payload}, "SELECT payload FROM "+s.queue.table+" WHERE number = ?", int64(w.Number))
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it has just been dropped
		}
		if err != nil {
			return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
		}
		same = string(batch.Sum(payload)) == string(w.Last)
	}
	if same {
		return nil
	}
	if s.cfg.Rejoin {
		return s.renumber(ctx, w.Number)
	}
	return fmt.Errorf("%w: batch %d of snap %s waits here, but the master has another under that number: this database is a copy of another machine's, or an older state of it. "+
		"Set Rejoin once to have what waits sent as new batches; then give each machine a database and an id of its own",
		fault.ErrForked, lowest.Int64, s.node.ID)
}

// renumber takes the numbers of all batches that wait, which get new ones above those that the master has.
func (s *Snap) renumber(ctx context.Context, above uint64) error {
	s.queue.stopNumbering()
	err := s.tx(ctx, func(q dialect.Querier) error {
		if _, err := q.ExecContext(ctx, "UPDATE "+s.queue.table+" SET number = NULL"); err != nil {
			return fmt.Errorf("node %s: renumber batches: %w", s.node.ID, err)
		}
		return s.node.SetValue(ctx, q, store.MetaNumber, above)
	})
	if err != nil {
		return err
	}
	s.node.Log.Warn("what waits is sent as new batches: the master has others under their numbers", "above", above)
	s.queue.numbered(above, false)
	return nil
}
