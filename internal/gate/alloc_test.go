//go:build !race

package gate_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/journal"
)

// first is a Picker that takes the first candidate.
type first struct{}

func (first) Pick([]health.Candidate) int { return 0 }

// A plain read through a Gate allocates what it does on the node's own *sql.DB, and nothing else. The race detector makes pools forget on
// purpose, so that this counts without it only.
func TestQueryAllocatesNothing(t *testing.T) {
	db := sql.OpenDB(testdb.Idle{})
	defer db.Close()
	texts := route.NewTexts(sqlclass.SQLite, nil, nil, "")
	router := route.New(route.Config{Picker: first{}, Fault: func(error) dialect.Fault { return 0 }, Log: hclog.NewNullLogger(), Refresh: func() {}}, texts)
	router.View.Store(&route.View{Active: []*route.Member{{ID: "a", DB: db, LSN: func() journal.LSN { return 1 }, Lag: func() time.Duration { return 0 }}}})
	g := gate.New(gate.Config{ID: "m", Role: health.Master, Texts: texts, Route: router})
	defer g.Close()
	g.OnDatabase(db)
	const query = "SELECT id, body FROM items WHERE id = ?"
	args := []any{1}
	count := func(read func(ctx context.Context, query string, args ...any) (*sql.Rows, error)) float64 {
		return testing.AllocsPerRun(1000, func() {
			// A context that ends would have a goroutine for each answer, which is allocated now and then.
			rows, err := read(context.Background(), query, args...)
			if err != nil {
				t.Fatal(err)
			}
			rows.Close()
		})
	}
	through := count(func(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
		return g.Query(ctx, query, args)
	})
	require.Equal(t, count(db.QueryContext), through)
}
