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
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 2)
		f.tune = func(o *ddb.Options) { o.Dialect = plainly[engine] }
		f.openAll()
		f.do("CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
			"CREATE VIEW seen AS SELECT id FROM p", "INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO c VALUES (1, 1), (2, 2)")
		for i := range 20 {
			_, err := f.m.ExecContext(f.ctx, "INSERT INTO p VALUES (?, ?)", 10+i, "again")
			require.NoError(t, err)
		}
		f.do("DELETE FROM p WHERE id = 1", "ALTER TABLE p ADD COLUMN w INTEGER")
		f.level()
		// A transaction of the program's, on a node that hands it on to the master.
		tx, err := f.replicas[0].BeginTx(f.ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(f.ctx, "UPDATE p SET w = id")
		require.NoError(t, err)
		var n int
		require.NoError(t, tx.QueryRowContext(f.ctx, "SELECT count(*) FROM c").Scan(&n))
		require.Equal(t, 1, n)
		require.NoError(t, tx.Commit())
		_, err = f.m.ExecContext(f.ctx, "INSERT INTO c VALUES (3, 99)")
		require.Error(t, err)
		_, err = f.m.ExecContext(f.ctx, "INSERT INTO missing VALUES (1)")
		require.Error(t, err)
		f.level()
		// What asks for an ability has what there is without it.
		ctx, cancel := context.WithCancel(ddb.WithKill(ddb.WithMaxBytes(f.ctx, 1<<20)))
		require.NoError(t, f.replicas[1].QueryRowContext(ctx, "SELECT sum(w) FROM p").Scan(&n))
		require.Equal(t, 2+20*10+190, n)
		cancel()
		// A follower that was away, one that begins anew, and the master opened again.
		f.replicas[1].close()
		f.do("INSERT INTO p (id, v) VALUES (3, 'meanwhile')")
		f.m.close()
		f.openMaster()
		f.openReplica(f.replicas[1])
		late := f.newNode("r3")
		f.replicas = append(f.replicas, late)
		f.openReplica(late)
		f.do("DROP VIEW seen", "UPDATE p SET v = 'late' WHERE id = 3")
		f.level()
		// A snap writes by itself, where one writer at a time is all there is; among many it could not tell whose a change is.
		snap := f.newNode("s1")
		err = f.open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" })
		if engine == "mariadb" {
			require.ErrorIs(t, err, ddb.ErrOptions)
			return
		}
		require.NoError(t, err)
		require.NoError(t, snap.WaitReady(f.ctx))
		_, err = snap.ExecContext(f.ctx, "INSERT INTO p (v) VALUES ('from the snap')")
		require.NoError(t, err)
		_, err = snap.ExecContext(f.ctx, "UPDATE p SET v = 'changed' WHERE id = 2")
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return f.one(f.m, "SELECT count(*) FROM p WHERE v IN ('from the snap', 'changed')") == "2"
		}, patience, 10*time.Millisecond)
		f.level()
	})
}
