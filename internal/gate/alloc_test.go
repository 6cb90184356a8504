//go:build !race

package gate_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/journal"
)

// idle is a driver whose queries have no rows.
type idle struct{}

func (idle) Connect(context.Context) (driver.Conn, error) { return idle{}, nil }
func (idle) Driver() driver.Driver                        { return idle{} }
func (idle) Open(string) (driver.Conn, error)             { return idle{}, nil }
func (idle) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (idle) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (idle) Close() error                                 { return nil }
func (idle) Columns() []string                            { return nil }
func (idle) Next([]driver.Value) error                    { return io.EOF }
func (idle) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return idle{}, nil
}

// first is a Picker that takes the first candidate.
type first struct{}

func (first) Pick([]health.Candidate) int { return 0 }

// A plain read through a Gate allocates what it does on the node's own *sql.DB, and nothing else. The race detector makes pools forget on
// purpose, so that this counts without it only.
func TestQueryAllocatesNothing(t *testing.T) {
	db := sql.OpenDB(idle{})
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
