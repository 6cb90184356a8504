package follow

import (
	"context"
	"errors"

	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/journal"
)

// Local is what a node has besides following: a snap has local writes, and a queue of batches for its master.
type Local interface {
	apply.Local
	// Run does what works while the node is open, connected or not, until ctx ends.
	Run(ctx context.Context)
	// Hello adds to the node's greeting what its master must know of it.
	Hello(ctx context.Context, h *link.Hello) error
	// Welcomed notes what the master has of this node. Its error ends the connection.
	Welcomed(ctx context.Context, w link.Welcome) error
	// Numbered notes the small number that the master has given to the node.
	Numbered(ctx context.Context, number int64) error
	// Loaded is told that a snapshot has been loaded.
	Loaded()
	// Push sends, with write, what the node has for its master, for as long as the connection lasts.
	Push(ctx context.Context, write func(kind uint8, msg any) error) error
	// Judged takes the master's word on batches.
	Judged(v link.Verdict) error
	// Pending tells how much waits for the master; ok is false where the node has no queue for it.
	Pending() (q journal.QueueStats, ok bool)
}

// replica is the Local of a replica, which has nothing besides following.
type replica struct{ apply.Local }

// Run has nothing to do.
func (replica) Run(context.Context) {}

// Hello adds nothing.
func (replica) Hello(context.Context, *link.Hello) error { return nil }

// Welcomed notes nothing.
func (replica) Welcomed(context.Context, link.Welcome) error { return nil }

// Numbered refuses the number, which is for snaps.
func (replica) Numbered(context.Context, int64) error {
	return errors.New("the master sent a snap's number to a replica")
}

// Loaded does nothing.
func (replica) Loaded() {}

// Push sends nothing.
func (replica) Push(ctx context.Context, _ func(uint8, any) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// Judged refuses the verdict, which is for snaps.
func (replica) Judged(link.Verdict) error {
	return errors.New("the master sent a verdict to a replica")
}

// Pending is nothing.
func (replica) Pending() (journal.QueueStats, bool) { return journal.QueueStats{}, false }
