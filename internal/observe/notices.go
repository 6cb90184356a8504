package observe

import (
	"context"
	"sync"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/watch"
)

// maxNotices is how many changes of state wait for the program at most.
const maxNotices = 1024

// notices hands changes of state to Options.OnHealth from a goroutine of its own, so that reads are routed by what is
// known however long the program takes. When too many wait, the oldest are left out.
type notices struct {
	mu   sync.Mutex
	list []health.Status
	more chan struct{} // capacity 1: the list is not empty
}

func newNotices() *notices { return &notices{more: make(chan struct{}, 1)} }

// add never blocks.
func (n *notices) add(s health.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.list = append(n.list, s); len(n.list) > maxNotices {
		n.list = append(n.list[:0], n.list[1:]...)
	}
	watch.Signal(n.more)
}

// next takes the oldest.
func (n *notices) next() (s health.Status, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) == 0 {
		return s, false
	}
	s, n.list = n.list[0], n.list[1:]
	return s, true
}

// run calls f with one after the other until ctx ends. What waits then is told still.
func (n *notices) run(ctx context.Context, f func(health.Status)) {
	for open := true; open; {
		select {
		case <-n.more:
		case <-ctx.Done():
			open = false
		}
		for s, ok := n.next(); ok; s, ok = n.next() {
			f(s)
		}
	}
}
