//go:build !race

package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// The race detector makes pools forget on purpose, so that these count without it only.

// A text that is run often is looked up without an allocation, and without a clone.
func TestReadAllocatesNothing(t *testing.T) {
	k := route.NewTexts(sqlclass.SQLite, nil, nil, "")
	const query = "SELECT id FROM t WHERE id = ?"
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if !k.IsRead(query) || !k.Read(query).IsRead() {
			t.Error("it is a read")
		}
	}))
}

// A read takes no lock and allocates nothing beside what the node's driver does.
func TestChooseAllocatesNothing(t *testing.T) {
	r := newRouter(route.Config{})
	r.View.Store(&route.View{Active: []*route.Member{memberAt(t, "a", 9, 0), memberAt(t, "b", 9, 0)}})
	r.Session.Sees(7)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := r.Choose(route.RuleOf(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}))
}
