package histories_test

import (
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/testdb"
)

// crashImage opens a copy of a SQLite database as a crash of its process would leave it, whatever goes on in it: the file
// and then its log (https://sqlite.org/wal.html). A reader keeps the log from starting anew meanwhile, so that all that
// a checkpoint has moved into the file stands in the log too; recovery ends at a frame that is not whole. What was committed
// before the call is there, what comes during it may be.
func crashImage(t testing.TB, db *sql.DB) *sql.DB {
	t.Helper()
	ctx := context.Background()
	c, err := db.Conn(ctx)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.ExecContext(ctx, "BEGIN")
	require.NoError(t, err)
	defer c.ExecContext(ctx, "ROLLBACK")
	var path string
	require.NoError(t, c.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path))
	var tables int
	require.NoError(t, c.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)) // takes the reader's lock
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, part := range []string{"", "-wal"} {
		copyFile(t, path+part, to+part)
	}
	return testdb.OpenSQLite(t, to)
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// A crash image made while a database is written holds what was committed before, whole transactions only, and is sound.
func TestCrashImage(t *testing.T) {
	_, db := testdb.SQLite(t)
	_, err := db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, pad BLOB); PRAGMA wal_autocheckpoint = 20")
	require.NoError(t, err)
	for range 20 {
		progress, stopped := make(chan int, 1000), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(progress)
			for ctx.Err() == nil {
				res, err := db.Exec("INSERT INTO t (pad) VALUES (randomblob(3000)), (NULL)")
				if err != nil {
					stopped <- err
					return
				}
				id, _ := res.LastInsertId()
				select {
				case progress <- int(id):
				default:
				}
			}
		}()
		<-progress
		last := <-progress
		for len(progress) > 0 {
			last = <-progress
		}
		image := crashImage(t, db)
		cancel()
		for range progress {
		}
		require.Empty(t, stopped)
		var sound string
		require.NoError(t, image.QueryRow("PRAGMA integrity_check").Scan(&sound))
		require.Equal(t, "ok", sound)
		var highest int
		require.NoError(t, image.QueryRow("SELECT max(id) FROM t").Scan(&highest))
		require.GreaterOrEqual(t, highest, last)
		require.Zero(t, highest%2, "half a transaction")
	}
}
