package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/internal/write"
)

// master owns the sequencer, the listener and one sender per follower.
type master struct {
	opts     Options
	node     *store.Store
	access   *atomic.Pointer[access.Rules]
	health   *health.Self
	seq      *sequence.Sequencer
	writer   *write.Group // nil where the database has many writers
	listener net.Listener
	door     *link.Door
	places   chan struct{} // of followers that are let in
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	serveSQL func(ctx context.Context, conn net.Conn, id string, role Role) // answers a follower's SQL; set by the Cluster
	changed  func()                                                         // called when a follower comes, goes or changes; set by the Cluster

	settles  bool      // batches of snaps
	jobs     chan *job // messages with batches, which wait to be settled
	registry registry

	passes write.PassConn // with many writers: what exclusive holds

	own write.Pool

	heard int64 // when the entry was made, by the clock then, with which the journal ended when this node became the master

	mu        sync.Mutex
	followers map[string]*sender // by id; those that have ever connected
	since     time.Time
	latest    atomic.Pointer[[]NodeStatus] // as last listed
	acked     watch.Value[struct{}]        // changes with every acknowledgement
}

// openMaster settles the schema, adopts the database if it is new to ddb and starts to work.
func openMaster(ctx context.Context, n *store.Store, o Options, access *atomic.Pointer[access.Rules], own *health.Self, connect func(*master)) (*master, error) {
	s := sequence.New(n)
	m := &master{opts: o, node: n, access: access, health: own, seq: s, jobs: make(chan *job, maxJobs), passes: write.NewPassConn(), followers: make(map[string]*sender), changed: func() {}, since: time.Now(),
		door: link.NewDoor(n.Log), places: make(chan struct{}, maxFollowers)}
	s.Config = sequence.Config{PollInterval: o.PollInterval, Heartbeat: o.Heartbeat, Followed: m.anyConnected}
	connect(m)
	run, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	if n.SingleWriter() {
		m.writer = write.NewGroup(n, o.BusyTimeout, write.Hooks{Commit: m.beforeCommit, Number: m.keyNumber})
		s.Exclusive = m.writer.With
		m.start(func() { m.writer.Run(run) })
	} else {
		s.Exclusive = m.alone
	}
	if err := m.reign(ctx); err != nil {
		m.stop()
		return nil, err
	}
	if err := m.listen(ctx, run); err != nil {
		m.stop()
		return nil, err
	}
	m.start(func() { s.Run(run) })
	if m.settles = o.acceptsSnaps(); m.settles {
		m.start(func() { m.settle(run) })
		m.start(func() { keys.Watch(run, m.node, func() int64 { return keys.FirstSnap - 1 }, m.seq.SharesKeys) })
	}
	m.start(func() { m.retain(run) })
	n.Log.Info("master is up", "cluster", n.ClusterID, "lsn", s.State.Load().Pos.LSN,
		"listen", o.Listen, "tables", n.Tables.Load().Users())
	return m, nil
}

// start runs f in a goroutine that stop waits for.
func (m *master) start(f func()) { m.tasks.Go(f) }

// stop ends everything the master has started.
func (m *master) stop() error {
	m.cancel()
	var err error
	if m.listener != nil {
		err = m.listener.Close()
	}
	m.mu.Lock()
	for _, f := range m.followers {
		f.close(ErrClosed)
	}
	m.mu.Unlock()
	m.tasks.Wait()
	m.passes.Close(m.node)
	return err
}

// alone is exclusive where the database has many writers.
func (m *master) alone(ctx context.Context, f func(c *sql.Conn) error) error {
	return m.passes.With(ctx, m.node, f)
}

// beforeCommit is the writer's hook: the entry is part of the transaction that it describes (W3).
func (m *master) beforeCommit(ctx context.Context, c *sql.Conn) (func() Position, error) {
	covered := m.seq.Written.Load()
	turn := m.seq.Within(c)
	res, err := turn.CollectTx(ctx)
	if err != nil {
		return nil, err
	}
	return func() Position {
		turn.Publish(res, covered)
		return m.seq.State.Load().Pos
	}, nil
}

// reign makes the database a master's, or finds that it is one.
func (m *master) reign(ctx context.Context) error {
	role, known, err := m.node.Meta(ctx, m.node.DB, store.MetaRole)
	if err != nil {
		return err
	}
	_, last, err := m.node.Journal.Bounds(ctx)
	if err != nil {
		return err
	}
	epoch, _, err := store.Value[uint64](ctx, m.node, m.node.DB, store.MetaEpoch)
	if err != nil {
		return err
	}
	switch {
	case !known:
		epoch = 1
		m.node.ClusterID = store.NewClusterID()
	case Role(role) == Snap:
		return fmt.Errorf("%w: it is a snap's; open it with Role Snap, or Detach it first", ErrWrongRole)
	case Role(role) == Replica:
		for _, key := range []string{store.MetaCursor, store.MetaThrough} {
			if _, unfinished, err := m.node.Meta(ctx, m.node.DB, key); err != nil {
				return err
			} else if unfinished || last.LSN == 0 {
				return fmt.Errorf("%w: it is a replica's whose snapshot is incomplete, so it cannot become the master", ErrWrongRole)
			}
		}
		epoch = last.Epoch + 1
	}
	m.seq.Epoch = epoch
	m.node.Log = m.node.Log.With("epoch", epoch)
	if m.heard, _, err = m.node.EntryTime(ctx, last.LSN); err != nil {
		return err
	}
	m.seq.State.Update(func(st sequence.State) sequence.State { st.Pos, st.At = last, time.Now(); return st })
	return m.seq.Do(ctx, func(turn *sequence.Turn) error { return m.crown(ctx, turn, known, Role(role)) })
}

// crown writes down who reigns, installs the capture and settles the schema.
func (m *master) crown(ctx context.Context, turn *sequence.Turn, known bool, was Role) error {
	c := turn.Conn
	if was == Replica {
		if err := m.makeDeferred(ctx, c); err != nil {
			return err
		}
		m.node.Log.Warn("a replica becomes the master", "lsn", m.seq.State.Load().Pos.LSN)
	}
	old, _, err := m.node.Meta(ctx, c, store.MetaNode)
	if err != nil {
		return err
	}
	cat, err := m.node.LoadTables(ctx, c)
	if err != nil {
		return err
	}
	if err := m.forgetBare(ctx, c, cat); err != nil {
		return err
	}
	if err := m.node.Engine.InstallCapture(ctx, c, cat.Replicated(), dialect.Keys); err != nil {
		return fmt.Errorf("ddb: node %s: install triggers: %w", m.node.ID, err)
	}
	if err := m.loadFollowers(ctx, c); err != nil {
		return err
	}
	st, err := schema.Read(ctx, m.node, c)
	if err != nil {
		return err
	}
	if err := m.node.Engine.InstallCapture(ctx, c, st.Cat.Replicated(), dialect.Keys); err != nil {
		return fmt.Errorf("ddb: node %s: install triggers: %w", m.node.ID, err)
	}
	if err := turn.InstallKeys(ctx, st.Cat.Replicated()); err != nil {
		return err
	}
	if err := turn.Refuse(ctx, nil, st, nil); err != nil {
		return err
	}
	rec, recorded, err := store.Value[schema.Record](ctx, m.node, c, store.MetaSchema)
	if err != nil {
		return err
	}
	var done *sequence.Made
	err = m.node.TxOn(ctx, c, dialect.Pass, func() (err error) {
		if !recorded {
			if err = m.node.SetValue(ctx, c, store.MetaSchema, st.Record(0)); err != nil {
				return err
			}
			if was == Replica {
				if err = m.retire(ctx, c, string(old)); err != nil {
					return err
				}
			}
			// The first entry of a history, so that every position names one; the first of a
			// reign, so that whoever has it follows no older master.
			if done, err = turn.Collect(ctx, &sequence.Extra{First: m.seq.State.Load().Pos.LSN == 0 || was == Replica}); err != nil {
				return err
			}
		}
		return errors.Join(m.node.SetMeta(ctx, c, store.MetaCluster, []byte(m.node.ClusterID)), m.node.SetMeta(ctx, c, store.MetaRole, []byte(Master)),
			m.node.SetMeta(ctx, c, store.MetaNode, []byte(m.node.ID)), m.node.SetValue(ctx, c, store.MetaEpoch, m.seq.Epoch))
	})
	if err != nil {
		return err
	}
	if !recorded {
		turn.Publish(done, 0)
		return nil
	}
	if d := schema.Compare(rec, st, schema.Told{}); len(d.Statements)+len(d.Rebuild) > 0 {
		return turn.Reconcile(ctx)
	}
	return nil
}

// forgetBare takes tables that have lost their capture out of the record, so that they are
// shipped whole, before capturing them again hides the loss.
func (m *master) forgetBare(ctx context.Context, c *sql.Conn, cat *store.Catalogue) error {
	rec, recorded, err := store.Value[schema.Record](ctx, m.node, c, store.MetaSchema)
	if err != nil || !recorded {
		return err
	}
	before := len(rec.Tables)
	for _, t := range cat.Replicated() {
		if t.Bare {
			delete(rec.Tables, m.node.Name(t).Key())
		}
	}
	if len(rec.Tables) == before {
		return nil
	}
	return m.node.SetValue(ctx, c, store.MetaSchema, rec)
}

// makeDeferred does what a replica has put off, now that it takes writes: it raises the counters of keys that others have
// handed out, and creates the triggers that it has kept back. A promotion that was cut off
// may have made some of them already.
func (m *master) makeDeferred(ctx context.Context, c *sql.Conn) error {
	if err := keys.RaiseCounters(ctx, m.node, c); err != nil {
		return err
	}
	objects, err := deferredObjects(ctx, m.node, c)
	if err != nil {
		return err
	}
	for _, o := range objects {
		database := m.node.Physical(o.Database)
		if _, err := c.ExecContext(ctx, "DROP TRIGGER IF EXISTS "+store.QuoteName(database, o.Name)); err != nil {
			return fmt.Errorf("ddb: node %s: replace trigger %s: %w", m.node.ID, o.Name, err)
		}
		s := dialect.Statement{SQL: o.SQL, Database: database}
		if err := m.node.Engine.Run(ctx, c, &s); err != nil {
			return fmt.Errorf("ddb: node %s: create %s %s: %w", m.node.ID, o.Kind, o.Name, err)
		}
	}
	_, err = c.ExecContext(ctx, "DELETE FROM "+m.node.Engine.Own("deferred"))
	return err
}

// deferred lists the objects that a replica keeps for the day it is promoted.
func deferredObjects(ctx context.Context, n *store.Store, q dialect.Querier) ([]dialect.Object, error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, db, name, body FROM "+n.Engine.Own("deferred")+" ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("ddb: node %s: %w", n.ID, err)
	}
	defer rows.Close()
	var list []dialect.Object
	for rows.Next() {
		var o dialect.Object
		if err := rows.Scan(&o.Kind, &o.Database, &o.Name, &o.SQL); err != nil {
			return nil, fmt.Errorf("ddb: node %s: %w", n.ID, err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// listen accepts followers until the master stops.
func (m *master) listen(ctx, run context.Context) error {
	if m.opts.Listen == "" {
		return nil
	}
	l, err := m.opts.Transport.Listen(ctx, m.opts.Listen)
	if err != nil {
		return fmt.Errorf("ddb: node %s: %w", m.node.ID, err)
	}
	m.listener = l
	m.start(func() { m.accept(run) })
	return nil
}

func (m *master) accept(run context.Context) {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			if run.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			m.node.Log.Warn("cannot accept a follower", "error", err)
			if watch.Sleep(run, time.Second) != nil {
				return
			}
			continue
		}
		leave, ok := m.door.Enter(conn.RemoteAddr(), func() { m.start(func() { conn.Close() }) })
		if !ok {
			m.door.Warn(link.Origin(conn.RemoteAddr()), "too many connect at once; one was turned away", "from", conn.RemoteAddr())
			conn.Close()
			continue
		}
		m.start(func() {
			defer leave()
			defer conn.Close()
			stop := link.CloseWith(run, conn)
			defer stop()
			m.serve(run, conn, leave)
		})
	}
}

// serve is one follower's connection from greeting to end. left is called when it has shown who it is.
func (m *master) serve(run context.Context, conn net.Conn, left func()) {
	var f *sender
	var l *connection
	known := false // it has shown who it is
	h, w, err := link.Greet(conn, link.Greeting{Cluster: m.node.ClusterID, Master: m.node.ID, Epoch: m.seq.Epoch},
		func(h link.Hello, proves func(key []byte) bool) (link.Welcome, []byte, error) {
			key, err := m.authenticate(h, proves)
			if err != nil {
				return link.Welcome{}, nil, err
			}
			left()
			select {
			case m.places <- struct{}{}:
				known = true
			default:
				return link.Welcome{}, nil, fmt.Errorf("%w: the master serves %d followers already", ErrBusy, maxFollowers)
			}
			w, err := m.judge(run, h)
			if err != nil {
				return w, nil, err
			}
			f, l, err = m.enlist(h, w, key, conn.RemoteAddr().String())
			return w, key, err
		})
	if known {
		defer func() { <-m.places }()
	}
	switch {
	case err == nil:
	case f != nil:
		f.leave(l, err)
	case known:
		m.turnedAway(h.ID, err)
	}
	if err != nil {
		if run.Err() == nil {
			m.refused(h, known, conn.RemoteAddr(), err)
		}
		return
	}
	session, err := wire.Server(conn, wire.SessionConfig{})
	if err != nil {
		f.leave(l, err)
		return
	}
	m.node.Log.Info("a follower has connected", "id", h.ID, "follower", string(h.Role), "lsn", h.Position.LSN, "snapshot", w.Snapshot)
	err = f.run(run, session, l, h, w)
	f.leave(l, err)
	session.Close()
	if run.Err() == nil {
		m.node.Log.Info("a follower has gone", "id", h.ID, "lsn", f.acked.Load(), "reason", link.GoneReason(err))
	}
}

// refused logs why somebody was not let in. The id of h is empty if it is none.
func (m *master) refused(h link.Hello, known bool, from net.Addr, err error) {
	who := link.Origin(from) + " " + link.RefusalOf(err).Code
	switch {
	case errors.Is(err, link.ErrHungUp): // as health checks do
		m.node.Log.Debug("a connection ended without a word", "from", from)
	case known:
		m.door.Warn("id "+h.ID, "a follower was not let in", "id", h.ID, "from", from, "error", err)
	case h.ID != "":
		m.door.Warn(who, "a follower was not let in", "id", h.ID, "from", from, "error", err)
	default:
		m.door.Warn(who, "a connection was turned away", "from", from, "error", err)
	}
}

// confirmed waits until n replicas have the entry durably.
func (m *master) confirmed(ctx context.Context, lsn LSN, n int) error {
	limit, cancel := context.WithTimeout(ctx, m.opts.WaitTimeout)
	defer cancel()
	for {
		_, changed := m.acked.Watch()
		have := 0
		m.mu.Lock()
		for _, f := range m.followers {
			if f.role == Replica && LSN(f.acked.Load()) >= max(lsn, LSN(f.through.Load())) {
				have++
			}
		}
		m.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-limit.Done():
			return m.notConfirmed(ctx, fmt.Sprintf("entry %d is durable on the master and on %d of %d replicas", lsn, have, n))
		}
	}
}

// notConfirmed is the error of a wait that has ended, be it by Options.WaitTimeout or with the caller's context.
func (m *master) notConfirmed(ctx context.Context, stands string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotConfirmed, stands, ctx.Err())
	}
	return fmt.Errorf("%w: %s after %v", ErrNotConfirmed, stands, m.opts.WaitTimeout)
}

// anyConnected reports whether a follower is connected.
func (m *master) anyConnected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.followers {
		if f.connected() {
			return true
		}
	}
	return false
}

// settleTx is settleSchema for a transaction of the program's own that has run schema
// statements, before its commit; what it returns is called after.
func (m *master) settleTx(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() Position, error) {
	covered := m.seq.Written.Load()
	turn := m.seq.Within(c)
	res, err := turn.SettleSchema(ctx, statements, true)
	if err != nil {
		turn.Unsettle()
		return nil, err
	}
	m.writer.ForgetStatements()
	return func() Position {
		turn.Publish(res, covered)
		return m.seq.State.Load().Pos
	}, nil
}
