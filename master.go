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
	"github.com/ddb-project/ddb/internal/fleet"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/schema"
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
		m.writer = write.NewGroup(n, o.BusyTimeout, write.Hooks{Commit: m.beforeCommit, Number: m.keyNumber})
		s.Exclusive = m.writer.With
		m.start(func() { m.writer.Run(run) })
	} else {
		s.Exclusive = m.alone
	}
	heard, err := m.reign(ctx)
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

// reign makes the database a master's, or finds that it is one. It returns when the entry was made, by the clock then, with which the journal
// ended before.
func (m *master) reign(ctx context.Context) (heard int64, err error) {
	role, known, err := m.node.Meta(ctx, m.node.DB, store.MetaRole)
	if err != nil {
		return 0, err
	}
	_, last, err := m.node.Journal.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	epoch, _, err := store.Value[uint64](ctx, m.node, m.node.DB, store.MetaEpoch)
	if err != nil {
		return 0, err
	}
	switch {
	case !known:
		epoch = 1
		m.node.ClusterID = store.NewClusterID()
	case Role(role) == Snap:
		return 0, fmt.Errorf("%w: it is a snap's; open it with Role Snap, or Detach it first", ErrWrongRole)
	case Role(role) == Replica:
		for _, key := range []string{store.MetaCursor, store.MetaThrough} {
			if _, unfinished, err := m.node.Meta(ctx, m.node.DB, key); err != nil {
				return 0, err
			} else if unfinished || last.LSN == 0 {
				return 0, fmt.Errorf("%w: it is a replica's whose snapshot is incomplete, so it cannot become the master", ErrWrongRole)
			}
		}
		epoch = last.Epoch + 1
	}
	m.seq.Epoch = epoch
	m.node.Log = m.node.Log.With("epoch", epoch)
	if heard, _, err = m.node.EntryTime(ctx, last.LSN); err != nil {
		return 0, err
	}
	m.seq.State.Update(func(st sequence.State) sequence.State { st.Pos, st.At = last, time.Now(); return st })
	return heard, m.seq.Do(ctx, func(turn *sequence.Turn) error { return m.crown(ctx, turn, known, Role(role)) })
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
	if err := m.fleet.LoadFollowers(ctx, c); err != nil {
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
				if err = m.fleet.Retire(ctx, c, string(old)); err != nil {
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
