package ddb_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// plainDialect is another dialect under a name of its own, without what that and its engines are able to do besides.
type plainDialect struct{ dialect.Dialect }

func (plainDialect) Name() string { return "third" }

func (d plainDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := d.Dialect.Bind(ctx, db, cfg)
	return struct{ dialect.Engine }{e}, err
}

// plainly are the dialects of the engines of tests.
var plainly = map[string]dialect.Dialect{"mariadb": plainDialect{mysql.Dialect{}}, "sqlite": plainDialect{sqlite.Dialect{}}}

// What ddb promises without a word about abilities holds on a dialect that has none.
func TestDialectWithoutAbilities(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.Tune = func(o *ddb.Options) { o.Dialect = plainly[string(engine)] }
		f.OpenAll()
		f.Do("CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
			"CREATE VIEW seen AS SELECT id FROM p", "INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO c VALUES (1, 1), (2, 2)")
		for i := range 20 {
			_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO p VALUES (?, ?)", 10+i, "again")
			require.NoError(t, err)
		}
		f.Do("DELETE FROM p WHERE id = 1", "ALTER TABLE p ADD COLUMN w INTEGER")
		f.Level()
		// A transaction of the program's, on a node that hands it on to the master.
		tx, err := f.Replicas[0].BeginTx(f.Ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(f.Ctx, "UPDATE p SET w = id")
		require.NoError(t, err)
		var n int
		require.NoError(t, tx.QueryRowContext(f.Ctx, "SELECT count(*) FROM c").Scan(&n))
		require.Equal(t, 1, n)
		require.NoError(t, tx.Commit())
		_, err = f.Master.ExecContext(f.Ctx, "INSERT INTO c VALUES (3, 99)")
		require.Error(t, err)
		_, err = f.Master.ExecContext(f.Ctx, "INSERT INTO missing VALUES (1)")
		require.Error(t, err)
		f.Level()
		// What asks for an ability has what there is without it.
		ctx, cancel := context.WithCancel(ddb.WithKill(ddb.WithMaxBytes(f.Ctx, 1<<20)))
		require.NoError(t, f.Replicas[1].QueryRowContext(ctx, "SELECT sum(w) FROM p").Scan(&n))
		require.Equal(t, 2+20*10+190, n)
		cancel()
		// A follower that was away, one that begins anew, and the master opened again.
		f.Replicas[1].Stop()
		f.Do("INSERT INTO p (id, v) VALUES (3, 'meanwhile')")
		f.Master.Stop()
		f.OpenMaster()
		f.OpenReplica(f.Replicas[1])
		late := f.NewNode("r3")
		f.Replicas = append(f.Replicas, late)
		f.OpenReplica(late)
		f.Do("DROP VIEW seen", "UPDATE p SET v = 'late' WHERE id = 3")
		f.Level()
		// A snap writes by itself, where one writer at a time is all there is; among many it could not tell whose a change is.
		snap := f.NewNode("s1")
		err = f.Open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" })
		if engine == "mariadb" {
			require.ErrorIs(t, err, ddb.ErrOptions)
			return
		}
		require.NoError(t, err)
		require.NoError(t, snap.WaitReady(f.Ctx))
		_, err = snap.ExecContext(f.Ctx, "INSERT INTO p (v) VALUES ('from the snap')")
		require.NoError(t, err)
		_, err = snap.ExecContext(f.Ctx, "UPDATE p SET v = 'changed' WHERE id = 2")
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return f.One(f.Master, "SELECT count(*) FROM p WHERE v IN ('from the snap', 'changed')") == "2"
		}, testcluster.Patience, 10*time.Millisecond)
		f.Level()
	})
}
