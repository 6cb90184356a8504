package ddb

import "context"

// openSnap turns the follower into a snap.
func (c *Cluster) openSnap(ctx context.Context) error {
	o := c.opts
	s, err := newSnap(ctx, c.node, SnapConfig{Rejoin: o.Rejoin, PollInterval: o.PollInterval, BusyTimeout: o.BusyTimeout,
		QueueMaxBatches: o.QueueMaxBatches, QueueMaxBytes: o.QueueMaxBytes, QueueMaxAge: o.QueueMaxAge}, c.f)
	if err != nil {
		return err
	}
	c.snap = s
	c.gate.OnSnap(s.group(), s, s.keyNumber, c.toMain)
	return nil
}
