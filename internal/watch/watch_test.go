package watch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Who watches a value misses no change: each look is at a later value, and the last one is seen.
func TestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, each = 4, 50
		var v Value[int]
		var tasks sync.WaitGroup
		for range 3 {
			tasks.Go(func() {
				for last := 0; ; {
					n, changed := v.Watch()
					if n < last {
						t.Errorf("the value went from %d to %d", last, n)
					}
					if last = n; n == writers*each {
						return
					}
					<-changed
				}
			})
		}
		for range writers {
			tasks.Go(func() {
				for range each {
					v.Update(func(n int) int { return n + 1 })
				}
			})
		}
		tasks.Wait()
		if n := v.Load(); n != writers*each {
			t.Errorf("%d updates left %d", writers*each, n)
		}
	})
}

// A bell rung more than once before it is heard is heard once.
func TestSignal(t *testing.T) {
	bell := make(chan struct{}, 1)
	for range 3 {
		Signal(bell)
	}
	<-bell
	select {
	case <-bell:
		t.Error("it was heard twice")
	default:
	}
}

// A number is only ever raised.
func TestRaise(t *testing.T) {
	var v atomic.Uint64
	for _, to := range []uint64{3, 1, 7, 7, 5} {
		Raise(&v, to)
	}
	if v.Load() != 7 {
		t.Errorf("it is %d", v.Load())
	}
}

// A sleep takes its time, and ends with its context.
func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
