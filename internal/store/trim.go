package store

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/journal"
)

// TrimJournal forgets entries that are older than age, or behind which more than the given number of bytes lie, up to what
// needed lets go, which is given what the limits would. A journal that does not say how much it holds is left as it is.
func (n *Store) TrimJournal(ctx context.Context, age time.Duration, bytes int64, needed func(journal.LSN) journal.LSN) error {
	sizer, ok := n.Journal.(journal.Sizer)
	if !ok {
		return nil
	}
	through, err := sizer.Before(ctx, time.Now().Add(-age))
	if err != nil {
		return err
	}
	first, last, err := n.Journal.Bounds(ctx)
	if err != nil {
		return err
	}
	through = max(through, first.LSN)
	above := last.LSN
	// As a rule there is room, and each look at the size reads all that lies behind.
	if _, held, _, err := sizer.Size(ctx, through); err != nil {
		return err
	} else if held <= bytes {
		above = through
	}
	// The smallest LSN behind which no more than the limit lies.
	for through < above {
		middle := through + (above-through)/2
		_, held, _, err := sizer.Size(ctx, middle)
		switch {
		case err != nil:
			return err
		case held <= bytes:
			above = middle
		default:
			through = middle + 1
		}
	}
	if through = needed(through); through <= first.LSN {
		return nil
	}
	n.Log.Debug("journal trimmed", "through", through)
	return n.Journal.Trim(ctx, through)
}
