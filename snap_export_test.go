package ddb

import (
	"context"
	"time"
)

// Pass makes a master's pass now.
func Pass(ctx context.Context, c *Cluster) error { return c.m.seq.Pass(ctx) }

// ForgetJournal trims all entries but the last.
func ForgetJournal(ctx context.Context, c *Cluster) error {
	return c.m.node.Journal.Trim(ctx, c.m.seq.State.Load().Pos.LSN)
}

// SetMaxStamps changes how many stamps a master keeps, and returns what undoes that. No master may be open.
func SetMaxStamps(n int) (undo func()) {
	was := tuned.MaxStamps
	tuned.MaxStamps = n
	return func() { tuned.MaxStamps = was }
}

// SetCommitPatience changes how long masters try a commit again, and returns what undoes that. No master may be open.
func SetCommitPatience(d time.Duration) (undo func()) {
	was := tuned.CommitPatience
	tuned.CommitPatience = d
	return func() { tuned.CommitPatience = was }
}
