package snaps_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A commit that gives batches their numbers and fails for its caller may stand all the same: no number is given twice, and
// no batch is dropped for another's.
func TestSnapNumbersUnsure(t *testing.T) {
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "a")
	late := &testcluster.HookDialect{Dialect: sqlite.Dialect{}}
	var armed, struck atomic.Bool
	commit := func(_ context.Context, p dialect.Purpose, commit func() error) error { // as if the connection to a server was lost during COMMIT
		err := commit()
		if err == nil && p == dialect.Replay && armed.CompareAndSwap(true, false) {
			struck.Store(true)
			return errors.New("the connection was lost during the commit")
		}
		return err
	}
	late.Commit.Store(&commit)
	o := s.Opts["a"]
	o.Dialect = late
	s.Opts["a"] = o
	for i := range 5 {
		s.Cut("a")
		s.Restart("a")
		s.Exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i))
		armed.Store(true)
		s.Heal("a")
		require.Eventually(t, struck.Load, testcluster.Patience, testcluster.Patience/20000)
		s.Exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i+1))
		s.Exchange("a")
		struck.Store(false)
	}
	s.Same("t")
	require.Equal(t, "[10]", s.Rows("master", "SELECT COUNT(*) FROM t"))
}
