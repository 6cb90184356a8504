package ddb_test

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
)

// A commit that gives batches their numbers and fails for its caller may stand all the same: no number is given twice, and
// no batch is dropped for another's.
func TestSnapNumbersUnsure(t *testing.T) {
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{}, "CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "a")
	late := &hookDialect{Dialect: sqlite.Dialect{}}
	var armed, struck atomic.Bool
	commit := func(_ context.Context, p dialect.Purpose, commit func() error) error { // as if the connection to a server was lost during COMMIT
		err := commit()
		if err == nil && p == dialect.Replay && armed.CompareAndSwap(true, false) {
			struck.Store(true)
			return errors.New("the connection was lost during the commit")
		}
		return err
	}
	late.commit.Store(&commit)
	o := s.opts["a"]
	o.Dialect = late
	s.opts["a"] = o
	for i := range 5 {
		s.cut("a")
		s.restart("a")
		s.exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i))
		armed.Store(true)
		s.heal("a")
		require.Eventually(t, struck.Load, testPatience, testPatience/20000)
		s.exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i+1))
		s.exchange("a")
		struck.Store(false)
	}
	s.same("t")
	require.Equal(t, "[10]", s.rows("master", "SELECT COUNT(*) FROM t"))
}
