package ddb

import (
	"context"
	"fmt"
)

// confirmed waits until n replicas have the entry durably.
func (fl *fleet) confirmed(ctx context.Context, lsn LSN, n int) error {
	limit, cancel := context.WithTimeout(ctx, fl.cfg.WaitTimeout)
	defer cancel()
	for {
		_, changed := fl.acked.Watch()
		have := 0
		fl.mu.Lock()
		for _, f := range fl.followers {
			if f.role == Replica && LSN(f.acked.Load()) >= max(lsn, LSN(f.through.Load())) {
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
			return fl.notConfirmed(ctx, fmt.Sprintf("entry %d is durable on the master and on %d of %d replicas", lsn, have, n))
		}
	}
}

// notConfirmed is the error of a wait that has ended, be it by Options.WaitTimeout or with the caller's context.
func (fl *fleet) notConfirmed(ctx context.Context, stands string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotConfirmed, stands, ctx.Err())
	}
	return fmt.Errorf("%w: %s after %v", ErrNotConfirmed, stands, fl.cfg.WaitTimeout)
}

// anyConnected reports whether a follower is connected.
func (fl *fleet) anyConnected() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for _, f := range fl.followers {
		if f.connected() {
			return true
		}
	}
	return false
}
