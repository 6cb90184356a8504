package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/transport/inmem"
)

// What a transaction on a connection with a state of its own is given after its end (its context's, or the node's) is refused:
// on the connection below it would be committed by itself.
func TestPinnedTxIsOver(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "m.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	require.NoError(t, err)
	defer db.Close()
	c, err := Open(t.Context(), db, Options{ID: "m", Listen: "m", Transport: inmem.New()})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Exec("CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT)")
	require.NoError(t, err)
	for _, shared := range []bool{false, true} {
		if shared { // as from the first snap on
			_, err := c.m.fleet.Register(t.Context(), "a", Snap, false)
			require.NoError(t, err)
		}
		conn, err := c.Conn(t.Context())
		require.NoError(t, err)
		_, err = conn.ExecContext(t.Context(), "CREATE TEMP TABLE pin (x)")
		require.NoError(t, err)
		require.NoError(t, conn.Raw(func(dc any) error {
			ctx, end := context.WithCancel(t.Context())
			tx, err := dc.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
			require.NoError(t, err)
			exec := dc.(driver.ExecerContext).ExecContext
			_, err = exec(t.Context(), "INSERT INTO k (v) VALUES ('first')", nil)
			require.NoError(t, err)
			end()
			other, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer other.Close()
			_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE; ROLLBACK") // waits until the transaction below is rolled back
			require.NoError(t, err)
			_, err = exec(t.Context(), "INSERT INTO k (v) VALUES ('second')", nil)
			require.ErrorIs(t, err, sql.ErrTxDone)
			_, err = dc.(driver.QueryerContext).QueryContext(t.Context(), "INSERT INTO k (v) VALUES ('third') RETURNING id", nil)
			require.ErrorIs(t, err, sql.ErrTxDone)
			require.Error(t, tx.Commit())
			return nil
		}))
		require.NoError(t, conn.Close())
		var rows int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM k").Scan(&rows))
		require.Zero(t, rows)
	}
}
