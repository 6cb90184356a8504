// Package fault holds the sentinels of ddb's errors, which the root package exports under the same names and
// documents, so that every part can return them and none needs the root.
package fault

import "errors"

// The sentinels. errors.go of the root package says when each is returned.
var (
	ErrOptions       = errors.New("ddb: bad option")
	ErrSecondMaster  = errors.New("ddb: the database already has a ddb node")
	ErrWrongRole     = errors.New("ddb: the database belongs to a node of another role or id")
	ErrClosed        = errors.New("ddb: the cluster is closed")
	ErrReadOnly      = errors.New("ddb: read-only")
	ErrNotMaster     = errors.New("ddb: only the master can do this")
	ErrNoMaster      = errors.New("ddb: the master cannot be reached")
	ErrNotConfirmed  = errors.New("ddb: written on the master but not confirmed by enough replicas")
	ErrBusy          = errors.New("ddb: another transaction holds the writer")
	ErrNotReplicable = errors.New("ddb: cannot be replicated")
	ErrDiskFull      = errors.New("ddb: the disk is full")
	ErrNotAllowed    = errors.New("ddb: not allowed")
	ErrTooLarge      = errors.New("ddb: the answer is too large")
	ErrStale         = errors.New("ddb: no node is fresh enough")
	ErrVersion       = errors.New("ddb: protocol version differs")
	ErrOtherCluster  = errors.New("ddb: the node belongs to another cluster")
	ErrForked        = errors.New("ddb: the histories of master and follower differ")
	ErrOldEpoch      = errors.New("ddb: the master's epoch is over")
	ErrUnknownNode   = errors.New("ddb: the master does not let the node in")
	ErrUnknownMaster = errors.New("ddb: the node does not follow this master")
	ErrDuplicateID   = errors.New("ddb: the node id is already connected")
	ErrDamaged       = errors.New("ddb: damaged entry")
	ErrGap           = errors.New("ddb: entries are missing")
	ErrTrimmed       = errors.New("ddb: the journal no longer reaches back so far")
	ErrQueueFull     = errors.New("ddb: the pending queue is full")
	ErrUnsettled     = errors.New("ddb: the master cannot settle a batch")
	ErrNoConflict    = errors.New("ddb: no such conflict")
)
