// Package observe keeps what a process knows of the nodes of its cluster: it puts together the view that reads are routed by, publishes
// the statuses of all nodes, and tells the program of each that changes. Where a node stands, as the master, behind a master or
// beside databases that somebody else replicates, is a [Place]; the three are here too. It owns the connections to other nodes.
package observe

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/watch"
)

// Place is where a process stands in its cluster.
type Place interface {
	// Statuses lists all nodes as they are known here, this one first.
	Statuses() []health.Status
	// Members lists the others that can be queried from here.
	Members() []*route.Member
	// Readable reports whether this node, being a snap, can be read.
	Readable() bool
	// Alone reports whether this node, being inactive, has all of a state to be read, and has lost its master.
	Alone() bool
	// Check finds out how the others are, where nobody else does; it is called once per heartbeat.
	Check(ctx context.Context)
	// Close closes the connections to others.
	Close() error
}

// Config is what an observer is told.
type Config struct {
	Heartbeat time.Duration
	Log       hclog.Logger
	Router    *route.Router // gets each new view
	// OnHealth, if set, is called with each change of a node's state, in order and one at a time.
	OnHealth func(health.Status)
}

// Observer looks at the nodes, when it is asked to and once per heartbeat.
type Observer struct {
	cfg   Config
	place Place
	self  *route.Member // nil where no node belongs to this process

	nudge   chan struct{} // capacity 1: asks for a new view
	nodes   watch.Value[[]health.Status]
	notices *notices

	mu   sync.Mutex
	told map[string]health.State // states last told
}

// New returns an observer that sees nothing before it has a place.
func New(cfg Config) *Observer {
	return &Observer{cfg: cfg, nudge: make(chan struct{}, 1), notices: newNotices(), told: make(map[string]health.State)}
}

// At sets where the process stands, and the member that is its own, nil if there is none. It comes before Run.
func (o *Observer) At(place Place, self *route.Member) { o.place, o.self = place, self }

// Refresh asks for a new view. It never blocks.
func (o *Observer) Refresh() { watch.Signal(o.nudge) }

// Run looks at the nodes once before it returns, and then in the goroutines of tasks until ctx ends.
func (o *Observer) Run(ctx context.Context, tasks *sync.WaitGroup) {
	if o.cfg.OnHealth != nil {
		tasks.Go(func() { o.notices.run(ctx, o.cfg.OnHealth) })
	}
	o.Rebuild()
	tasks.Go(func() {
		tick := time.NewTicker(o.cfg.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-o.nudge:
			case <-tick.C:
				o.place.Check(ctx)
			}
			o.Rebuild()
		}
	})
}

// Close closes the connections to other nodes.
func (o *Observer) Close() error {
	if o.place == nil {
		return nil
	}
	return o.place.Close()
}

// Watch returns the statuses that the present view was made of, and a channel that is closed when there is another.
func (o *Observer) Watch() ([]health.Status, <-chan struct{}) { return o.nodes.Watch() }

// Rebuild makes a new view from what is known of the nodes now, and tells of changes.
func (o *Observer) Rebuild() {
	v := &route.View{All: make(map[string]*route.Member)}
	statuses := o.Statuses()
	for _, m := range o.members() {
		v.All[m.ID] = m
		if m.Master {
			v.Master = m
			continue
		}
		st := m.Status()
		switch {
		case st.Role == health.Snap && !m.Local:
		case st.Role == health.Snap:
			if o.place.Readable() {
				v.Active = append(v.Active, m) // offline too
			}
		case st.State == health.Active:
			v.Active = append(v.Active, m)
		case st.State == health.Lagging:
			v.Floor = append(v.Floor, m)
		case st.State == health.Inactive && m.Local && o.place.Alone(): // while linked, it is its checker that warns of it
			v.Alone = m
		}
	}
	o.cfg.Router.View.Store(v)
	o.tell(statuses)
}

// members lists the nodes that can be queried from here, this one first.
func (o *Observer) members() []*route.Member {
	others := o.place.Members()
	if o.self == nil {
		return others
	}
	return append([]*route.Member{o.self}, others...)
}

// Statuses lists all nodes as this process sees them now.
func (o *Observer) Statuses() []health.Status {
	list := o.place.Statuses()
	known := o.cfg.Router.View.Load().All
	for i := range list {
		if m := known[list[i].ID]; m != nil && (!m.Master || m.Local) {
			list[i].Reads, list[i].Maintenance = m.Reads.Load(), m.Hold.Load()
		}
	}
	return list
}

// tell publishes the statuses and reports changes of state.
func (o *Observer) tell(list []health.Status) {
	o.nodes.Update(func([]health.Status) []health.Status { return list })
	_, hearsay := o.place.(*Behind)
	for _, s := range list {
		o.mu.Lock()
		was, known := o.told[s.ID]
		o.told[s.ID] = s.State
		o.mu.Unlock()
		if known && was == s.State {
			continue
		}
		level := hclog.Info
		if hearsay && !s.Local {
			level = hclog.Debug // the master logs it itself
		}
		args := []any{"id", s.ID, "state", s.State, "reason", s.Why(), "epoch", s.Epoch, "lsn", s.LSN}
		if known {
			args = append(args, "was", was)
		}
		o.cfg.Log.Log(level, "node state", args...)
		if o.cfg.OnHealth != nil {
			o.notices.add(s)
		}
	}
}
