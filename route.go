package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
)

// member is a node that reads can be sent to, as this Cluster sees it.
type member struct {
	id      string
	db      *sql.DB
	local   bool
	master  bool
	sender  *sender              // of a follower, on the master
	lsn     func() LSN           // what it has durably
	lag     func() time.Duration // LagUnknown if it cannot be told
	status  func() NodeStatus
	reads   atomic.Uint64
	latency atomic.Int64 // moving average of reads, nanoseconds
	down    atomic.Int64 // unix nanoseconds until which a failed read keeps it out
	hold    atomic.Bool  // in maintenance
}

// view is what routing looks at: loaded once per read, without a lock, and never changed.
type view struct {
	master *member   // nil where reads cannot reach the master
	active []*member // replicas that qualify by their state
	floor  []*member // replicas that lag, kept for when too few are active
	all    map[string]*member
	alone  *member // this replica, while it has lost its master; nil otherwise
}

// session remembers what this Cluster has written, for read-your-writes.
type session struct {
	lsn     atomic.Uint64 // reads must see this entry
	write   atomic.Uint64 // and this write, not yet known to be in an entry
	settled atomic.Uint64 // writes up to this are covered by lsn
	at      atomic.Int64  // last write, unix nanoseconds; for members without LSNs
}

func (s *session) wrote(n uint64)     { watch.Raise(&s.write, n) }
func (s *session) sees(lsn uint64)    { watch.Raise(&s.lsn, lsn) }
func (s *session) wroteAt(c *Cluster) { s.at.Store(time.Now().UnixNano()) }

// need returns the LSN that a node must have to show everything this Cluster has
// written; false if some of it is in no entry yet, so that only the master shows it.
func (c *Cluster) need() (LSN, bool) {
	s := &c.session
	w := s.write.Load()
	if w > s.settled.Load() {
		st := c.m.seq.state.Load()
		if st.covered < w {
			return 0, false
		}
		watch.Raise(&s.lsn, uint64(st.pos.LSN))
		watch.Raise(&s.settled, w)
	}
	return LSN(s.lsn.Load()), true
}

// classified caches the kinds of statements by their text: programs run few texts often.
type classified struct {
	seed  maphash.Seed
	own   string // ddb's own database on a server
	slots [1024]atomic.Pointer[classifiedText]
	long  atomic.Pointer[classifiedText] // the last text longer than classifiedMax: a statement asks several times
}

type classifiedText struct {
	text  string
	kind  sqlclass.Kind
	asks  bool // for the last change of its connection; see refuseForeignLast
	state sqlclass.State
	own   bool // it names ddb's own tables and is no plain read; see refuseOwn

	unread error // why nobody knows what it runs; see refuseHidden

	needed atomic.Pointer[needed] // what it was last found to need; see Cluster.needs
}

const (
	classifiedMax  = 4 << 10 // longer texts are not worth keeping for when they come again
	classifiedLong = 4 << 20 // nor these for the statement's own time
)

// find returns what is kept of the text, nil if that is nothing, and where it is kept.
func (k *classified) find(text string) (*classifiedText, *atomic.Pointer[classifiedText]) {
	slot := &k.long
	if len(text) <= classifiedMax {
		slot = &k.slots[maphash.String(k.seed, text)%uint64(len(k.slots))]
	}
	if e := slot.Load(); e != nil && e.text == text {
		return e, slot
	}
	return nil, slot
}

func (k *classified) of(d sqlclass.Dialect, text string) *classifiedText {
	e, slot := k.find(text)
	if e != nil {
		return e
	}
	e = k.classify(d, text)
	switch {
	case len(text) <= classifiedMax:
		e.text = strings.Clone(text)
		slot.Store(e)
	case len(text) <= classifiedLong:
		e.text = text
		slot.Store(e)
	}
	return e
}

func (k *classified) classify(d sqlclass.Dialect, text string) *classifiedText {
	e := &classifiedText{kind: sqlclass.Classify(d, text), asks: sqlclass.AsksConnection(d, text), state: sqlclass.StateOf(d, text)}
	if e.kind != sqlclass.Read {
		e.unread = sqlclass.Unread(d, text)
	}
	e.own = e.kind != sqlclass.Read && rights.Marked(text) && rights.OwnTables(d, text, rights.Scope{Own: k.own})
	return e
}

// kindOf is the kind alone: of a long text that is only asked for that, as most reads are, no more is worked out.
func (c *Cluster) kindOf(query string) sqlclass.Kind {
	if len(query) <= classifiedMax {
		return c.kinds.of(c.class, query).kind
	}
	if e, _ := c.kinds.find(query); e != nil {
		return e.kind
	}
	return sqlclass.Classify(c.class, query)
}

// isRead reports whether any node may answer: it is plainly a read, and calls no function of the user's, which may write or take a
// lock, by itself or by a view.
func (c *Cluster) isRead(query string) bool {
	if c.kindOf(query) != sqlclass.Read {
		return false
	}
	if c.node == nil {
		return true
	}
	cat := c.node.Tables.Load()
	if cat == nil || len(cat.Disguised)+len(cat.Writers) == 0 {
		return true
	}
	names := sqlclass.Names(c.class, query)
	named := func(name string) bool { return names[strings.ToLower(name)] }
	return !slices.ContainsFunc(cat.Disguised, named) && !slices.ContainsFunc(cat.Writers, named)
}

func (c *Cluster) isSchema(query string) bool { return c.kindOf(query) == sqlclass.Schema }

// candidates is a pool of slices, so that routing allocates nothing.
var candidates = sync.Pool{New: func() any { return new(pickList) }}

type pickList struct {
	members []*member
	seen    []Candidate
}

// choose returns the node that a read goes to. tried is left out; it may be nil.
func (c *Cluster) choose(rule readRule, tried *member) (*member, error) {
	v := c.view.Load()
	if rule.node != "" {
		m := v.all[rule.node]
		if m == nil {
			return nil, fmt.Errorf("ddb: node %q cannot be queried from here; known are %s", rule.node, strings.Join(v.ids(), ", "))
		}
		return m, nil
	}
	consistency := c.opts.Consistency
	if rule.set {
		consistency = rule.consistency
	}
	fallback := func() (*member, error) {
		if consistency == Eventual && rule.maxAge == 0 && v.alone != nil {
			return v.alone, nil
		}
		if v.master == nil || v.master == tried {
			return nil, fmt.Errorf("%w: no node qualifies for a read of consistency %s", ErrStale, consistency)
		}
		return v.master, nil
	}
	if consistency == Strong {
		return fallback()
	}
	var need LSN
	var at int64
	if consistency == Session {
		var known bool
		if need, known = c.need(); !known {
			return fallback()
		}
		at = c.session.at.Load()
	}
	list := candidates.Get().(*pickList)
	defer list.free()
	list.gather(v.active, need, at, rule.maxAge, tried)
	if short := c.opts.Floor - len(list.members); short > 0 && rule.maxAge == 0 {
		list.gather(v.floor[:min(short, len(v.floor))], need, at, 0, tried)
	}
	if len(list.members) == 0 {
		return fallback()
	}
	if *c.opts.PreferLocal {
		for _, m := range list.members {
			if m.local {
				return m, nil
			}
		}
	}
	i := c.opts.Picker.Pick(list.seen)
	if i < 0 || i >= len(list.members) {
		return nil, fmt.Errorf("%w: Picker chose %d of %d candidates", ErrOptions, i, len(list.members))
	}
	return list.members[i], nil
}

func (l *pickList) free() {
	clear(l.members)
	l.members, l.seen = l.members[:0], l.seen[:0]
	candidates.Put(l)
}

// gather adds those of members that are fresh enough: that have the entry need, or without LSNs,
// what was written at the moment at.
func (l *pickList) gather(members []*member, need LSN, at int64, maxAge time.Duration, tried *member) {
	for _, m := range members {
		if m == tried || m.hold.Load() || need > 0 && m.lsn() < need || at != 0 && !m.shows(at) {
			continue
		}
		if maxAge > 0 {
			if lag := m.lag(); lag == LagUnknown || lag > maxAge {
				continue
			}
		}
		if until := m.down.Load(); until != 0 && time.Now().UnixNano() < until {
			continue
		}
		l.members = append(l.members, m)
		l.seen = append(l.seen, Candidate{ID: m.id, Local: m.local, InUse: m.db.Stats().InUse, Latency: time.Duration(m.latency.Load())})
	}
}

func (v *view) ids() []string {
	var ids []string
	for id := range v.all {
		ids = append(ids, id)
	}
	return ids
}

// shows reports whether a member without LSNs is sure to show a write made at that moment.
func (m *member) shows(at int64) bool {
	lag := m.lag()
	return m.lsn() != 0 || lag != LagUnknown && time.Since(time.Unix(0, at)) >= lag+externalGrace
}

// externalGrace is how long after a write the replicas of somebody else's replication are not
// trusted to show it, beyond their reported lag, which is in whole seconds.
const externalGrace = 2 * time.Second

// downFor is how long a node gets no reads after one has failed there, unless it recovers visibly before.
const downFor = 2 * time.Second

// chosenKey carries in a context the node that was chosen for a read already.
type chosenKey struct{}

// read sends a query to a node, and once to another if that one fails.
func (c *Cluster) read(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	rule := ruleOf(ctx)
	m, chosen := ctx.Value(chosenKey{}).(*member)
	if !chosen {
		var err error
		if m, err = c.choose(rule, nil); err != nil {
			return nil, err
		}
	}
	rows, err := c.readOn(ctx, m, query, args)
	if err == nil || rule.node != "" || ctx.Err() != nil {
		return rows, err
	}
	if master := c.knows(m, err); master != nil {
		rows, masterErr := c.readOn(ctx, master, query, args)
		if masterErr != nil && (c.nodeFailed(masterErr) || errors.Is(masterErr, ErrNotAllowed)) {
			return nil, errors.Join(err, masterErr)
		}
		return rows, masterErr
	}
	if !c.nodeFailed(err) {
		return nil, err
	}
	c.failed(m, err)
	other, chooseErr := c.choose(rule, m)
	if chooseErr != nil {
		return nil, errors.Join(err, chooseErr)
	}
	return c.readOn(ctx, other, query, args)
}

// knows returns the master, if it may have what a read that failed on the node m did not find there.
// Where somebody else replicates, every node has all tables.
func (c *Cluster) knows(m *member, err error) *member {
	if err == nil || m.master || c.node == nil || !c.fault(err).Is(dialect.NoTable) {
		return nil
	}
	return c.view.Load().master
}

// readOn runs the query on the node and keeps its moving average of latency (1/8 of each new value).
func (c *Cluster) readOn(ctx context.Context, m *member, query string, args []any) (*sql.Rows, error) {
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
func (c *Cluster) failed(m *member, err error) {
	if m.master || m.local {
		return
	}
	m.down.Store(time.Now().Add(downFor).UnixNano())
	c.log.Warn("a read has failed; the node gets none for a while", "id", m.id, "error", err)
	c.refresh()
}

// nodeFailed tells a node that does not work from a statement that is wrong. f is what the error means to the dialect.
func nodeFailed(f dialect.Fault, err error) bool {
	if f.Is(dialect.Answer) {
		return false
	}
	return store.Down(f, err) || errors.Is(err, remote.ErrUnknownOutcome) || errors.Is(err, remote.ErrServerClosed) ||
		errors.Is(err, ErrNoMaster) || errors.Is(err, ErrStale) || errors.Is(err, ErrClosed)
}

// fault says what an error of a node's database means; 0 in a Cluster made by Wrap on databases that no dialect knows.
func (c *Cluster) fault(err error) dialect.Fault {
	if c.dialect == nil {
		return 0
	}
	return c.dialect.Fault(err)
}

// nodeFailed is [nodeFailed] for an error of this cluster's databases.
func (c *Cluster) nodeFailed(err error) bool { return nodeFailed(c.fault(err), err) }
