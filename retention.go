package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
)

// retain trims the journal now and then, and writes down how far followers have come.
func (m *master) retain(ctx context.Context) {
	for watch.Sleep(ctx, max(10*m.opts.Heartbeat, 5*time.Second)) == nil {
		if err := m.trim(ctx); err != nil && ctx.Err() == nil {
			m.node.Log.Warn("the journal could not be trimmed", "error", err)
		}
	}
}

// trim forgets entries beyond the limits of age and size, but none that a connected follower needs.
func (m *master) trim(ctx context.Context) error {
	return m.node.TrimJournal(ctx, m.opts.JournalMaxAge, m.opts.JournalMaxBytes, func(through LSN) LSN {
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
