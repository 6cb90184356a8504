// Package fault holds the sentinels of ddb's errors, which the root package exports under the same names and
// documents, so that every part can return them and none needs the root.
package fault

import "errors"

// The sentinels. errors.go of the root package says when each is returned.
var (
	ErrOptions       = errors.New("bad option")
	ErrSecondMaster  = errors.New("the database already has a ddb node")
	ErrWrongRole     = errors.New("the database belongs to a node of another role or id")
	ErrClosed        = errors.New("the cluster is closed")
	ErrReadOnly      = errors.New("read-only")
	ErrNotMaster     = errors.New("only the master can do this")
	ErrNoMaster      = errors.New("the master cannot be reached")
	ErrNotConfirmed  = errors.New("written on the master but not confirmed by enough replicas")
	ErrBusy          = errors.New("another transaction holds the writer")
	ErrNotReplicable = errors.New("cannot be replicated")
	ErrDiskFull      = errors.New("the disk is full")
	ErrNotAllowed    = errors.New("not allowed")
	ErrTooLarge      = errors.New("the answer is too large")
	ErrStale         = errors.New("no node is fresh enough")
	ErrVersion       = errors.New("protocol version differs")
	ErrOtherCluster  = errors.New("the node belongs to another cluster")
	ErrForked        = errors.New("the histories of master and follower differ")
	ErrOldEpoch      = errors.New("the master's epoch is over")
	ErrUnknownNode   = errors.New("the master does not let the node in")
	ErrUnknownMaster = errors.New("the node does not follow this master")
	ErrDuplicateID   = errors.New("the node id is already connected")
	ErrDamaged       = errors.New("damaged entry")
	ErrGap           = errors.New("entries are missing")
	ErrTrimmed       = errors.New("the journal no longer reaches back so far")
	ErrQueueFull     = errors.New("the pending queue is full")
	ErrUnsettled     = errors.New("the master cannot settle a batch")
	ErrNoConflict    = errors.New("no such conflict")
)

var sentinels = []error{ErrOptions, ErrSecondMaster, ErrWrongRole, ErrClosed, ErrReadOnly, ErrNotMaster, ErrNoMaster, ErrNotConfirmed, ErrBusy, ErrNotReplicable, ErrDiskFull, ErrNotAllowed, ErrTooLarge, ErrStale, ErrVersion, ErrOtherCluster, ErrForked, ErrOldEpoch, ErrUnknownNode, ErrUnknownMaster, ErrDuplicateID, ErrDamaged, ErrGap, ErrTrimmed, ErrQueueFull, ErrUnsettled, ErrNoConflict}
