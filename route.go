package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
	"github.com/hashicorp/go-hclog"
)

// router chooses the node that answers each read.
type router struct {
	config  routeConfig
	texts   *texts
	session session
	view    atomic.Pointer[view]
}

// routeConfig is what a router goes by.
type routeConfig struct {
	Consistency health.Consistency        // of reads that ask for none by their context
	Floor       int                       // how many replicas are to answer, lagging ones if too few are active
	PreferLocal bool                      // a node on this machine answers whenever it qualifies
	Picker      health.Picker             // chooses among those that qualify
	Fault       func(error) dialect.Fault // what an error of a node's database means
	Log         hclog.Logger
	Refresh     func() // asks for a new view; it does not block
}

// newRouter returns a router that sees no nodes yet.
func newRouter(config routeConfig, texts *texts) *router {
	r := &router{config: config, texts: texts}
	r.view.Store(&view{})
	return r
}

// choose returns the node that a read goes to. tried is left out; it may be nil.
func (r *router) choose(rule readRule, tried *member) (*member, error) {
	v := r.view.Load()
	if rule.node != "" {
		m := v.all[rule.node]
		if m == nil {
			return nil, fmt.Errorf("ddb: node %q cannot be queried from here; known are %s", rule.node, strings.Join(v.ids(), ", "))
		}
		return m, nil
	}
	consistency := r.config.Consistency
	if rule.set {
		consistency = rule.consistency
	}
	fallback := func() (*member, error) {
		if consistency == health.Eventual && rule.maxAge == 0 && v.alone != nil {
			return v.alone, nil
		}
		if v.master == nil || v.master == tried {
			return nil, fmt.Errorf("%w: no node qualifies for a read of consistency %s", fault.ErrStale, consistency)
		}
		return v.master, nil
	}
	if consistency == health.Strong {
		return fallback()
	}
	var need journal.LSN
	var at int64
	if consistency == health.Session {
		var known bool
		if need, known = r.session.need(); !known {
			return fallback()
		}
		at = r.session.at.Load()
	}
	list := candidates.Get().(*pickList)
	defer list.free()
	list.gather(v.active, need, at, rule.maxAge, tried)
	if short := r.config.Floor - len(list.members); short > 0 && rule.maxAge == 0 {
		list.gather(v.floor[:min(short, len(v.floor))], need, at, 0, tried)
	}
	if len(list.members) == 0 {
		return fallback()
	}
	if r.config.PreferLocal {
		for _, m := range list.members {
			if m.local {
				return m, nil
			}
		}
	}
	i := r.config.Picker.Pick(list.seen)
	if i < 0 || i >= len(list.members) {
		return nil, fmt.Errorf("%w: Picker chose %d of %d candidates", fault.ErrOptions, i, len(list.members))
	}
	return list.members[i], nil
}

// candidates is a pool of slices, so that routing allocates nothing.
var candidates = sync.Pool{New: func() any { return new(pickList) }}

type pickList struct {
	members []*member
	seen    []health.Candidate
}

func (l *pickList) free() {
	clear(l.members)
	l.members, l.seen = l.members[:0], l.seen[:0]
	candidates.Put(l)
}

// gather adds those of members that are fresh enough: that have the entry need, or without LSNs,
// what was written at the moment at.
func (l *pickList) gather(members []*member, need journal.LSN, at int64, maxAge time.Duration, tried *member) {
	for _, m := range members {
		if m == tried || m.hold.Load() || need > 0 && m.lsn() < need || at != 0 && !m.shows(at) {
			continue
		}
		if maxAge > 0 {
			if lag := m.lag(); lag == health.LagUnknown || lag > maxAge {
				continue
			}
		}
		if until := m.down.Load(); until != 0 && time.Now().UnixNano() < until {
			continue
		}
		l.members = append(l.members, m)
		l.seen = append(l.seen, health.Candidate{ID: m.id, Local: m.local, InUse: m.db.Stats().InUse, Latency: time.Duration(m.latency.Load())})
	}
}

// downFor is how long a node gets no reads after one has failed there, unless it recovers visibly before.
const downFor = 2 * time.Second

// read sends a query to a node, and once to another if that one fails.
func (r *router) read(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	rule := ruleOf(ctx)
	m, chosen := chosenOf(ctx)
	if !chosen {
		var err error
		if m, err = r.choose(rule, nil); err != nil {
			return nil, err
		}
	}
	rows, err := r.readOn(ctx, m, query, args)
	if err == nil || rule.node != "" || ctx.Err() != nil {
		return rows, err
	}
	if master := r.knows(m, err); master != nil {
		rows, masterErr := r.readOn(ctx, master, query, args)
		if masterErr != nil && (r.nodeFailed(masterErr) || errors.Is(masterErr, fault.ErrNotAllowed)) {
			return nil, errors.Join(err, masterErr)
		}
		return rows, masterErr
	}
	if !r.nodeFailed(err) {
		return nil, err
	}
	r.failed(m, err)
	other, chooseErr := r.choose(rule, m)
	if chooseErr != nil {
		return nil, errors.Join(err, chooseErr)
	}
	return r.readOn(ctx, other, query, args)
}

// knows returns the master, if it may have what a read that failed on the node m did not find there.
// Where somebody else replicates, every node has all tables.
func (r *router) knows(m *member, err error) *member {
	if err == nil || m.master || r.texts.node == nil || !r.config.Fault(err).Is(dialect.NoTable) {
		return nil
	}
	return r.view.Load().master
}

// readOn runs the query on the node and keeps its moving average of latency (1/8 of each new value).
func (r *router) readOn(ctx context.Context, m *member, query string, args []any) (*sql.Rows, error) {
	m.reads.Add(1)
	answered(ctx, m.id)
	start := time.Now()
	rows, err := m.db.QueryContext(ctx, query, args...)
	if err == nil {
		took, avg := int64(time.Since(start)), m.latency.Load()
		if avg == 0 {
			avg = took
		}
		m.latency.Store(avg + (took-avg)/8)
	}
	return rows, err
}

// failed takes a node out of routing at once; its heartbeats bring it back.
func (r *router) failed(m *member, err error) {
	if m.master || m.local {
		return
	}
	m.down.Store(time.Now().Add(downFor).UnixNano())
	r.config.Log.Warn("a read has failed; the node gets none for a while", "id", m.id, "error", err)
	r.config.Refresh()
}

// nodeFailed tells a node that does not work from a statement that is wrong.
func (r *router) nodeFailed(err error) bool {
	f := r.config.Fault(err)
	if f.Is(dialect.Answer) {
		return false
	}
	return store.Down(f, err) || errors.Is(err, remote.ErrUnknownOutcome) || errors.Is(err, remote.ErrServerClosed) ||
		errors.Is(err, fault.ErrNoMaster) || errors.Is(err, fault.ErrStale) || errors.Is(err, fault.ErrClosed)
}
