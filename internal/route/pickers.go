package route

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/ddb-project/ddb/health"
)

// RoundRobin returns a Picker that takes turns. It is the default.
func RoundRobin() health.Picker { return new(roundRobin) }

type roundRobin struct{ next atomic.Uint32 }

func (r *roundRobin) Pick(c []health.Candidate) int { return int(r.next.Add(1) % uint32(len(c))) }

// LeastBusy returns a Picker that takes the node with the fewest reads in progress, and
// takes turns among equals.
func LeastBusy() health.Picker { return new(leastBusy) }

type leastBusy struct{ next atomic.Uint32 }

func (l *leastBusy) Pick(c []health.Candidate) int {
	start := int(l.next.Add(1) % uint32(len(c)))
	best := start
	for i := 1; i < len(c); i++ {
		if k := (start + i) % len(c); c[k].InUse < c[best].InUse {
			best = k
		}
	}
	return best
}

// LowLatency returns a Picker that draws two nodes at random and takes the one
// with the lower recent latency (the power of two choices, Mitzenmacher 2001):
// close to the best choice without sending everybody to one node. A node of
// unknown latency is taken at once, so that it becomes known.
func LowLatency() health.Picker { return lowLatency{} }

type lowLatency struct{}

func (lowLatency) Pick(c []health.Candidate) int {
	if len(c) == 1 {
		return 0
	}
	a := rand.IntN(len(c))
	b := rand.IntN(len(c) - 1)
	if b >= a {
		b++
	}
	if c[b].Latency < c[a].Latency {
		return b
	}
	return a
}
