package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/watch"
)

// A node's lock on its database can get lost while the node lives: a server's locks end with it, or with the connection
// that holds them. So it is looked at as often as the schema, and taken anew. A node that does not hold it makes no
// entry and applies none; one that has had to take it anew looks first whether another node was there.

// lockTimeout bounds one look at the lock.
const lockTimeout = 10 * time.Second

// lockState is what was last seen of the node's lock.
type lockState struct {
	err   atomic.Pointer[error] // why the node does not hold it; nil while it does
	Again atomic.Uint64         // how often it was taken anew, or had to be
}

// WatchLock looks at the lock until ctx ends.
func (n *Store) WatchLock(ctx context.Context) {
	if _, ok := n.Engine.(dialect.LockKeeper); !ok {
		return
	}
	for watch.Sleep(ctx, LookEvery) == nil {
		n.KeepLock(ctx)
	}
}

// KeepLock looks at the lock, and takes it anew if it was lost. It returns an error while it cannot be had.
func (n *Store) KeepLock(ctx context.Context) error {
	k, ok := n.Engine.(dialect.LockKeeper)
	if !ok {
		return nil
	}
	// To cut a look short would end the connection that holds the lock.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
	defer cancel()
	lost, err := k.KeepLock(limit)
	if lost {
		n.Lock.Again.Add(1)
	}
	if err != nil {
		err = n.lockError(err)
		if was := n.Lock.err.Swap(&err); was == nil || (*was).Error() != err.Error() {
			n.Log.Error("the node does not hold its database at present", "error", err)
		}
		return err
	}
	if n.Lock.err.Swap(nil) != nil || lost {
		n.Log.Warn("the lock on the database was lost and is held again")
	}
	return nil
}

// HoldsLock is KeepLock for a node that did not hold the lock when that was last looked at.
func (n *Store) HoldsLock(ctx context.Context) error {
	if n.Lock.err.Load() == nil {
		return nil
	}
	return n.KeepLock(ctx)
}

// lockError adds the node to an error about its lock.
func (n *Store) lockError(err error) error {
	if errors.Is(err, dialect.ErrLocked) {
		return fmt.Errorf("%w: node %s: %w", fault.ErrSecondMaster, n.ID, err)
	}
	return fmt.Errorf("node %s: lock the database: %w", n.ID, err)
}

// LookEvery is how often the schema version is read, to notice what other clients did to tables.
const LookEvery = 500 * time.Millisecond
