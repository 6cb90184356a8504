package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/schema"
)

// Consistency says how fresh a read must be. See [health.Consistency].
type Consistency = health.Consistency

// How fresh reads may be asked for to be.
const (
	// Session reads see every write made earlier through the same Cluster. The default.
	Session = health.Session
	// Eventual reads may show any state that the master had within Options.MaxLag; on a replica that has lost its
	// master, the last one that it has, however old.
	Eventual = health.Eventual
	// Strong reads see every write that has returned anywhere: they go to the master.
	Strong = health.Strong
)

// WithConsistency returns a context whose reads are as fresh as c says.
func WithConsistency(ctx context.Context, c Consistency) context.Context {
	r := route.RuleOf(ctx)
	r.Consistency, r.Set, r.MaxAge = c, true, 0
	return route.WithRule(ctx, r)
}

// WithMaxStaleness returns a context whose reads show a state that the master had at most
// d ago (bounded staleness). If no replica is that fresh, the master answers; for a d that is not positive none is.
func WithMaxStaleness(ctx context.Context, d time.Duration) context.Context {
	if d <= 0 {
		return WithConsistency(ctx, Strong)
	}
	r := route.RuleOf(ctx)
	r.Consistency, r.Set, r.MaxAge = Eventual, true, d
	return route.WithRule(ctx, r)
}

// WithNode returns a context whose reads are answered by the named node or fail, for
// diagnosis. Writes are not affected.
func WithNode(ctx context.Context, id string) context.Context {
	r := route.RuleOf(ctx)
	r.Node = id
	return route.WithRule(ctx, r)
}

type (
	// Candidate is what a Picker may know of a node that qualifies for a read. See [health.Candidate].
	Candidate = health.Candidate
	// Picker chooses the node that serves a read. See [health.Picker].
	Picker = health.Picker
)

// RoundRobin returns a Picker that takes turns. It is the default.
func RoundRobin() Picker { return route.RoundRobin() }

// LeastBusy returns a Picker that takes the node with the fewest reads in progress, and
// takes turns among equals.
func LeastBusy() Picker { return route.LeastBusy() }

// LowLatency returns a Picker that draws two nodes at random and takes the one
// with the lower recent latency (the power of two choices, Mitzenmacher 2001):
// close to the best choice without sending everybody to one node. A node of
// unknown latency is taken at once, so that it becomes known.
func LowLatency() Picker { return route.LowLatency() }

// WithKill returns a context whose end also ends the statement inside a MariaDB or MySQL server, by a KILL
// on another connection, on whichever node it runs; a transaction around it is rolled back. Without WithKill the
// connection is dropped, and the server may go on until the statement is done. It costs a round trip for each statement. Schema
// statements are not killed, and SQLite stops its statements either way.
func WithKill(ctx context.Context) context.Context { return gate.WithKill(ctx) }

// WithMaxBytes returns a context under which no row of an answer has more than n bytes: a greater one is ErrTooLarge.
// SQLite does not make it either: a statement may hold values of 4n bytes in all. Whatever else a
// statement under it does, it ends with ErrTooLarge when the process that it runs in has grown by 128 MiB meanwhile, or
// the part of it that is Go's by 256 (on other systems than Linux: only that). It holds on whichever node answers. It is meant for
// statements of people and programs that are not trusted with the memory of the node, and costs each some microseconds.
func WithMaxBytes(ctx context.Context, n int64) context.Context { return gate.WithMaxBytes(ctx, n) }

// WithAnswer returns a context whose reads store the id of the node that answered in node, for
// diagnosis. One context serves one read at a time.
func WithAnswer(ctx context.Context, node *string) context.Context {
	return route.WithAnswer(ctx, node)
}

// WithSurroundings returns a context whose schema statements run in the surroundings that s
// gives (its SQL is not looked at), as a file of SQL asks for with USE and SET. References to tables that do not exist yet
// are accepted, because such a file may name them in any order.
func WithSurroundings(ctx context.Context, s dialect.Statement) context.Context {
	return schema.WithSurroundings(ctx, s)
}
