package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/health"
)

// readRule is what a caller asked for through the context.
type readRule struct {
	consistency health.Consistency
	set         bool
	maxAge      time.Duration // bounded staleness; 0 for none
	node        string        // the node that must answer; "" for any
}

type readRuleKey struct{}

// ruleOf returns what a caller asked for.
func ruleOf(ctx context.Context) readRule {
	r, _ := ctx.Value(readRuleKey{}).(readRule)
	return r
}

// withRule returns a context whose reads go by the rule.
func withRule(ctx context.Context, r readRule) context.Context {
	return context.WithValue(ctx, readRuleKey{}, r)
}

// chosenKey carries in a context the node that was chosen for a read already.
type chosenKey struct{}

// withChosen returns a context whose read goes to a node that was chosen already.
func withChosen(ctx context.Context, m *member) context.Context {
	return context.WithValue(ctx, chosenKey{}, m)
}

func chosenOf(ctx context.Context) (m *member, ok bool) {
	m, ok = ctx.Value(chosenKey{}).(*member)
	return m, ok
}

type answerKey struct{}

// withAnswer returns a context whose reads store the id of the node that answered in node.
func withAnswer(ctx context.Context, node *string) context.Context {
	return context.WithValue(ctx, answerKey{}, node)
}

// answered notes which node answers a read, for those who asked.
func answered(ctx context.Context, id string) {
	if node, ok := ctx.Value(answerKey{}).(*string); ok {
		*node = id
	}
}
