// Package watch is how goroutines of a node tell each other that something has changed: a value that can be waited on, a
// bell that never blocks whoever rings it, and a wait that heeds a context.
package watch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Value is a value that can be waited on. Readers load it without a lock, as one immutable whole. The zero Value holds T's zero value.
type Value[T any] struct {
	mu  sync.Mutex // makes writers take turns
	cur atomic.Pointer[watched[T]]
}

type watched[T any] struct {
	v       T
	changed chan struct{} // closed when another value has taken its place
}

func newWatched[T any](v T) *watched[T] {
	return &watched[T]{v: v, changed: make(chan struct{})}
}

// Load returns the value.
func (w *Value[T]) Load() T {
	v, _ := w.Watch()
	return v
}

// Watch returns the value, and a channel that is closed when another has taken its place.
func (w *Value[T]) Watch() (T, <-chan struct{}) {
	c := w.cur.Load()
	if c == nil {
		w.mu.Lock()
		if c = w.cur.Load(); c == nil {
			var zero T
			c = newWatched(zero)
			w.cur.Store(c)
		}
		w.mu.Unlock()
	}
	return c.v, c.changed
}

// Update puts what f makes of the value in its place, and wakes all who watch. Updates take turns; f must not update the same Value.
func (w *Value[T]) Update(f func(T) T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.cur.Load()
	var v T
	if old != nil {
		v = old.v
	}
	w.cur.Store(newWatched(f(v)))
	if old != nil {
		close(old.changed)
	}
}

// Signal rings a bell, a channel with room for one. It never blocks: who has not heard the last ring hears this one with it.
func Signal(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // the other side has a signal waiting already
	}
}

// Raise makes v at least to.
func Raise(v *atomic.Uint64, to uint64) {
	for {
		have := v.Load()
		if to <= have || v.CompareAndSwap(have, to) {
			return
		}
	}
}

// Sleep waits for d. It returns the context's error if that ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
