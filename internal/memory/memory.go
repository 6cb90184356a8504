// Package memory ends work that makes the process grow, whatever it is that grows: a value that a database
// builds, a row that a driver reads, an answer that is collected.
package memory

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"
)

// ErrGrown is the cause of the end of a context by Watch.
var ErrGrown = errors.New("the process has grown too much meanwhile")

// interval is how often the process is measured. Within it SQLite fills some 20 MiB.
const interval = 10 * time.Millisecond

// Watch returns a context that ends when the process holds most bytes more than now, with ErrGrown as its cause. The
// caller calls stop when the work is done; Watch leaves nothing behind then.
func Watch(ctx context.Context, most int64) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	start := used()
	go func() {
		defer close(over)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
			}
			if used()-start > most && swept(start+most) {
				cancel(ErrGrown)
				return
			}
		}
	}()
	return watched, func() {
		cancel(context.Canceled)
		<-over
	}
}

// sweepEvery is the least time between two collections of garbage, however many watch.
const sweepEvery = 50 * time.Millisecond

var sweeping struct {
	sync.Mutex
	last time.Time
}

// swept reports whether the process holds more than most bytes without Go's garbage, which is nobody's fault. Soon
// after another was told it says no: the next look will tell.
func swept(most int64) bool {
	sweeping.Lock()
	defer sweeping.Unlock()
	if time.Since(sweeping.last) < sweepEvery {
		return false
	}
	debug.FreeOSMemory()
	sweeping.last = time.Now()
	return used() > most
}
