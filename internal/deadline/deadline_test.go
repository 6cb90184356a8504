package deadline

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A deadline wakes who waits, when it is set and when it passes, and one that was replaced does neither.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var d Deadline
		c := sync.NewCond(&mu)
		mu.Lock()
		defer mu.Unlock()
		start := time.Now()
		d.Set(c, start.Add(time.Second))
		d.Set(c, start.Add(time.Hour))
		for !d.Passed() {
			c.Wait()
		}
		if took := time.Since(start); took != time.Hour {
			t.Fatalf("passed after %v", took)
		}
		d.Set(c, time.Time{})
		if d.Passed() {
			t.Fatal("no deadline has passed")
		}
		d.Set(c, start)
		if !d.Passed() {
			t.Fatal("a moment that is over has not passed")
		}
	})
}
