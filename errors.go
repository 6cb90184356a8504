package ddb

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/remedy"
)

// Error is an error whose remedy a program can word for its own users, who may set flags instead of Options: errors.As
// finds it in what Open and a statement return, and package remedy has its actions. What has another cause is no Error. See [remedy.Words].
type Error = remedy.Error

// Errors met while opening a node.
var (
	// ErrOptions: an option is missing or contradicts another; the text names it.
	ErrOptions = fault.ErrOptions
	// ErrSecondMaster: another process already runs a ddb node on this database.
	ErrSecondMaster = fault.ErrSecondMaster
	// ErrWrongRole: the database belongs to a node of another role, or to another snap.
	ErrWrongRole = fault.ErrWrongRole
	// ErrPrivilege: the database user or the server's settings forbid what ddb needs.
	ErrPrivilege = dialect.ErrPrivilege
)

// Errors met by a statement.
var (
	// ErrClosed: the Cluster was closed.
	ErrClosed = fault.ErrClosed
	// ErrReadOnly: the statement writes, and this handle or node only reads.
	ErrReadOnly = fault.ErrReadOnly
	// ErrNotMaster: the statement must run on the master, and this node cannot take it there.
	ErrNotMaster = fault.ErrNotMaster
	// ErrNoMaster: the master cannot be reached from here. Nothing was written.
	ErrNoMaster = fault.ErrNoMaster
	// ErrNotConfirmed: the write stands on the master, but fewer replicas than
	// asked for have confirmed it in time.
	ErrNotConfirmed = fault.ErrNotConfirmed
	// ErrBusy: another transaction held the only writer for too long. Nothing was written.
	ErrBusy = fault.ErrBusy
	// ErrNotReplicable: the statement or table cannot be replicated; the text says what would help.
	ErrNotReplicable = fault.ErrNotReplicable
	// ErrDiskFull: the master's database (on a snap: the local one) has no room. Nothing was written.
	ErrDiskFull = fault.ErrDiskFull
	// ErrNotAllowed: the statement needs a right that its sender has not been given. Nothing has been run.
	ErrNotAllowed = fault.ErrNotAllowed
	// ErrTooLarge: a row, or what it takes to make it, is larger than WithMaxBytes allows.
	ErrTooLarge = fault.ErrTooLarge
	// ErrStale: no node is fresh enough for the consistency asked for.
	ErrStale = fault.ErrStale
)

// Errors met between nodes. A follower that gets one of these stops visibly.
var (
	// ErrVersion: the other side speaks another version of ddb's protocol.
	ErrVersion = fault.ErrVersion
	// ErrOtherCluster: the other side belongs to another cluster.
	ErrOtherCluster = fault.ErrOtherCluster
	// ErrForked: the follower holds an entry that the master's journal does not
	// have, or has otherwise. It must be given a new snapshot to rejoin.
	ErrForked = fault.ErrForked
	// ErrOldEpoch: the other side is the master of an earlier epoch.
	ErrOldEpoch = fault.ErrOldEpoch
	// ErrUnknownNode: the master's Options.Nodes do not list the follower, or its key is wrong.
	ErrUnknownNode = fault.ErrUnknownNode
	// ErrUnknownMaster: who answers at Options.Master does not prove the follower's key. Nothing was taken from it.
	ErrUnknownMaster = fault.ErrUnknownMaster
	// ErrDuplicateID: another follower with the same id is connected.
	ErrDuplicateID = fault.ErrDuplicateID
	// ErrDamaged: an entry's hash does not match its content.
	ErrDamaged = fault.ErrDamaged
	// ErrGap: an entry does not follow the last one.
	ErrGap = fault.ErrGap
	// ErrTrimmed: the journal no longer holds the entry asked for.
	ErrTrimmed = fault.ErrTrimmed
	// ErrDiverged: a node's rows or tables are not as an entry requires.
	ErrDiverged = dialect.ErrDiverged
)

// Errors of a snap.
var (
	// ErrQueueFull: the snap's pending queue has reached its limit; nothing was written.
	ErrQueueFull = fault.ErrQueueFull
	// ErrUnsettled: the master can neither apply a batch nor keep it as a conflict. The snap keeps it in its pending queue.
	ErrUnsettled = fault.ErrUnsettled
	// ErrNoConflict: there is no conflict of that id, or it is settled already.
	ErrNoConflict = fault.ErrNoConflict
)
