package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
)

// retain trims the journal now and then, and writes down how far followers have come.
func (m *master) retain(ctx context.Context) {
	for watch.Sleep(ctx, max(10*m.seq.opts.Heartbeat, 5*time.Second)) == nil {
		if err := m.trim(ctx); err != nil && ctx.Err() == nil {
			m.seq.node.Log.Warn("the journal could not be trimmed", "error", err)
		}
	}
}

// trim forgets entries beyond the limits of age and size, but none that a connected follower needs.
func (m *master) trim(ctx context.Context) error {
	return trimJournal(ctx, m.seq.node, m.seq.opts, func(through LSN) LSN {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, f := range m.followers {
			if f.connected() {
				through = min(through, f.needs())
			}
		}
		return through
	})
}

// trimJournal forgets entries beyond the limits of age and size, up to what needed lets go.
func trimJournal(ctx context.Context, n *store.Store, o Options, needed func(LSN) LSN) error {
	sizer, ok := n.Journal.(JournalSizer)
	if !ok {
		return nil
	}
	through, err := sizer.Before(ctx, time.Now().Add(-o.JournalMaxAge))
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
	if _, bytes, _, err := sizer.Size(ctx, through); err != nil {
		return err
	} else if bytes <= o.JournalMaxBytes {
		above = through
	}
	// The smallest LSN behind which no more than the limit lies.
	for through < above {
		middle := through + (above-through)/2
		_, bytes, _, err := sizer.Size(ctx, middle)
		switch {
		case err != nil:
			return err
		case bytes <= o.JournalMaxBytes:
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
