package observe

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/journal"
)

// Follower is what a master knows of one that follows it.
type Follower interface {
	comparable
	Status() health.Status
	Lag() time.Duration
	Acked() journal.LSN
	// Hold tells it whether it is in maintenance.
	Hold(hold bool)
	// DialSQL opens a stream on which it answers statements.
	DialSQL(ctx context.Context) (net.Conn, error)
}

// AsMaster is the place of a master.
type AsMaster[F Follower] struct {
	Nodes     func() []health.Status // itself first, and all followers
	Changed   func() uint64          // counts the writes of this process
	Followers func() map[string]F    // by id
	// Open returns the database of a follower, which dial leads to.
	Open func(dial func(ctx context.Context) (net.Conn, error)) *sql.DB

	mu     sync.Mutex
	remote map[string]*route.Member
	served map[string]F // what serves each of remote
}

// Statuses implements [Place].
func (p *AsMaster[F]) Statuses() []health.Status {
	list := p.Nodes()
	list[0].Local, list[0].Writes = true, p.Changed()
	return list
}

// Members implements [Place].
func (p *AsMaster[F]) Members() []*route.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remote == nil {
		p.remote, p.served = make(map[string]*route.Member), make(map[string]F)
	}
	followers := p.Followers()
	for id, r := range p.remote {
		if f, ok := followers[id]; !ok || f != p.served[id] { // it was forgotten; should it come back, another sender serves it
			delete(p.remote, id)
			delete(p.served, id)
			r.DB.Close()
		}
	}
	var list []*route.Member
	for id, f := range followers {
		r := p.remote[id]
		if r == nil {
			r = &route.Member{ID: id, Status: f.Status, Lag: f.Lag, LSN: f.Acked, DB: p.Open(f.DialSQL)}
			p.remote[id], p.served[id] = r, f
		}
		f.Hold(r.Hold.Load())
		list = append(list, r)
	}
	return list
}

// Readable implements [Place].
func (p *AsMaster[F]) Readable() bool { return false }

// Alone implements [Place].
func (p *AsMaster[F]) Alone() bool { return false }

// Check implements [Place]: the followers tell how they are.
func (p *AsMaster[F]) Check(context.Context) {}

// Close implements [Place].
func (p *AsMaster[F]) Close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.remote {
		err = errors.Join(err, m.DB.Close())
	}
	return err
}

// Upstream is what a follower knows of its master and of the others.
type Upstream interface {
	Status() health.Status // its own
	Others() []health.Status
	MasterEnd() journal.LSN
	Readable() bool
	Whole() bool
	Linked() bool
}

// Behind is the place of a follower.
type Behind struct {
	up     Upstream
	master *route.Member
}

// NewBehind returns the place of a follower that reaches its master by db, which the caller closes.
func NewBehind(up Upstream, db *sql.DB) *Behind {
	m := &route.Member{ID: "master", DB: db, Master: true, Lag: func() time.Duration { return 0 }, LSN: up.MasterEnd}
	m.Status = func() health.Status { return health.Status{ID: m.ID, Role: health.Master} }
	return &Behind{up, m}
}

// Statuses implements [Place].
func (p *Behind) Statuses() []health.Status {
	return append([]health.Status{p.up.Status()}, p.up.Others()...)
}

// Members implements [Place].
func (p *Behind) Members() []*route.Member { return []*route.Member{p.master} }

// Readable implements [Place].
func (p *Behind) Readable() bool { return p.up.Readable() }

// Alone implements [Place].
func (p *Behind) Alone() bool { return p.up.Whole() && !p.up.Linked() }

// Check implements [Place]: the master tells how the others are.
func (p *Behind) Check(context.Context) {}

// Close implements [Place].
func (p *Behind) Close() error { return nil }
