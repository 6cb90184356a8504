package ddb

import (
	"errors"

	"github.com/ddb-project/ddb/dialect"
)

// Errors met while opening a node.
var (
	// ErrOptions: an option is missing or contradicts another; the text names it.
	ErrOptions = errors.New("ddb: bad option")
	// ErrSecondMaster: another process already runs a ddb node on this database.
	ErrSecondMaster = errors.New("ddb: the database already has a ddb node")
	// ErrWrongRole: the database belongs to a node of another role, or to another snap.
	ErrWrongRole = errors.New("ddb: the database belongs to a node of another role or id")
	// ErrPrivilege: the database user or the server's settings forbid what ddb needs.
	ErrPrivilege = dialect.ErrPrivilege
)

// Errors met by a statement.
var (
	// ErrClosed: the Cluster was closed.
	ErrClosed = errors.New("ddb: the cluster is closed")
	// ErrReadOnly: the statement writes, and this handle or node only reads.
	ErrReadOnly = errors.New("ddb: read-only")
	// ErrNotMaster: the statement must run on the master, and this node cannot take it there.
	ErrNotMaster = errors.New("ddb: only the master can do this")
	// ErrNoMaster: the master cannot be reached from here. Nothing was written.
	ErrNoMaster = errors.New("ddb: the master cannot be reached")
	// ErrNotConfirmed: the write stands on the master, but fewer replicas than
	// asked for have confirmed it in time.
	ErrNotConfirmed = errors.New("ddb: written on the master but not confirmed by enough replicas")
	// ErrBusy: another transaction held the only writer for too long. Nothing was written.
	ErrBusy = errors.New("ddb: another transaction holds the writer")
	// ErrNotReplicable: the statement or table cannot be replicated; the text says what would help.
	ErrNotReplicable = errors.New("ddb: cannot be replicated")
	// ErrDiskFull: the master's database (on a snap: the local one) has no room. Nothing was written.
	ErrDiskFull = errors.New("ddb: the disk is full")
	// ErrNotAllowed: the statement needs a right that its sender has not been given. Nothing has been run.
	ErrNotAllowed = errors.New("ddb: not allowed")
	// ErrTooLarge: a row, or what it takes to make it, is larger than WithMaxBytes allows.
	ErrTooLarge = errors.New("ddb: the answer is too large")
	// ErrStale: no node is fresh enough for the consistency asked for.
	ErrStale = errors.New("ddb: no node is fresh enough")
)

// Errors met between nodes. A follower that gets one of these stops visibly.
var (
	// ErrVersion: the other side speaks another version of ddb's protocol.
	ErrVersion = errors.New("ddb: protocol version differs")
	// ErrOtherCluster: the other side belongs to another cluster.
	ErrOtherCluster = errors.New("ddb: the node belongs to another cluster")
	// ErrForked: the follower holds an entry that the master's journal does not
	// have, or has otherwise. It must be given a new snapshot to rejoin.
	ErrForked = errors.New("ddb: the histories of master and follower differ")
	// ErrOldEpoch: the other side is the master of an earlier epoch.
	ErrOldEpoch = errors.New("ddb: the master's epoch is over")
	// ErrUnknownNode: the master's Options.Nodes do not list the follower, or its key is wrong.
	ErrUnknownNode = errors.New("ddb: the master does not let the node in")
	// ErrUnknownMaster: who answers at Options.Master does not prove the follower's key. Nothing was taken from it.
	ErrUnknownMaster = errors.New("ddb: the node does not follow this master")
	// ErrDuplicateID: another follower with the same id is connected.
	ErrDuplicateID = errors.New("ddb: the node id is already connected")
	// ErrDamaged: an entry's hash does not match its content.
	ErrDamaged = errors.New("ddb: damaged entry")
	// ErrGap: an entry does not follow the last one.
	ErrGap = errors.New("ddb: entries are missing")
	// ErrTrimmed: the journal no longer holds the entry asked for.
	ErrTrimmed = errors.New("ddb: the journal no longer reaches back so far")
	// ErrDiverged: a node's rows or tables are not as an entry requires.
	ErrDiverged = dialect.ErrDiverged
)

// Errors of a snap.
var (
	// ErrQueueFull: the snap's pending queue has reached its limit; nothing was written.
	ErrQueueFull = errors.New("ddb: the pending queue is full")
	// ErrUnsettled: the master can neither apply a batch nor keep it as a conflict. The snap keeps it in its pending queue.
	ErrUnsettled = errors.New("ddb: the master cannot settle a batch")
	// ErrNoConflict: there is no conflict of that id, or it is settled already.
	ErrNoConflict = errors.New("ddb: no such conflict")
)
