package sqlite

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/testdb"
)

// A function that the program has registered is told from those that SQLite has by itself.
func TestFunctions(t *testing.T) {
	sqlite.MustRegisterDeterministicScalarFunction("of_the_program", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) { return int64(1), nil })
	db := testdb.OpenSQLite(t, filepath.Join(t.TempDir(), "f.db"))
	e, err := Dialect{}.Bind(context.Background(), db, dialect.Config{})
	require.NoError(t, err)
	names, err := e.(interface {
		Functions(context.Context, dialect.Querier) ([]string, error)
	}).Functions(context.Background(), db)
	require.NoError(t, err)
	require.Contains(t, names, "of_the_program")
	for _, own := range []string{"abs", "coalesce", "json_extract", "strftime"} {
		require.NotContains(t, names, own)
	}
}
