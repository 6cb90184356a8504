package ddb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/watch"
)

// A node's lock on its database can get lost while the node lives: a server's locks end with it, or with the connection
// that holds them. So it is looked at as often as the schema, and taken anew. A node that does not hold it makes no
// entry and applies none; one that has had to take it anew looks first whether another node was there.

// lockKeeper is an engine whose lock can get lost.
type lockKeeper interface {
	// KeepLock takes the lock anew if it was lost, and reports whether it was. Its error says why it cannot be had.
	KeepLock(ctx context.Context) (lost bool, err error)
}

// lockTimeout bounds one look at the lock.
const lockTimeout = 10 * time.Second

// lockState is what was last seen of the node's lock.
type lockState struct {
	err   atomic.Pointer[error] // why the node does not hold it; nil while it does
	again atomic.Uint64         // how often it was taken anew, or had to be
}

// watchLock looks at the lock until ctx ends.
func (n *node) watchLock(ctx context.Context) {
	if _, ok := n.engine.(lockKeeper); !ok {
		return
	}
	for watch.Sleep(ctx, lookEvery) == nil {
		n.keepLock(ctx)
	}
}

// keepLock looks at the lock, and takes it anew if it was lost. It returns an error while it cannot be had.
func (n *node) keepLock(ctx context.Context) error {
	k, ok := n.engine.(lockKeeper)
	if !ok {
		return nil
	}
	// To cut a look short would end the connection that holds the lock.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
	defer cancel()
	lost, err := k.KeepLock(limit)
	if lost {
		n.lock.again.Add(1)
	}
	if err != nil {
		err = n.lockError(err)
		if was := n.lock.err.Swap(&err); was == nil || (*was).Error() != err.Error() {
			n.log.Error("the node does not hold its database at present", "error", err)
		}
		return err
	}
	if n.lock.err.Swap(nil) != nil || lost {
		n.log.Warn("the lock on the database was lost and is held again")
	}
	return nil
}

// holdsLock is keepLock for a node that did not hold the lock when that was last looked at.
func (n *node) holdsLock(ctx context.Context) error {
	if n.lock.err.Load() == nil {
		return nil
	}
	return n.keepLock(ctx)
}

// lockError adds the node to an error about its lock.
func (n *node) lockError(err error) error {
	if errors.Is(err, dialect.ErrLocked) {
		return fmt.Errorf("%w: node %s: %w", ErrSecondMaster, n.id, err)
	}
	return fmt.Errorf("ddb: node %s: lock the database: %w", n.id, err)
}
