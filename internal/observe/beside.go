package observe

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/journal"
)

// Beside is the place of a process that has no node: its databases are replicated by somebody else, and a checker tells how each is.
type Beside struct {
	outside   []*outsider // the master first
	heartbeat time.Duration
	maxLag    time.Duration
}

// NewBeside returns the place of a process beside databases, which are added. maxLag is the lag beyond which a replica is lagging.
func NewBeside(heartbeat, maxLag time.Duration) *Beside {
	return &Beside{heartbeat: heartbeat, maxLag: maxLag}
}

// Add adds a database that the checker tells of.
func (p *Beside) Add(id string, db *sql.DB, checker health.Checker, master bool) {
	p.outside = append(p.outside, newOutsider(id, db, checker, master))
}

// Statuses implements [Place].
func (p *Beside) Statuses() (list []health.Status) {
	for _, o := range p.outside {
		list = append(list, o.snapshot())
	}
	return list
}

// Members implements [Place].
func (p *Beside) Members() (list []*route.Member) {
	for _, o := range p.outside {
		list = append(list, &o.member)
	}
	return list
}

// Readable implements [Place].
func (p *Beside) Readable() bool { return false }

// Alone implements [Place].
func (p *Beside) Alone() bool { return false }

// Close implements [Place]: the databases are the caller's.
func (p *Beside) Close() error { return nil }

// outsider is a member of a Cluster made by Wrap.
type outsider struct {
	member  route.Member
	lagNow  atomic.Int64
	checker health.Checker
	mu      sync.Mutex
	state   health.Status
}

func newOutsider(id string, db *sql.DB, checker health.Checker, master bool) *outsider {
	o := &outsider{checker: checker}
	o.member.ID, o.member.DB, o.member.Master = id, db, master
	o.lagNow.Store(int64(health.LagUnknown))
	o.member.Lag = func() time.Duration { return time.Duration(o.lagNow.Load()) }
	o.member.LSN = func() journal.LSN { return 0 }
	o.member.Status = o.snapshot
	role := health.Replica
	if master {
		role = health.Master
	}
	o.state = health.Status{ID: id, Role: role, State: health.Joining, Reason: "not checked yet", Since: time.Now(), Lag: health.LagUnknown}
	return o
}

func (o *outsider) snapshot() health.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// Check implements [Place]: it asks the checker about every member, all at once, within a heartbeat.
func (p *Beside) Check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.heartbeat)
	defer cancel()
	var all sync.WaitGroup
	for _, o := range p.outside {
		all.Go(func() {
			r, err := o.checker.Check(ctx, o.member.ID, o.member.DB)
			o.judge(r, err, p.maxLag)
		})
	}
	all.Wait()
}

// judge sets the state from what the checker has found. An unknown lag counts as unhealthy.
func (o *outsider) judge(r health.Report, err error, maxLag time.Duration) {
	state, reason, lag := r.Judge(err, maxLag)
	r.Lag = lag
	o.lagNow.Store(int64(r.Lag))
	if err == nil {
		o.member.Down.Store(0)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.State != state {
		o.state.Since = time.Now()
	}
	o.state.State, o.state.Reason, o.state.Lag = state, reason, r.Lag
}
