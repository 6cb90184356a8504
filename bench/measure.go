package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func median[T int64 | float64 | time.Duration](v []T) T {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// execer is what *sql.DB and *ddb.Cluster have in common.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// load runs writers that call write again and again for a while, and returns how many calls per
// second there were. The first tenth of the time is not counted.
func load(ctx context.Context, writers int, d time.Duration, write func(ctx context.Context, writer, n int) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := write(ctx, w, n); err != nil {
					cancel(err)
					return
				}
				count.Add(1)
			}
		})
	}
	wait(ctx, d/10)
	first, start := count.Load(), time.Now()
	wait(ctx, d)
	rate := float64(count.Load()-first) / time.Since(start).Seconds()
	stop.Store(true)
	all.Wait()
	return rate, context.Cause(ctx)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// peak measures the memory of this process: both nodes and their embedded databases.
type peak struct {
	idle, most uint64
	stop       chan struct{}
	done       chan struct{}
}

// watchMemory notes the idle memory and looks for the highest until over is called.
func watchMemory() *peak {
	debug.FreeOSMemory()
	p := &peak{idle: memory(), stop: make(chan struct{}), done: make(chan struct{})}
	p.most = p.idle
	go func() {
		defer close(p.done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.most = max(p.most, memory())
			}
		}
	}()
	return p
}

// over returns the mebibytes above idle.
func (p *peak) over() float64 {
	close(p.stop)
	<-p.done
	return float64(p.most-p.idle) / (1 << 20)
}

// memory returns the resident memory that is no file's; elsewhere than on Linux, what Go has from the system.
func memory() uint64 {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		if _, rest, ok := bytes.Cut(b, []byte("RssAnon:")); ok {
			line, _, _ := bytes.Cut(rest, []byte("kB"))
			if kb, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 64); err == nil {
				return kb << 10
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}
