package ddb

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fleet"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/observe"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/settle"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// master owns the sequencer, the fleet of followers and, where snaps are let in, the settler.
type master struct {
	opts   Options
	node   *store.Store
	fleet  *fleet.Fleet
	seq    *sequence.Sequencer
	writer *write.Group    // nil where the database has many writers
	run    context.Context // ends with the master
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	settler *settle.Settler // nil where no snap is let in

	passes write.PassConn // with many writers: whose turn a pass is

	own write.Pool // with many writers: the connections that the program's writes go through
}

// tuned is what tests set of settlers.
var tuned settle.Config

// newMaster settles the schema and adopts the database if it is new to ddb. Nobody is let in before begin.
func newMaster(ctx context.Context, n *store.Store, o Options, rules *atomic.Pointer[access.Rules], own *health.Self, serveSQL func(context.Context, net.Conn, string, Role), changed func()) (*master, error) {
	s := sequence.New(n)
	m := &master{opts: o, node: n, seq: s, passes: write.NewPassConn()}
	m.fleet = fleet.New(n, s, rules, own, fleet.Config{Listen: o.Listen, Transport: o.Transport, Heartbeat: o.Heartbeat, MaxLag: o.MaxLag, WaitReplicas: o.WaitReplicas,
		WaitTimeout: o.WaitTimeout, JournalMaxBytes: o.JournalMaxBytes, JournalMaxAge: o.JournalMaxAge, Queue: o.Queue, ServeSQL: serveSQL, Changed: changed})
	s.Config = sequence.Config{PollInterval: o.PollInterval, Heartbeat: o.Heartbeat, Followed: m.fleet.AnyConnected}
	m.run, m.cancel = context.WithCancel(context.Background())
	if n.SingleWriter() {
		m.writer = write.NewGroup(n, o.BusyTimeout, write.Hooks{Commit: s.BeforeCommit, Number: m.keyNumber})
		s.Exclusive = m.writer.With
		m.start(func() { m.writer.Run(m.run) })
	} else {
		s.Exclusive = m.alone
	}
	heard, err := s.Reign(ctx, m.fleet)
	if err != nil {
		m.stop()
		return nil, err
	}
	if o.acceptsSnaps() {
		cfg := tuned
		cfg.Policies, cfg.Heartbeat, cfg.Heard = o.Conflicts, o.Heartbeat, heard
		cfg.MayWrite = func(snap string, t journal.TableName, op access.Ops) bool { return rules.Load().MayWrite(snap, t, op) }
		m.settler = settle.New(n, s, cfg)
		m.fleet.Intake = m.settler
	}
	return m, nil
}

// begin starts to work, for followers too: what serves their statements must be there.
func (m *master) begin(ctx context.Context) error {
	if err := m.fleet.Listen(ctx, m.run); err != nil {
		return err
	}
	m.start(func() { m.seq.Run(m.run) })
	if m.settler != nil {
		m.start(func() { m.settler.Run(m.run) })
		m.start(func() { keys.Watch(m.run, m.node, func() int64 { return keys.FirstSnap - 1 }, m.seq.SharesKeys) })
	}
	m.start(func() { m.fleet.Retain(m.run) })
	m.node.Log.Info("master is up", "cluster", m.node.ClusterID, "lsn", m.seq.State.Load().Pos.LSN,
		"listen", m.opts.Listen, "tables", m.node.Tables.Load().Users())
	return nil
}

// start runs f in a goroutine that stop waits for.
func (m *master) start(f func()) { m.tasks.Go(f) }

// stop ends everything the master has started.
func (m *master) stop() error {
	m.cancel()
	err := m.fleet.Close()
	m.tasks.Wait()
	m.passes.Close(m.node)
	return err
}

// alone is the sequencer's Exclusive where the database has many writers.
func (m *master) alone(ctx context.Context, f func(c *sql.Conn) error) error {
	return m.passes.With(ctx, m.node, f)
}

// settleSchema is called before the commit of a transaction of the program's own that has run schema statements; what it returns, after.
func (m *master) settleSchema(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() Position, error) {
	after, err := m.seq.BeforeSchemaCommit(ctx, c, statements)
	if err == nil {
		m.writer.ForgetStatements()
	}
	return after, err
}

// keyNumber is the writer's hook: whose keys new rows get.
func (m *master) keyNumber() int64 {
	if !m.seq.SharesKeys() {
		return 0
	}
	return keys.FirstSnap - 1
}

// writeConn takes a connection for a user's write on a master with many writers.
func (m *master) writeConn(ctx context.Context) (write.Conn, error) {
	return m.own.Conn(ctx, m.node, m.keyNumber())
}

// openMaster makes the node the master: it serves the program's statements and lets followers in.
func (c *Cluster) openMaster(ctx context.Context) error {
	m, err := newMaster(ctx, c.node, c.opts, c.access, &c.own, c.serveMaster, c.refresh)
	if err != nil {
		return err
	}
	c.m = m
	c.route.Session.Covered = func() (uint64, LSN) {
		st := m.seq.State.Load()
		return st.Covered, st.Pos.LSN
	}
	st := func() NodeStatus { return m.fleet.Nodes()[0] }
	c.nodes.At(&observe.AsMaster[*fleet.Sender]{Nodes: m.fleet.Nodes, Changed: c.gate.Changed, Followers: m.fleet.Members, Open: c.openFollowerDB},
		&route.Member{ID: c.opts.ID, DB: c.node.DB, Local: true, Master: true, Status: st,
			LSN: func() LSN { return m.seq.State.Load().Pos.LSN }, Lag: func() time.Duration { return 0 }})
	c.gate.OnMaster(gate.Master{Sequencer: m.seq, Replicas: m.fleet, Schema: sequence.NewRunner(m.seq, m.writer, m.writeConn), Writer: m.writer, Conn: m.writeConn, Settle: m.settleSchema, Number: m.keyNumber})
	if m.writer != nil {
		m.writer.Hooks.Alone = func() bool {
			return c.opts.WaitReplicas == 0 && !m.seq.SharesKeys() && m.seq.State.Load().Err == nil
		}
	}
	c.nodes.Rebuild() // so that reads of followers find the master
	if err := m.begin(ctx); err != nil {
		return errors.Join(err, m.stop())
	}
	return nil
}

// serveMaster answers a follower's statements with this Cluster, as far as the follower has the right to them.
func (c *Cluster) serveMaster(ctx context.Context, conn net.Conn, id string, role Role) {
	err := remote.Serve(ctx, conn, c.gate.Streams, remote.ServeOptions{
		Guard:      gate.GuardRouted,
		Errors:     c.carrier,
		Check:      func(query string) error { return c.allowNode(id, role, query) },
		CheckBegin: func(readOnly bool) error { return c.allowBegin(id, role, readOnly) },
		Before: func(ctx context.Context, _ remote.Header) (context.Context, error) {
			return WithConsistency(ctx, Strong), nil
		},
		After: func() uint64 {
			if w, ok := c.route.Session.Unsettled(); ok {
				limit, cancel := context.WithTimeout(ctx, c.opts.WaitTimeout)
				defer cancel()
				pos, err := c.m.seq.Covers(limit, w)
				if err != nil {
					// The pass under way may have missed the write; the one after it cannot.
					return uint64(pos.LSN) + 2
				}
				c.route.Session.Sees(uint64(pos.LSN))
			}
			return c.route.Session.Seen()
		},
	})
	c.log.Trace("a follower's SQL stream has ended", "error", err)
}

// openFollowerDB returns the database of a follower, as the master sees it.
func (c *Cluster) openFollowerDB(dial func(ctx context.Context) (net.Conn, error)) *sql.DB {
	return sql.OpenDB(remote.NewConnector(dial, remote.Options{Header: gate.PassGuards, Errors: c.carrier}))
}
