package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
)

// outsider is a member of a Cluster made by Wrap.
type outsider struct {
	member  route.Member
	lagNow  atomic.Int64
	checker HealthChecker
	mu      sync.Mutex
	state   NodeStatus
}

// Wrap makes a Cluster of nothing but *sql.DBs: a master and replicas, by id, that somebody else
// replicates, such as MariaDB's own replication. ddb routes, checks health and lag with the checker and
// spreads the reads; it installs and replicates nothing. After a write the Cluster reads from the
// master until the replicas' lag has passed. The caller keeps ownership of the databases. Where the master's driver tells no
// dialect and Options.Dialect gives none, it is taken for MariaDB's or MySQL's, as far as ddb/dialect/mysql is imported.
func Wrap(ctx context.Context, master *sql.DB, replicas map[string]*sql.DB, checker HealthChecker, opts Options) (*Cluster, error) {
	if opts.Listen != "" || opts.Master != "" || opts.WaitReplicas != 0 {
		return nil, fmt.Errorf("%w: Listen, Master and WaitReplicas mean nothing to Wrap", ErrOptions)
	}
	o, err := opts.withDefaults()
	if err == nil {
		err = given(master, "Wrap")
	}
	if err != nil {
		return nil, err
	}
	if checker == nil {
		checker = o.HealthChecker
	}
	if checker == nil {
		return nil, fmt.Errorf("%w: Wrap needs a HealthChecker, for example MariaDBChecker{}", ErrOptions)
	}
	for id, db := range replicas {
		if err := given(db, "Wrap, as replica "+id+","); err != nil {
			return nil, err
		}
		if err := link.CheckID(id); err != nil || id == o.ID {
			return nil, fmt.Errorf("%w: replica id %q is not usable, or is the master's", ErrOptions, id)
		}
	}
	d := o.Dialect
	if d == nil {
		if d, err = store.AssumedDialect(master); err != nil {
			return nil, err
		}
	}
	c := newCluster(o, o.Logger.With("node", o.ID), nil, d, route.NewTexts(d.Language(), nil, nil, ""))
	c.gate.OnDatabase(master)
	c.outside = append(c.outside, newOutsider(o.ID, master, PingChecker{}, true))
	for id, db := range replicas {
		c.outside = append(c.outside, newOutsider(id, db, checker, false))
	}
	c.checkOutside(ctx)
	c.run()
	return c, nil
}

func newOutsider(id string, db *sql.DB, checker HealthChecker, master bool) *outsider {
	o := &outsider{checker: checker}
	o.member.ID, o.member.DB, o.member.Master = id, db, master
	o.lagNow.Store(int64(LagUnknown))
	o.member.Lag = func() time.Duration { return time.Duration(o.lagNow.Load()) }
	o.member.LSN = func() LSN { return 0 }
	o.member.Status = o.snapshot
	role := Replica
	if master {
		role = Master
	}
	o.state = NodeStatus{ID: id, Role: role, State: Joining, Reason: "not checked yet", Since: time.Now(), Lag: LagUnknown}
	return o
}

func (o *outsider) snapshot() NodeStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// checkOutside asks the checker about every member, all at once, within a heartbeat.
func (c *Cluster) checkOutside(ctx context.Context) {
	if len(c.outside) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Heartbeat)
	defer cancel()
	var all sync.WaitGroup
	for _, o := range c.outside {
		all.Go(func() {
			r, err := o.checker.Check(ctx, o.member.ID, o.member.DB)
			o.judge(r, err, c.opts.MaxLag)
		})
	}
	all.Wait()
}

// judge sets the state from what the checker has found. An unknown lag counts as unhealthy.
func (o *outsider) judge(r Report, err error, maxLag time.Duration) {
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
