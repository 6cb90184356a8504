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
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		journals := make(map[string]*otherJournal)
		for _, n := range []*testNode{f.m, f.replicas[0]} {
			_, db := testdb.SQLite(t)
			journals[n.id] = &otherJournal{Journal: ddb.DefaultJournal(t, db, sqlite.Dialect{})}
		}
		f.tune = func(o *ddb.Options) { o.Journal = journals[o.ID] }
		f.openAll()
		r := f.replicas[0]
		f.do("CREATE TABLE t (id INTEGER PRIMARY KEY, v LONGTEXT)")
		big := "'" + strings.Repeat("x", 700_000) + "'"
		for n := range int32(4) {
			journals[r.id].fail.Store(n) // 0: none fails
			f.tx(fmt.Sprintf("INSERT INTO t (id, v) VALUES (%d, %s), (%d, %s), (%d, %s)", 10*n, big, 10*n+1, big, 10*n+2, big), "DELETE FROM t WHERE id = 11")
			f.do(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d INT DEFAULT %d", n, n), fmt.Sprintf("INSERT INTO t (id) VALUES (%d)", 10*n+5))
			f.level()
			require.LessOrEqual(t, journals[r.id].fail.Load(), int32(0))
		}
		r.close()
		f.m.close()
		f.openMaster()
		f.do("DELETE FROM t WHERE id > 20")
		f.openReplica(r)
		f.level()
		r.close()
		f.do("INSERT INTO t (id) VALUES (100)", "INSERT INTO t (id) VALUES (101)", "DELETE FROM t WHERE id < 20")
		require.NoError(t, journals[f.m.id].Trim(f.ctx, f.m.Position().LSN))
		journals[r.id].fail.Store(1) // the first attempt at the snapshot ends at its end
		f.openReplica(r)
		f.level()
		f.do("INSERT INTO t (id) VALUES (102)")
		f.level()
	})
}
