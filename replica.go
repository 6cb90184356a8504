package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"net"

	"github.com/ddb-project/ddb/internal/follow"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/observe"
	"github.com/ddb-project/ddb/internal/remote"
	"github.com/ddb-project/ddb/internal/route"
)

// openFollower makes the node a replica or a snap, which begins to follow its master.
func (c *Cluster) openFollower(ctx context.Context) error {
	o := c.opts
	f, err := follow.Open(ctx, c.node, follow.Config{Role: o.Role, Master: o.Master, Transport: o.Transport, Keys: func() [][]byte { return c.access.Load().OwnKeys() },
		Rejoin: o.Rejoin, Heartbeat: o.Heartbeat, MaxLag: o.MaxLag, JournalMaxAge: o.JournalMaxAge, JournalMaxBytes: o.JournalMaxBytes,
		OnProgress: o.OnProgress, Health: &c.own, Changed: c.refresh, ServeSQL: c.serveFollower})
	if err != nil {
		return err
	}
	c.f = f
	c.toMain = sql.OpenDB(remote.NewConnector(f.Stream, remote.Options{Header: gate.PassGuards, OnToken: c.route.Session.Sees, Errors: c.carrier}))
	c.nodes.At(observe.NewBehind(f, c.toMain), &route.Member{ID: c.opts.ID, DB: c.node.DB, Local: true, Status: f.Status,
		LSN: func() LSN { return f.Position().LSN }, Lag: f.Staleness})
	if c.opts.Role == Snap {
		if err := c.openSnap(ctx); err != nil {
			c.toMain.Close()
			return err
		}
		f.Begin(c.snap)
	} else {
		c.gate.OnReplica(c.toMain)
		f.Begin(nil)
	}
	return nil
}

// serveFollower answers the master's reads from the local database.
func (c *Cluster) serveFollower(ctx context.Context, conn net.Conn) {
	err := remote.Serve(ctx, conn, c.node.DB, remote.ServeOptions{ReadOnly: true, Guard: c.gate.GuardLocal, Errors: c.carrier, Check: func(query string) error {
		if !c.f.Whole() {
			return fmt.Errorf("%w to reads while it takes in whole tables: node %s", ErrClosed, c.opts.ID) // to be tried elsewhere
		}
		if !c.texts.IsRead(query) {
			return fmt.Errorf("%w: node %s answers reads only", ErrReadOnly, c.opts.ID)
		}
		return nil
	}})
	c.log.Trace("the master's SQL stream has ended", "error", err)
}
