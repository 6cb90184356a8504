// Package route decides which node answers a statement's read. Texts reads a text and gives the Statement that it is; a Router chooses the node among the
// Members of the present View, as fresh as the context's Rule asks for, and tries another where the first fails; its Session remembers
// what this process has written and must see again. Who the members are, and how they do, is told by whoever puts a View together.
//
// A read takes no lock and allocates nothing beside what the node's driver does.
package route

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

// Router chooses the node that answers each read. It is safe for concurrent use.
type Router struct {
	config Config
	texts  *Texts

	Session Session              // what reads must see
	View    atomic.Pointer[View] // never nil
}

// Config is what a Router goes by. All of it must be set.
type Config struct {
	Consistency health.Consistency        // of reads that ask for none by their context
	Floor       int                       // how many replicas are to answer, lagging ones if too few are active
	PreferLocal bool                      // a node on this machine answers whenever it qualifies
	Picker      health.Picker             // chooses among those that qualify
	Fault       func(error) dialect.Fault // what an error of a node's database means
	Log         hclog.Logger
	Refresh     func() // asks for a new view; it does not block
}

// New returns a Router that sees no nodes yet.
func New(config Config, texts *Texts) *Router {
	r := &Router{config: config, texts: texts}
	r.View.Store(&View{})
	return r
}

// Choose returns the node that a read goes to, or ErrStale if none is fresh enough, or an error for a node that is not known. tried is
// left out; it may be nil.
func (r *Router) Choose(rule Rule, tried *Member) (*Member, error) {
	v := r.View.Load()
	if rule.Node != "" {
		m := v.All[rule.Node]
		if m == nil {
			return nil, fmt.Errorf("node %q cannot be queried from here; known are %s", rule.Node, strings.Join(v.IDs(), ", "))
		}
		return m, nil
	}
	consistency := r.config.Consistency
	if rule.Set {
		consistency = rule.Consistency
	}
	fallback := func() (*Member, error) {
		if consistency == health.Eventual && rule.MaxAge == 0 && v.Alone != nil {
			return v.Alone, nil
		}
		if v.Master == nil || v.Master == tried {
			return nil, fmt.Errorf("%w: no node qualifies for a read of consistency %s", fault.ErrStale, consistency)
		}
		return v.Master, nil
	}
	if consistency == health.Strong {
		return fallback()
	}
	var need journal.LSN
	var at int64
	if consistency == health.Session {
		var known bool
		if need, known = r.Session.need(); !known {
			return fallback()
		}
		at = r.Session.at.Load()
	}
	list := candidates.Get().(*pickList)
	defer list.free()
	list.gather(v.Active, need, at, rule.MaxAge, tried)
	if short := r.config.Floor - len(list.members); short > 0 && rule.MaxAge == 0 {
		list.gather(v.Floor[:min(short, len(v.Floor))], need, at, 0, tried)
	}
	if len(list.members) == 0 {
		return fallback()
	}
	if r.config.PreferLocal {
		for _, m := range list.members {
			if m.Local {
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
	members []*Member
	seen    []health.Candidate
}

func (l *pickList) free() {
	clear(l.members)
	l.members, l.seen = l.members[:0], l.seen[:0]
	candidates.Put(l)
}

// gather adds those of members that are fresh enough: that have the entry need, or without LSNs,
// what was written at the moment at.
func (l *pickList) gather(members []*Member, need journal.LSN, at int64, maxAge time.Duration, tried *Member) {
	for _, m := range members {
		if m == tried || m.Hold.Load() || need > 0 && m.LSN() < need || at != 0 && !m.shows(at) {
			continue
		}
		if maxAge > 0 {
			if lag := m.Lag(); lag == health.LagUnknown || lag > maxAge {
				continue
			}
		}
		if until := m.Down.Load(); until != 0 && time.Now().UnixNano() < until {
			continue
		}
		l.members = append(l.members, m)
		l.seen = append(l.seen, health.Candidate{ID: m.ID, Local: m.Local, InUse: m.DB.Stats().InUse, Latency: time.Duration(m.latency.Load())})
	}
}

// downFor is how long a node gets no reads after one has failed there, unless it recovers visibly before.
const downFor = 2 * time.Second

// Read sends a query to a node, and once to another if that one fails: to the master if it may have what the node has not.
func (r *Router) Read(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	rule := RuleOf(ctx)
	m, chosen := chosenOf(ctx)
	if !chosen {
		var err error
		if m, err = r.Choose(rule, nil); err != nil {
			return nil, err
		}
	}
	rows, err := r.readOn(ctx, m, query, args)
	if err == nil || rule.Node != "" || ctx.Err() != nil {
		return rows, err
	}
	if master := r.Knows(m, err); master != nil {
		rows, masterErr := r.readOn(ctx, master, query, args)
		if masterErr != nil && (r.NodeFailed(masterErr) || errors.Is(masterErr, fault.ErrNotAllowed)) {
			return nil, errors.Join(err, masterErr)
		}
		return rows, masterErr
	}
	if !r.NodeFailed(err) {
		return nil, err
	}
	r.Failed(m, err)
	other, chooseErr := r.Choose(rule, m)
	if chooseErr != nil {
		return nil, errors.Join(err, chooseErr)
	}
	return r.readOn(ctx, other, query, args)
}

// Knows returns the master, if it may have what a read that failed on the node m did not find there; nil otherwise.
// Where somebody else replicates, every node has all tables.
func (r *Router) Knows(m *Member, err error) *Member {
	if err == nil || m.Master || r.texts.node == nil || !r.config.Fault(err).Is(dialect.NoTable) {
		return nil
	}
	return r.View.Load().Master
}

// readOn runs the query on the node and keeps its moving average of latency (1/8 of each new value).
func (r *Router) readOn(ctx context.Context, m *Member, query string, args []any) (*sql.Rows, error) {
	m.Reads.Add(1)
	Answered(ctx, m.ID)
	start := time.Now()
	rows, err := m.DB.QueryContext(ctx, query, args...)
	if err == nil {
		took, avg := int64(time.Since(start)), m.latency.Load()
		if avg == 0 {
			avg = took
		}
		m.latency.Store(avg + (took-avg)/8)
	}
	return rows, err
}

// Failed takes a node out of routing at once; its heartbeats bring it back.
func (r *Router) Failed(m *Member, err error) {
	if m.Master || m.Local {
		return
	}
	m.Down.Store(time.Now().Add(downFor).UnixNano())
	r.config.Log.Warn("a read has failed; the node gets none for a while", "id", m.ID, "error", err)
	r.config.Refresh()
}

// NodeFailed reports whether err means that the node does not work, rather than that the statement is wrong.
func (r *Router) NodeFailed(err error) bool {
	f := r.config.Fault(err)
	if f.Is(dialect.Answer) {
		return false
	}
	return store.Down(f, err) || errors.Is(err, remote.ErrUnknownOutcome) || errors.Is(err, remote.ErrServerClosed) ||
		errors.Is(err, fault.ErrNoMaster) || errors.Is(err, fault.ErrStale) || errors.Is(err, fault.ErrClosed)
}
