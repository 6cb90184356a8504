package snap

import (
	"context"
	"sync"
	"time"
)

// turns lets local writes overlap each other, but not the applier. A write that comes while the applier
// waits lets it go first for a moment, and only for a moment: the
// writer may hold a transaction open that the applier is waiting for.
type turns struct {
	mu      sync.Mutex
	changed chan struct{} // closed when a turn ends
	writers int
	applier bool
	waiting bool
}

// patience is how long a local write lets a waiting applier go first.
const patience = 50 * time.Millisecond

// wait returns a channel that is closed when something changes; the caller holds mu.
func (t *turns) wait() <-chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

func (t *turns) tell() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// write waits for the turn of a local write.
func (t *turns) write(ctx context.Context) (done func(), err error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	polite := true
	for {
		t.mu.Lock()
		if !t.applier && !(t.waiting && polite && t.writers > 0) {
			t.writers++
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				t.writers--
				t.tell()
				t.mu.Unlock()
			}, nil
		}
		changed := t.wait()
		t.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			polite = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// alone waits until no local write is under way.
func (t *turns) alone(ctx context.Context) (done func(), err error) {
	for {
		t.mu.Lock()
		if !t.applier && t.writers == 0 {
			t.applier, t.waiting = true, false
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				t.applier = false
				t.tell()
				t.mu.Unlock()
			}, nil
		}
		t.waiting = true
		changed := t.wait()
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.mu.Lock()
			t.waiting = false
			t.tell()
			t.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}
