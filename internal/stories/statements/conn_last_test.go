package statements_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// LAST_INSERT_ID() and its kin on a Conn tell of that Conn's own writes, however many others write.
func TestConnTellsItsOwnLastKey(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		auto, last, rows := " AUTO_INCREMENT", "LAST_INSERT_ID()", "ROW_COUNT()"
		if engine == "sqlite" {
			auto, last, rows = "", "last_insert_rowid()", "changes()"
		}
		f.Do("CREATE TABLE a (id INTEGER PRIMARY KEY"+auto+", v INT)", "CREATE TABLE b (id INTEGER PRIMARY KEY"+auto+", a INT, v INT)")
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				c, err := []*ddb.Cluster{f.Master.Cluster, f.Replicas[0].Cluster}[w%2].Conn(f.Ctx)
				if !assert.NoError(t, err) {
					return
				}
				defer c.Close()
				for i := range 20 {
					res, err := c.ExecContext(f.Ctx, "INSERT INTO a (v) VALUES (?)", w*1000+i)
					if !assert.NoError(t, err) {
						return
					}
					want, _ := res.LastInsertId()
					var id, n int64
					assert.NoError(t, c.QueryRowContext(f.Ctx, "SELECT "+rows).Scan(&n))
					assert.NoError(t, c.QueryRowContext(f.Ctx, "SELECT "+last+" AS id").Scan(&id))
					assert.Equal(t, want, id)
					assert.EqualValues(t, 1, n)
				}
				if engine == "sqlite" {
					_, err = c.ExecContext(f.Ctx, "INSERT INTO b (a, v) VALUES (last_insert_rowid(), ?)", w)
					assert.ErrorIs(t, err, ddb.ErrNotReplicable)
					return
				}
				_, err = c.ExecContext(f.Ctx, "INSERT INTO b (a, v) VALUES (LAST_INSERT_ID(), ?)", w*1000+19)
				assert.NoError(t, err)
			})
		}
		writers.Wait()
		f.Level()
		require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM b JOIN a ON a.id = b.a WHERE a.v <> b.v"))
		if engine == "sqlite" {
			tx, err := f.Master.Begin()
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO a (v) VALUES (77)")
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO b (a, v) VALUES (last_insert_rowid(), 77)")
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			f.Do("INSERT INTO a (v) VALUES (88); INSERT INTO b (a, v) VALUES (last_insert_rowid(), 88)")
			require.Equal(t, "77,88", fmt.Sprint(f.One(f.Master, "SELECT group_concat(v) FROM (SELECT a.v FROM b JOIN a ON a.id = b.a AND a.v = b.v ORDER BY 1)")))
		}
	})
}

// On SQLite the last key is remembered whatever an INSERT begins with, and none is told that RETURNING has made old.
func TestConnTellsNoOldKey(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 0)
	f.Do("CREATE TABLE a (id INTEGER PRIMARY KEY, v INT)")
	c, err := f.Master.Conn(f.Ctx)
	require.NoError(t, err)
	defer c.Close()
	for _, query := range []string{"INSERT INTO a VALUES (5, 0)", "-- six\nINSERT INTO a VALUES (6, 0)", "WITH x AS (SELECT 7) REPLACE INTO a SELECT *, 0 FROM x", "UPDATE a SET v = 1; INSERT INTO a VALUES (8, 0)"} {
		res, err := c.ExecContext(f.Ctx, query)
		require.NoError(t, err)
		want, _ := res.LastInsertId()
		var id int64
		require.NoError(t, c.QueryRowContext(f.Ctx, "SELECT last_insert_rowid()").Scan(&id))
		require.Equal(t, want, id, query)
	}
	require.NoError(t, c.QueryRowContext(f.Ctx, "INSERT INTO a VALUES (9, 0) RETURNING id").Scan(new(int64)))
	require.ErrorIs(t, c.QueryRowContext(f.Ctx, "SELECT last_insert_rowid()").Scan(new(int64)), ddb.ErrNotReplicable)
}
