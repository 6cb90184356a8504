package ddb_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// otherJournal is a journal in a database of its own, which fails when it is told to.
type otherJournal struct {
	ddb.Journal
	fail atomic.Int32 // the call of Append that fails, counted down
}

func (j *otherJournal) Append(ctx context.Context, parts ...ddb.Part) error {
	if j.fail.Add(-1) == 0 {
		return errBrittle
	}
	return j.Journal.Append(ctx, parts...)
}

// A program's own journal, outside the database, serves as well as the default one: entries of many parts, schema
// statements, failures between the rows and the journal, restarts, a snapshot that begins it anew.
func TestJournalElsewhere(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		journals := make(map[string]*otherJournal)
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			_, db := testdb.SQLite(t)
			journals[n.ID] = &otherJournal{Journal: ddb.DefaultJournal(t, db, sqlite.Dialect{})}
		}
		f.Tune = func(o *ddb.Options) { o.Journal = journals[o.ID] }
		f.OpenAll()
		r := f.Replicas[0]
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v LONGTEXT)")
		big := "'" + strings.Repeat("x", 700_000) + "'"
		for n := range int32(4) {
			journals[r.ID].fail.Store(n) // 0: none fails
			f.Tx(fmt.Sprintf("INSERT INTO t (id, v) VALUES (%d, %s), (%d, %s), (%d, %s)", 10*n, big, 10*n+1, big, 10*n+2, big), "DELETE FROM t WHERE id = 11")
			f.Do(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d INT DEFAULT %d", n, n), fmt.Sprintf("INSERT INTO t (id) VALUES (%d)", 10*n+5))
			f.Level()
			require.LessOrEqual(t, journals[r.ID].fail.Load(), int32(0))
		}
		r.Stop()
		f.Master.Stop()
		f.OpenMaster()
		f.Do("DELETE FROM t WHERE id > 20")
		f.OpenReplica(r)
		f.Level()
		r.Stop()
		f.Do("INSERT INTO t (id) VALUES (100)", "INSERT INTO t (id) VALUES (101)", "DELETE FROM t WHERE id < 20")
		require.NoError(t, journals[f.Master.ID].Trim(f.Ctx, f.Master.Position().LSN))
		journals[r.ID].fail.Store(1) // the first attempt at the snapshot ends at its end
		f.OpenReplica(r)
		f.Level()
		f.Do("INSERT INTO t (id) VALUES (102)")
		f.Level()
	})
}
