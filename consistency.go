package ddb

import (
	"context"
	"time"
)

// Consistency says how fresh a read must be.
type Consistency int

const (
	// Session reads see every write made earlier through the same Cluster. The default.
	Session Consistency = iota
	// Eventual reads may show any state that the master had within Options.MaxLag; on a replica that has lost its
	// master, the last one that it has, however old.
	Eventual
	// Strong reads see every write that has returned anywhere: they go to the master.
	Strong
)

// String returns the name in lower case.
func (c Consistency) String() string {
	switch c {
	case Eventual:
		return "eventual"
	case Strong:
		return "strong"
	}
	return "session"
}

// readRule is what a caller asked for through the context.
type readRule struct {
	consistency Consistency
	set         bool
	maxAge      time.Duration // bounded staleness; 0 for none
	node        string        // the node that must answer; "" for any
}

type readRuleKey struct{}

func ruleOf(ctx context.Context) readRule {
	r, _ := ctx.Value(readRuleKey{}).(readRule)
	return r
}

// WithConsistency returns a context whose reads are as fresh as c says.
func WithConsistency(ctx context.Context, c Consistency) context.Context {
	r := ruleOf(ctx)
	r.consistency, r.set, r.maxAge = c, true, 0
	return context.WithValue(ctx, readRuleKey{}, r)
}

// WithMaxStaleness returns a context whose reads show a state that the master had at most
// d ago (bounded staleness). If no replica is that fresh, the master answers; for a d that is not positive none is.
func WithMaxStaleness(ctx context.Context, d time.Duration) context.Context {
	if d <= 0 {
		return WithConsistency(ctx, Strong)
	}
	r := ruleOf(ctx)
	r.consistency, r.set, r.maxAge = Eventual, true, d
	return context.WithValue(ctx, readRuleKey{}, r)
}

// WithNode returns a context whose reads are answered by the named node or fail, for
// diagnosis. Writes are not affected.
func WithNode(ctx context.Context, id string) context.Context {
	r := ruleOf(ctx)
	r.node = id
	return context.WithValue(ctx, readRuleKey{}, r)
}
