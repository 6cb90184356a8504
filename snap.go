package ddb

import (
	"context"

	"github.com/ddb-project/ddb/internal/snap"
)

// openSnap turns the follower into a snap.
func (c *Cluster) openSnap(ctx context.Context) error {
	o := c.opts
	s, err := snap.New(ctx, c.node, snap.Config{Rejoin: o.Rejoin, PollInterval: o.PollInterval, BusyTimeout: o.BusyTimeout,
		QueueMaxBatches: o.QueueMaxBatches, QueueMaxBytes: o.QueueMaxBytes, QueueMaxAge: o.QueueMaxAge}, c.f)
	if err != nil {
		return err
	}
	c.snap = s
	c.gate.OnSnap(s.Group(), s.Writers(), s.KeyNumber, c.toMain)
	return nil
}
