package route

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/health"
)

// Rule is what a caller asked for through the context.
type Rule struct {
	Consistency health.Consistency // if Set
	Set         bool
	MaxAge      time.Duration // bounded staleness; 0 for none
	Node        string        // the node that must answer; "" for any
}

type ruleKey struct{}

// RuleOf returns what a caller asked for.
func RuleOf(ctx context.Context) Rule {
	r, _ := ctx.Value(ruleKey{}).(Rule)
	return r
}

// WithRule returns a context whose reads go by the rule.
func WithRule(ctx context.Context, r Rule) context.Context {
	return context.WithValue(ctx, ruleKey{}, r)
}

// chosenKey carries in a context the node that was chosen for a read already.
type chosenKey struct{}

// WithChosen returns a context whose read goes to a node that was chosen already.
func WithChosen(ctx context.Context, m *Member) context.Context {
	return context.WithValue(ctx, chosenKey{}, m)
}

func chosenOf(ctx context.Context) (m *Member, ok bool) {
	m, ok = ctx.Value(chosenKey{}).(*Member)
	return m, ok
}

type answerKey struct{}

// WithAnswer returns a context whose reads store the id of the node that answered in node.
func WithAnswer(ctx context.Context, node *string) context.Context {
	return context.WithValue(ctx, answerKey{}, node)
}

// Answered notes which node answers a read, for those who asked.
func Answered(ctx context.Context, id string) {
	if node, ok := ctx.Value(answerKey{}).(*string); ok {
		*node = id
	}
}
