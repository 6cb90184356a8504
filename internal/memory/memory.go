// Package memory ends work that makes the process grow, whatever it is that grows: a value that a database
// builds, a row that a driver reads, an answer that is collected.
package memory

import (
	"context"
	"errors"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// ErrGrown is the cause of the end of a context by Watch.
var ErrGrown = errors.New("the process has grown too much meanwhile")

// interval is how often the process is measured. Within it SQLite fills some 10 MiB.
const interval = 5 * time.Millisecond

// Watch returns a context that ends, with ErrGrown as its cause, when the process holds most bytes more than now beside
// Go's memory, or twice that in it, garbage not counted: values pass through it in several copies. The caller calls stop when the work is done; nothing is left behind then.
func Watch(ctx context.Context, most int64) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	start := measure()
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
			now := measure()
			if now.objects-start.live > 2*most && now.live-start.live <= 2*most {
				now = collected()
			}
			if now.beside-start.beside > most || now.live-start.live > 2*most {
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

// size is what the process holds, in bytes.
type size struct {
	live    int64 // Go's objects that the last collection has found to be in use
	objects int64 // these, those that have come since, and garbage
	beside  int64 // what is not Go's, such as SQLite's memory; 0 where the system does not tell
}

func measure() size {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	at := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	s := size{live: at(0), objects: at(1)}
	if all := resident(); all > 0 {
		s.beside = max(all-(at(2)-at(3)), 0)
	}
	return s
}

// collectEvery is the least time between two collections of garbage, however many watch.
const collectEvery = 50 * time.Millisecond

var collecting struct {
	sync.Mutex
	last time.Time
}

// collected is measure after a collection of garbage, unless there has just been one for another: the next look will tell.
func collected() size {
	collecting.Lock()
	defer collecting.Unlock()
	if time.Since(collecting.last) >= collectEvery {
		runtime.GC()
		collecting.last = time.Now()
	}
	return measure()
}
