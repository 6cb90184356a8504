package statements_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// A context made by WithKill ends the statement inside the server, however it is run; the Cluster works on afterwards.
func TestKill(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 0)
	f.OpenMaster()
	f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
	server := testdb.SharedMariaDB(t)
	outside, err := ddb.Wrap(f.Ctx, f.Master.Raw, map[string]*sql.DB{"r": server.Open(t, f.Master.Name)}, ddb.PingChecker{}, ddb.Options{})
	require.NoError(t, err)
	defer outside.Close()
	snap := f.NewNode("snap")
	require.NoError(t, f.Open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" }))
	require.NoError(t, snap.WaitReady(f.Ctx))
	clusters := map[string]*ddb.Cluster{"master": f.Master.Cluster, "wrapped": outside, "snap": snap.Cluster}
	drain := func(rows *sql.Rows, err error) error {
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	}
	const long = "BENCHMARK(1000000000000, SHA2('x', 512)) " // which does not notice that its client has gone, as SLEEP does
	ways := map[string]func(ctx context.Context, c *ddb.Cluster, mark string) error{
		"exec": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			_, err := c.ExecContext(ctx, "INSERT INTO t SELECT "+long+mark)
			return err
		},
		"returning": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			return drain(c.QueryContext(ctx, "INSERT INTO t VALUES ("+long+") RETURNING id "+mark))
		},
		"read": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			return drain(c.QueryContext(ctx, "SELECT "+long+mark))
		},
		"row": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			var n int
			return c.QueryRowContext(ctx, "SELECT "+long+mark).Scan(&n)
		},
		"prepared": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			stmt, err := c.PrepareContext(f.Ctx, "SELECT "+long+mark)
			require.NoError(t, err)
			defer stmt.Close()
			return drain(stmt.QueryContext(ctx))
		},
		"transaction": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			tx, err := c.BeginTx(f.Ctx, nil)
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.ExecContext(ctx, "INSERT INTO t SELECT "+long+mark)
			return err
		},
		"read-only transaction": func(ctx context.Context, c *ddb.Cluster, mark string) error {
			tx, err := c.BeginTx(f.Ctx, &sql.TxOptions{ReadOnly: true})
			require.NoError(t, err)
			defer tx.Rollback()
			return drain(tx.QueryContext(ctx, "SELECT "+long+mark))
		},
	}
	for on, c := range clusters {
		for way, run := range ways {
			t.Run(on+"/"+way, func(t *testing.T) {
				mark := fmt.Sprintf("/* %s %s */", on, way)
				running := func() bool {
					var n int
					require.NoError(t, f.Master.Raw.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE ? AND id <> CONNECTION_ID()", "%BENCHMARK%"+mark+"%").Scan(&n))
					return n > 0
				}
				ctx, cancel := context.WithCancel(ddb.WithKill(f.Ctx))
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- run(ctx, c, mark) }()
				require.Eventually(t, running, testcluster.Patience, 5*time.Millisecond)
				cancel()
				require.ErrorIs(t, <-ended, context.Canceled)
				require.Eventually(t, func() bool { return !running() }, testcluster.Patience, 5*time.Millisecond, "the server goes on with it")
				require.NoError(t, c.PingContext(f.Ctx))
				var n int
				require.NoError(t, c.QueryRowContext(f.Ctx, "SELECT COUNT(*) FROM t").Scan(&n))
				require.Zero(t, n)
			})
		}
	}
}
