// Package live keeps the truth of a node's status line: connected or not and since when, what is
// pending, how far behind, how many conflicts wait.
package live

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ddb-project/ddb"
)

// Cluster is what is watched; *ddb.Cluster has it.
type Cluster interface {
	Watch() ([]ddb.NodeStatus, <-chan struct{})
	Nodes() []ddb.NodeStatus
	Position() ddb.Position
}

// Conflicts counts the conflicts that wait for a person.
type Conflicts func(ctx context.Context) (int, error)

// Status is how the node is at one moment. It is immutable.
type Status struct {
	ID        string
	Online    bool
	Since     time.Time // when Online last changed
	State     ddb.State
	Reason    string
	Pending   int64 // local batches that the master has not accepted yet
	Lag       time.Duration
	Conflicts int  // -1: they cannot be counted
	Synced    bool // the first copy of the database is complete
	Progress  ddb.Progress
}

// Line is the status for people.
func (s Status) Line(now time.Time) string {
	word := "OFFLINE"
	if s.Online {
		word = "online"
	}
	parts := []string{word + " since " + moment(s.Since, now)}
	if s.Online && s.State != ddb.Active {
		parts[0] += " (" + string(s.State) + ")"
	}
	behind := s.Lag
	if !s.Online {
		behind = ddb.LagUnknown // what was known ages from the moment the link is lost
	}
	parts = append(parts, fmt.Sprintf("%d pending", s.Pending), "lag "+lag(behind), conflicts(s.Conflicts))
	return strings.Join(parts, " · ")
}

func moment(t, now time.Time) string {
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("Mon 2 Jan 15:04")
}

// noLag is longer than any lag: so far from now is the zero time of a node that has no entry yet.
const noLag = 50 * 365 * 24 * time.Hour

func lag(d time.Duration) string {
	switch {
	case d < 0 || d > noLag:
		return "unknown"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// mostListed is how many conflicts ddb.Cluster.Conflicts returns at most.
const mostListed = 1000

func conflicts(n int) string {
	switch {
	case n < 0:
		return "conflicts unknown"
	case n == 1:
		return "1 conflict"
	case n >= mostListed:
		return fmt.Sprintf("%d or more conflicts", n)
	}
	return fmt.Sprintf("%d conflicts", n)
}

// Watcher keeps a Status up to date. It is safe for concurrent use.
type Watcher struct {
	// Words puts Status.Reason, which may name a remedy, into the words of the program. It is set before Start.
	Words func(error) string

	cluster Cluster
	count   Conflicts
	cancel  context.CancelFunc
	done    sync.WaitGroup
	poke    chan struct{} // capacity 1: look again now
	first   string        // the reason of a node that has not tried to connect yet
	counted ddb.Position  // the position that Status.Conflicts belongs to; of the one goroutine

	mu       sync.Mutex // guards what follows
	status   Status
	changed  chan struct{}
	progress ddb.Progress
}

// New returns a Watcher that is told of progress but not started: ddb wants to have a place
// for its progress before there is a Cluster.
func New() *Watcher {
	return &Watcher{Words: error.Error, poke: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Start watches the cluster until Stop.
func (w *Watcher) Start(c Cluster, count Conflicts) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cluster, w.count, w.cancel = c, count, cancel
	nodes, changed := c.Watch()
	w.look(ctx, nodes, true)
	w.first = w.status.Reason
	w.done.Go(func() { w.watch(ctx, changed) })
}

// Stop ends the watch and waits for it.
func (w *Watcher) Stop() {
	w.cancel()
	w.done.Wait()
}

// Poke asks for a new look, after something was written. It never blocks.
func (w *Watcher) Poke() {
	select {
	case w.poke <- struct{}{}:
	default: // a look is due already
	}
}

// Progress takes ddb's reports of the first copy. It never blocks.
func (w *Watcher) Progress(p ddb.Progress) {
	w.mu.Lock()
	w.progress = p
	w.mu.Unlock()
	w.Poke()
}

// Load returns the status, and a channel that is closed when it changes.
func (w *Watcher) Load() (Status, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.changed
}

func (w *Watcher) watch(ctx context.Context, changed <-chan struct{}) {
	for {
		count := false
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-w.poke:
			count = true
		}
		var nodes []ddb.NodeStatus
		nodes, changed = w.cluster.Watch()
		w.look(ctx, nodes, count)
	}
}

// look takes the status anew. Conflicts are counted only if an entry has come in since, or if asked for.
func (w *Watcher) look(ctx context.Context, nodes []ddb.NodeStatus, count bool) {
	s, _ := w.Load()
	for _, n := range nodes {
		if n.Local {
			s.take(n, w.Words)
		}
	}
	pos := w.cluster.Position()
	s.Synced = s.Synced || pos.LSN > 0 && s.State != ddb.Syncing || s.State == ddb.Active || s.State == ddb.Lagging
	if count || pos != w.counted {
		s.Conflicts = -1
		if n, err := w.count(ctx); err == nil {
			s.Conflicts = n
		}
		w.counted = pos
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Progress = w.progress
	if s != w.status {
		w.status = s
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// take copies what a node says of itself.
func (s *Status) take(n ddb.NodeStatus, words func(error) string) {
	online := n.State != ddb.Inactive && n.State != ddb.Failed
	if s.ID == "" || online != s.Online {
		s.Since = n.Since
	}
	s.ID, s.Online, s.State, s.Reason, s.Pending, s.Lag = n.ID, online, n.State, words(n.Why()), n.Pending, n.Lag
}

const (
	exchangeEvery = 20 * time.Millisecond // how often Exchanged looks
	dialTime      = 2 * time.Second       // in which a master that can be reached is
)

// Exchanged waits until the master has everything that is pending, at most for the limit and only while the master can be
// reached, and returns how many batches it lacks then.
func (w *Watcher) Exchanged(ctx context.Context, limit time.Duration) int64 {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	look := time.NewTicker(exchangeEvery)
	defer look.Stop()
	for {
		var self ddb.NodeStatus
		for _, n := range w.cluster.Nodes() {
			if n.Local {
				self = n
			}
		}
		away := self.State == ddb.Failed || self.State == ddb.Inactive && (self.Reason != w.first || time.Since(start) > dialTime)
		if self.Pending == 0 || away || ctx.Err() != nil {
			return self.Pending
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// Synced waits until the first copy of the database is complete. It tells say, unless that is nil, why
// the master cannot be reached, whenever that changes.
func (w *Watcher) Synced(ctx context.Context, say func(reason string)) error {
	first, _ := w.Load()
	said := first.Reason // not connected yet, or what has come of the first attempt already: it is told after a while
	late := time.NewTimer(dialTime)
	defer late.Stop()
	for {
		st, changed := w.Load()
		if say != nil && st.State == ddb.Inactive && st.Reason != said {
			said = st.Reason
			say(said)
		}
		switch {
		case st.Synced:
			return nil
		case st.State == ddb.Failed:
			return fmt.Errorf("the node has failed: %s", st.Reason)
		}
		select {
		case <-changed:
		case <-late.C:
			if said == first.Reason {
				said = ""
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for the first copy (%s): %w", st.Reason, ctx.Err())
		}
	}
}
