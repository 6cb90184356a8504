package fleet

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/journal"
)

// Confirmed waits until n replicas have the entry durably.
func (fl *Fleet) Confirmed(ctx context.Context, lsn journal.LSN, n int) error {
	limit, cancel := context.WithTimeout(ctx, fl.cfg.WaitTimeout)
	defer cancel()
	for {
		_, changed := fl.acked.Watch()
		have := 0
		fl.mu.Lock()
		for _, f := range fl.followers {
			if f.role == health.Replica && journal.LSN(f.acked.Load()) >= max(lsn, journal.LSN(f.through.Load())) {
				have++
			}
		}
		fl.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-limit.Done():
			return fl.NotConfirmed(ctx, fmt.Sprintf("entry %d is durable on the master and on %d of %d replicas", lsn, have, n))
		}
	}
}

// NotConfirmed is the error of a wait that has ended, be it by Options.WaitTimeout or with the caller's context.
func (fl *Fleet) NotConfirmed(ctx context.Context, stands string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %s: %w", fault.ErrNotConfirmed, stands, ctx.Err())
	}
	return fmt.Errorf("%w: %s after %v", fault.ErrNotConfirmed, stands, fl.cfg.WaitTimeout)
}

// AnyConnected reports whether a follower is connected.
func (fl *Fleet) AnyConnected() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for _, f := range fl.followers {
		if f.connected() {
			return true
		}
	}
	return false
}
