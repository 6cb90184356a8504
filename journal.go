package ddb

import "github.com/ddb-project/ddb/journal"

// What a history is made of stands in package journal, where each type has its documentation and methods. A program that has a Journal of
// its own imports that package; others need no more than these names.
type (
	// LSN is a log sequence number: the place of an entry in the history of a cluster. See [journal.LSN].
	LSN = journal.LSN
	// Hash is the chain hash over an entry and everything before it. See [journal.Hash].
	Hash = journal.Hash
	// Position names the end of a history. See [journal.Position].
	Position = journal.Position
	// Part is a piece of an entry. See [journal.Part].
	Part = journal.Part
	// Change holds the states of rows of one table. See [journal.Change].
	Change = journal.Change
	// Journal is the ordered, durable log of entries on a node. See [journal.Journal].
	Journal = journal.Journal
	// JournalSizer is what a Journal may say of how much it holds. See [journal.Sizer].
	JournalSizer = journal.Sizer
	// PendingQueue is what a follower has not acknowledged of the master's entries. See [journal.PendingQueue].
	PendingQueue = journal.PendingQueue
	// QueueFunc makes the pending queue of a follower. See [journal.QueueFunc].
	QueueFunc = journal.QueueFunc
	// QueueStats tells how much waits in a pending queue. See [journal.QueueStats].
	QueueStats = journal.QueueStats
	// EntryInfo describes an entry of the journal for people. See [journal.EntryInfo].
	EntryInfo = journal.EntryInfo
	// TableInfo is one table's share of an entry. See [journal.TableInfo].
	TableInfo = journal.TableInfo
)

// NewMemoryJournal returns a Journal that is lost with the process. It suits tests; a
// node that uses it must take a new snapshot after each start.
func NewMemoryJournal() Journal { return journal.NewMemory() }

// NewPendingQueue returns the pending queue of a follower that has acknowledged
// everything up to and including acked: a view of the journal.
func NewPendingQueue(j Journal, acked LSN) PendingQueue { return journal.NewQueue(j, acked) }
