package snap

import (
	"context"
	"math"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
)

// make stores a batch of what q's transaction has changed; none if nothing has. What has been committed by clients
// that bypass ddb cannot be refused any more: what is too large for one batch makes several.
func (s *Snap) make(ctx context.Context, q dialect.Querier, committed bool) ([]*madeBatch, error) {
	list := []*batch.Batch{new(batch.Batch)}
	most := math.MaxInt
	if committed {
		most = batch.MaxBytes
	}
	err := batch.Gather(ctx, s.node, q, func(t *dialect.Table, r dialect.Row) error { return s.addPart(&list, t, r, most) })
	if err != nil {
		return nil, err
	}
	return s.store(ctx, q, list)
}

// addPart adds a row to the last of the batches of a transaction, or to another if that would be larger than most.
func (s *Snap) addPart(list *[]*batch.Batch, t *dialect.Table, r dialect.Row, most int) error {
	b := (*list)[len(*list)-1]
	if b.Records() > 0 && b.Outgrows(r, most) {
		s.node.Log.Warn("a local transaction that bypassed ddb is too large for one batch; it is exchanged in parts", "bytes", b.Size())
		b = new(batch.Batch)
		*list = append(*list, b)
	}
	return b.Add(s.node, t, r)
}

// store puts the batches that hold anything into the queue.
// Those before stand in the same transaction.
func (s *Snap) store(ctx context.Context, q dialect.Querier, list []*batch.Batch, before ...*madeBatch) ([]*madeBatch, error) {
	pos, applied := s.f.Stands()
	heard := s.heard
	if !applied.IsZero() {
		heard = applied.UnixNano()
	}
	now := time.Now()
	made := s.queue.draft(list, before, now)
	for _, m := range made {
		m.batch.Clock, m.batch.Wall, m.batch.Seen, m.batch.Heard = m.at, now.UnixNano(), pos.LSN, heard
	}
	if err := s.queue.insert(ctx, q, made); err != nil {
		return nil, err
	}
	return made, nil
}
