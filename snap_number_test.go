package ddb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlite"
)

// lateDialect is SQLite whose next commit of the purpose Replay takes place but fails for its caller, when armed: so
// it is with a server whose connection is lost during COMMIT.
type lateDialect struct {
	dialect.Dialect
	armed, struck atomic.Bool
}

type lateEngine struct {
	dialect.Engine
	d *lateDialect
}

func (d *lateDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := d.Dialect.Bind(ctx, db, cfg)
	return lateEngine{e, d}, err
}

func (lateEngine) SingleWriter() bool { return true }

func (e lateEngine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	err := e.Engine.Commit(ctx, c, p)
	if err == nil && p == dialect.Replay && e.d.armed.CompareAndSwap(true, false) {
		e.d.struck.Store(true)
		return errors.New("the connection was lost during the commit")
	}
	return err
}

// A commit that gives batches their numbers and fails for its caller may stand all the same: no number is given twice, and
// no batch is dropped for another's.
func TestSnapNumbersUnsure(t *testing.T) {
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{}, "CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "a")
	late := &lateDialect{Dialect: sqlite.Dialect{}}
	o := s.opts["a"]
	o.Dialect = late
	s.opts["a"] = o
	for i := range 5 {
		s.cut("a")
		s.restart("a")
		s.exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i))
		late.armed.Store(true)
		s.heal("a")
		require.Eventually(t, late.struck.Load, testPatience, testPatience/20000)
		s.exec("a", fmt.Sprintf("INSERT INTO t VALUES (%d)", 10*i+1))
		s.exchange("a")
		late.struck.Store(false)
	}
	s.same("t")
	require.Equal(t, "[10]", s.rows("master", "SELECT COUNT(*) FROM t"))
}
