// Package deadline gives a connection that waits on a condition variable the deadlines of a net.Conn.
package deadline

import (
	"sync"
	"time"
)

// Deadline turns a moment into a flag and a broadcast. The mutex of the condition variable that
// Set is given guards it. The zero Deadline is none.
type Deadline struct {
	passed bool
	timer  *time.Timer
	sets   int // tells a timer that fires late that it is no longer meant
}

// Passed reports whether the moment is over. The caller holds the mutex.
func (d *Deadline) Passed() bool { return d.passed }

// Set replaces the deadline and wakes who waits; the zero time means none. The caller holds c.L.
func (d *Deadline) Set(c *sync.Cond, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.sets++
	d.passed = !t.IsZero() && !t.After(time.Now())
	if !t.IsZero() && !d.passed {
		set := d.sets
		d.timer = time.AfterFunc(time.Until(t), func() {
			c.L.Lock()
			defer c.L.Unlock()
			if d.sets == set {
				d.passed = true
				c.Broadcast()
			}
		})
	}
	c.Broadcast()
}
