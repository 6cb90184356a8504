package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/follow"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/observe"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/settle"
	"github.com/ddb-project/ddb/internal/snap"
	"github.com/ddb-project/ddb/internal/store"
)

// Cluster is the handle that a program uses in place of its *sql.DB: writes go to
// the master, reads to a healthy node. It is safe for concurrent use.
type Cluster struct {
	opts    Options
	access  *atomic.Pointer[access.Rules] // in place of opts.Key, opts.OldKey and opts.Nodes, which SetAccess does not change
	log     hclog.Logger
	node    *store.Store // nil in a Cluster made by Wrap
	own     health.Self  // what Options.HealthChecker says
	m       *master
	f       *follow.Follower
	snap    *snap.Snap // nil unless the node is a snap
	dialect dialect.Dialect
	carrier remote.ErrorCarrier // nil where the dialect has none
	texts   *route.Texts
	route   *route.Router
	gate    *gate.Gate
	toMain  *sql.DB // on a follower: connections to the master over the transport

	nodes *observe.Observer
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

func init() {
	for code, err := range link.RefusalCodes {
		remote.RegisterError("ddb."+code, err)
	}
	for code, err := range map[string]error{"readonly": ErrReadOnly, "notallowed": ErrNotAllowed, "notmaster": ErrNotMaster, "notconfirmed": ErrNotConfirmed,
		"busy": ErrBusy, "notreplicable": ErrNotReplicable, "stale": ErrStale, "diskfull": ErrDiskFull, "queuefull": ErrQueueFull, "toolarge": ErrTooLarge, "noconflict": ErrNoConflict} {
		remote.RegisterError("ddb."+code, err)
	}
}

// Open makes the database a node of a cluster and returns the handle to the whole
// cluster. A master adopts the tables that the database has. A new replica or snap needs
// an empty database, into which it copies the master's; Open does not wait for that, see
// [Cluster.WaitReady].
//
// Open returns ErrOptions, ErrPrivilege, ErrSecondMaster or ErrWrongRole, wrapped in
// words that say what to do, or the error of the database. The caller keeps
// ownership of db and closes it after the Cluster.
func Open(ctx context.Context, db *sql.DB, opts Options) (_ *Cluster, err error) {
	defer fault.Door("open", &err)
	o, err := opts.withDefaults()
	if err == nil {
		err = given(db, "Open")
	}
	if err != nil {
		return nil, err
	}
	n, err := store.Open(ctx, db, o.node())
	if err != nil {
		return nil, err
	}
	c := newCluster(o, n.Log, n, n.Dialect, route.NewTexts(n.Dialect.Language(), n, o.Databases, settle.Mark(n.Engine.Own("conflicts"))))
	c.access.Store(o.access())
	warnAccess(n.Log, o, c.access.Load())
	if o.Role == Master {
		err = c.openMaster(ctx)
	} else {
		err = c.openFollower(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.gate.Close(), n.Unlock())
	}
	c.run()
	return c, nil
}

// given refuses a database that is none.
func given(db *sql.DB, by string) error {
	if db == nil {
		return fmt.Errorf("%w: %s was given no *sql.DB, but nil; make one with sql.Open", ErrOptions, by)
	}
	return nil
}

// newCluster returns a Cluster without members, whose databases are those of the dialect; n is nil in one made by Wrap.
func newCluster(o Options, log hclog.Logger, n *store.Store, d dialect.Dialect, texts *route.Texts) *Cluster {
	c := &Cluster{opts: o, node: n, dialect: d, texts: texts, access: new(atomic.Pointer[access.Rules]), log: log}
	if carrier, ok := d.(dialect.ErrorCarrier); ok {
		c.carrier = carrier
		for code, err := range carrier.Sentinels() {
			remote.RegisterError(code, err)
		}
	}
	c.route = route.New(route.Config{Consistency: o.Consistency, Floor: o.Floor, PreferLocal: *o.PreferLocal, Picker: o.Picker, Fault: d.Fault, Log: log, Refresh: c.refresh}, texts)
	c.nodes = observe.New(observe.Config{Heartbeat: o.Heartbeat, Log: log, Router: c.route, OnHealth: o.OnHealth})
	c.gate = gate.New(gate.Config{ID: o.ID, Role: o.Role, Master: o.Master, Node: n, Dialect: d, Texts: texts, Route: c.route,
		WaitReplicas: o.WaitReplicas, WaitTimeout: o.WaitTimeout})
	return c
}

// run keeps the view fresh until Close.
func (c *Cluster) run() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	if c.node != nil {
		c.tasks.Go(func() { c.node.WatchLock(ctx) })
		if c.opts.HealthChecker != nil {
			c.tasks.Go(func() {
				c.own.Run(ctx, c.opts.HealthChecker, c.opts.ID, c.node.DB, c.opts.Heartbeat, c.opts.MaxLag, c.checkedUp)
			})
		}
	}
	c.nodes.Run(ctx, &c.tasks)
}

// checkedUp makes known what the program's checker has found.
func (c *Cluster) checkedUp() {
	if c.f != nil {
		c.f.CheckedUp()
	}
	c.refresh()
}

// refresh asks for a new view. It never blocks.
func (c *Cluster) refresh() { c.nodes.Refresh() }

// Close stops the node: followers are told, transactions in progress end first, and the
// database is released. It does not close the *sql.DB given to Open. What is
// pending stays where it is and is exchanged after the next Open.
func (c *Cluster) Close() (err error) {
	defer fault.Door("close", &err)
	if c.gate.Shut() {
		return nil
	}
	c.stop()
	c.tasks.Wait()
	err = c.gate.Close()
	if c.toMain != nil {
		err = errors.Join(err, c.toMain.Close())
	}
	err = errors.Join(err, c.nodes.Close())
	if c.m != nil {
		err = errors.Join(err, c.m.stop())
	}
	if c.f != nil {
		c.f.Stop()
	}
	if c.node != nil {
		err = errors.Join(err, c.node.Unlock())
	}
	return err
}
