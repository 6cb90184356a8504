package ddb_test

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A table that another client empties or replaces by one of the same definition is shipped anew.
func TestTableReplacedByAnother(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO t VALUES (1, 1), (2, 2)")
		f.Level()
		f.Bypass("DROP TABLE t", "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO t VALUES (2, 5), (3, 3)")
		f.Level()
		if engine == "mariadb" {
			f.Bypass("TRUNCATE t")
			f.Level()
		}
	})
}

// A transaction that the database has given up takes no more statements, and its commit fails; the master goes on.
func TestTransactionGivenUp(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO t VALUES (1, 1)")
	tx, err := f.Master.BeginTx(f.Ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES (2, 2)")
	require.NoError(t, err)
	_, err = tx.Exec("INSERT OR ROLLBACK INTO t VALUES (1, 9)")
	require.Error(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES (3, 3)")
	require.Error(t, err)
	require.Error(t, tx.Commit())
	f.Do("INSERT INTO t VALUES (4, 4)")
	f.Level()
	require.Equal(t, "1,4", f.One(f.Master, "SELECT group_concat(id) FROM t"))
}

// A text cannot end the transaction in which the writer runs it together with others.
func TestTextEndsTransaction(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER)")
	_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t (v) VALUES (1); COMMIT")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	tx, err := f.Master.BeginTx(f.Ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("SAVEPOINT a; INSERT INTO t (v) VALUES (1); ROLLBACK TO a")
	require.NoError(t, err)
	_, err = tx.Exec("COMMIT")
	require.Error(t, err)
	require.NoError(t, tx.Commit())
	f.Do("INSERT INTO t (v) VALUES (2)")
	f.Level()
	require.Equal(t, "1", f.One(f.Master, "SELECT count(*) FROM t"))
}

// brittle is MariaDB's dialect with an engine that fails when it is told to.
type brittle struct {
	mysql.Dialect
	install, commit *atomic.Int32 // how many calls fail
	replay          *atomic.Int32 // the call to fail, counted down
}

type brittleEngine struct {
	dialect.Engine
	b brittle
}

var errBrittle = errors.New("the test says no")

func (b brittle) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := b.Dialect.Bind(ctx, db, cfg)
	return brittleEngine{e, b}, err
}

func (e brittleEngine) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	if e.b.install.Add(-1) >= 0 {
		return errBrittle
	}
	return e.Engine.InstallCapture(ctx, q, tables, mode)
}

// Commit commits, and then says that it has not.
func (e brittleEngine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	err := e.Engine.Commit(ctx, c, p)
	if err == nil && p == dialect.Pass && e.b.commit.Add(-1) >= 0 || err == nil && p == dialect.Replay && e.b.replay.Add(-1) == 0 {
		return errBrittle
	}
	return err
}

func newBrittle(t *testing.T) (*testcluster.Fixture, brittle) {
	b := brittle{install: new(atomic.Int32), commit: new(atomic.Int32), replay: new(atomic.Int32)}
	f := testcluster.NewFixture(t, "mariadb", 1)
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.Dialect = b
		}
	}
	f.OpenAll()
	return f, b
}

// An entry whose commit was taken for failed is shipped, and the next one follows it.
func TestCommitOfUnknownOutcome(t *testing.T) {
	f, b := newBrittle(t)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO t VALUES (1, 1)")
	f.Level()
	b.commit.Store(1)
	f.Do("INSERT INTO t VALUES (2, 2)")
	f.Level()
	require.LessOrEqual(t, b.commit.Load(), int32(0))
	f.Do("INSERT INTO t VALUES (3, 3)")
	f.Level()
}

// A replica takes up its work wherever in a snapshot a commit of its own was taken for failed.
func TestReplicaCommitOfUnknownOutcome(t *testing.T) {
	f, b := newBrittle(t)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO t VALUES (1, 1)")
	f.Level()
	r := f.Replicas[0]
	tune := f.Tune
	f.Tune = func(o *ddb.Options) {
		tune(o)
		o.Dialect, o.Rejoin = b, true
	}
	for n := int32(1); ; n++ {
		f.Do("UPDATE t SET v = v + 1")
		r.Stop()
		require.NoError(t, ddb.Detach(f.Ctx, r.Raw, ddb.Options{ID: r.ID, Role: ddb.Replica}))
		b.replay.Store(n)
		f.OpenReplica(r)
		f.Level()
		if b.replay.Load() > 0 {
			require.Greater(t, n, int32(3))
			return // there were fewer commits
		}
	}
}

// A schema statement that has run, but failed before its table was captured, is made good.
func TestSchemaStatementCutShort(t *testing.T) {
	f, b := newBrittle(t)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)")
	f.Level()
	b.install.Store(1)
	_, err := f.Master.ExecContext(f.Ctx, "CREATE TABLE u (id INTEGER PRIMARY KEY, v INTEGER)")
	require.ErrorIs(t, err, errBrittle)
	f.Do("INSERT INTO u VALUES (1, 1)")
	f.Level()
	f.Do("INSERT INTO u VALUES (2, 2)")
	f.Level()
}

// A temporary table lives on one connection got from Conn.
func TestTemporaryTable(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 0)
		c, err := f.Master.Conn(f.Ctx)
		require.NoError(t, err)
		defer c.Close()
		for _, s := range []string{"CREATE TEMPORARY TABLE x (id INTEGER PRIMARY KEY)", "INSERT INTO x VALUES (1)"} {
			_, err = c.ExecContext(f.Ctx, s)
			require.NoError(t, err, s)
		}
		var n int
		require.NoError(t, c.QueryRowContext(f.Ctx, "SELECT count(*) FROM x").Scan(&n))
		require.Equal(t, 1, n)
	})
}

// Rows that are read to their end give back what they hold, as those of database/sql do, though nobody closes them.
func TestRowsReadToTheirEnd(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 0)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
		for i, query := range []string{"SELECT id FROM t", "INSERT INTO t VALUES (1) RETURNING id", "SELECT id FROM t"} {
			rows, err := f.Master.DB().QueryContext(f.Ctx, query)
			require.NoError(t, err)
			n := 0
			for rows.Next() {
				n++
			}
			require.NoError(t, rows.Err())
			require.Equal(t, min(i, 1), n, query)
			require.Zero(t, f.Master.DB().Stats().InUse, query)
		}
	})
}
