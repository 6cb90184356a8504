package fleet

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// Retain trims the journal now and then, and writes down how far followers have come.
func (fl *Fleet) Retain(ctx context.Context) {
	for watch.Sleep(ctx, max(10*fl.cfg.Heartbeat, 5*time.Second)) == nil {
		if err := fl.Trim(ctx); err != nil && ctx.Err() == nil {
			fl.node.Log.Warn("the journal could not be trimmed", "error", err)
		}
	}
}

// Trim forgets entries beyond the limits of age and size, but none that a connected follower needs.
func (fl *Fleet) Trim(ctx context.Context) error {
	return fl.node.TrimJournal(ctx, fl.cfg.JournalMaxAge, fl.cfg.JournalMaxBytes, func(through journal.LSN) journal.LSN {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		for _, f := range fl.followers {
			if f.connected() {
				through = min(through, f.needs())
			}
		}
		return through
	})
}
