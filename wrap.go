package ddb

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/observe"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/store"
)

// Wrap makes a Cluster of nothing but *sql.DBs: a master and replicas, by id, that somebody else
// replicates, such as MariaDB's own replication. ddb routes, checks health and lag with the checker and
// spreads the reads; it installs and replicates nothing. After a write the Cluster reads from the
// master until the replicas' lag has passed. The caller keeps ownership of the databases. Where the master's driver tells no
// dialect and Options.Dialect gives none, it is taken for MariaDB's or MySQL's, as far as ddb/dialect/mysql is imported.
func Wrap(ctx context.Context, master *sql.DB, replicas map[string]*sql.DB, checker HealthChecker, opts Options) (_ *Cluster, err error) {
	defer fault.Door("wrap", &err)
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
	beside := observe.NewBeside(o.Heartbeat, o.MaxLag)
	beside.Add(o.ID, master, PingChecker{}, true)
	for id, db := range replicas {
		beside.Add(id, db, checker, false)
	}
	beside.Check(ctx)
	c.nodes.At(beside, nil)
	c.run()
	return c, nil
}
