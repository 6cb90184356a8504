package ddb

import (
	"context"
	"database/sql"
	"net"
	"sync"
	"sync/atomic"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fleet"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/settle"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// master owns the sequencer, the listener and one sender per follower.
type master struct {
	opts   Options
	node   *store.Store
	fleet  *fleet.Fleet
	seq    *sequence.Sequencer
	writer *write.Group // nil where the database has many writers
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	settler *settle.Settler // nil where no snap is let in

	passes write.PassConn // with many writers: what exclusive holds

	own write.Pool
}

// tuned is what tests set of settlers.
var tuned settle.Config

// openMaster settles the schema, adopts the database if it is new to ddb and starts to work.
func openMaster(ctx context.Context, n *store.Store, o Options, rules *atomic.Pointer[access.Rules], own *health.Self, serveSQL func(context.Context, net.Conn, string, Role), changed func()) (*master, error) {
	s := sequence.New(n)
	m := &master{opts: o, node: n, seq: s, passes: write.NewPassConn()}
	m.fleet = fleet.New(n, s, rules, own, fleet.Config{Listen: o.Listen, Transport: o.Transport, Heartbeat: o.Heartbeat, MaxLag: o.MaxLag, WaitReplicas: o.WaitReplicas,
		WaitTimeout: o.WaitTimeout, JournalMaxBytes: o.JournalMaxBytes, JournalMaxAge: o.JournalMaxAge, Queue: o.Queue, ServeSQL: serveSQL, Changed: changed})
	s.Config = sequence.Config{PollInterval: o.PollInterval, Heartbeat: o.Heartbeat, Followed: m.fleet.AnyConnected}
	run, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	if n.SingleWriter() {
		m.writer = write.NewGroup(n, o.BusyTimeout, write.Hooks{Commit: s.BeforeCommit, Number: m.keyNumber})
		s.Exclusive = m.writer.With
		m.start(func() { m.writer.Run(run) })
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
	if err := m.fleet.Listen(ctx, run); err != nil {
		m.stop()
		return nil, err
	}
	m.start(func() { s.Run(run) })
	if m.settler != nil {
		m.start(func() { m.settler.Run(run) })
		m.start(func() { keys.Watch(run, m.node, func() int64 { return keys.FirstSnap - 1 }, m.seq.SharesKeys) })
	}
	m.start(func() { m.fleet.Retain(run) })
	n.Log.Info("master is up", "cluster", n.ClusterID, "lsn", s.State.Load().Pos.LSN,
		"listen", o.Listen, "tables", n.Tables.Load().Users())
	return m, nil
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

// alone is exclusive where the database has many writers.
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
