package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/route"
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
