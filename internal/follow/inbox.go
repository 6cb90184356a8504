package follow

import (
	"context"
	"sync"

	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// item is a message that waits for the applier.
type item struct {
	kind    uint8
	payload []byte
}

// inboxBytes is how much may wait that has been received but not applied.
const inboxBytes = 4 << 20

// inbox is a queue with a limit in bytes: what has been received but not applied.
type inbox struct {
	mu    sync.Mutex
	items []item
	bytes int
	came  chan struct{} // capacity 1
	went  chan struct{} // capacity 1
}

func newInbox() *inbox {
	return &inbox{came: make(chan struct{}, 1), went: make(chan struct{}, 1)}
}

func (b *inbox) put(ctx context.Context, it item) error {
	for {
		b.mu.Lock()
		if b.bytes == 0 || b.bytes+len(it.payload) <= inboxBytes {
			b.items = append(b.items, it)
			b.bytes += len(it.payload) + journal.PartOverhead
			b.mu.Unlock()
			watch.Signal(b.came)
			return nil
		}
		b.mu.Unlock()
		select {
		case <-b.went:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait returns when something waits.
func (b *inbox) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		some := len(b.items) > 0
		b.mu.Unlock()
		if some {
			return nil
		}
		select {
		case <-b.came:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take returns everything that waits, at least one item.
func (b *inbox) take(ctx context.Context) ([]item, error) {
	for {
		b.mu.Lock()
		items := b.items
		b.items, b.bytes = nil, 0
		b.mu.Unlock()
		if len(items) > 0 {
			watch.Signal(b.went)
			return items, nil
		}
		select {
		case <-b.came:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
