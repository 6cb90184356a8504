package ddb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/fault"
)

// A replica that becomes the master knows which batches of snaps it has, from entries or from its snapshot: new ones are
// taken, and one that the old master had accepted counts once.
func TestSnapFailover(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for _, late := range []bool{false, true} {
			s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema)
			if !late {
				s.Replica("r")
			}
			s.Snap("a", ddb.Options{})
			s.Exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
			s.Exchange("a")
			if late {
				s.Replica("r")
			}
			s.Exec("a", "UPDATE p SET w = w + 1 WHERE id = 1")
			s.WaitFor("[1]", "SELECT w FROM p WHERE id = 1")
			s.Cut("a") // perhaps before it hears of it
			s.Exec("master", "INSERT INTO p VALUES (7, 7, '', 0)")
			require.NoError(t, testcluster.WaitLSN(s.Ctx, s.Nodes["r"], s.Nodes["master"]))
			s.Promote("r")
			s.Heal("a")
			s.Exec("a", "INSERT INTO p VALUES (2, 2, 'next', 0)")
			s.Exchange("a")
			s.Same("p")
			require.Empty(t, s.Conflicts("master"))
			require.Equal(t, "[1]", s.Rows("master", "SELECT w FROM p WHERE id = 1"))
		}
	})
}

// Batches that only the old master had accepted are lost with it. The snap takes a new snapshot, and what waits in
// its queue, which begins behind them, is taken.
func TestSnapFailoverBehind(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for _, pending := range []bool{false, true} {
			s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema)
			s.Replica("r")
			s.Snap("a", ddb.Options{})
			s.Cut("r")
			s.Exec("a", "INSERT INTO p VALUES (1, 1, 'lost', 0)")
			s.Exec("a", "INSERT INTO p VALUES (2, 2, 'lost', 0)")
			s.Exchange("a")
			s.Cut("a")
			if pending {
				s.Exec("a", "INSERT INTO p VALUES (3, 3, 'pending', 0)")
			}
			s.Promote("r")
			require.NoError(t, s.Nodes["a"].Close())
			o := s.Opts["a"]
			o.Rejoin = true
			s.Heal("a")
			require.NoError(t, s.Open("a", o).WaitReady(s.Ctx))
			s.Exec("a", "INSERT INTO p VALUES (4, 4, 'new', 0)")
			s.Exchange("a")
			s.Same("p")
			want := `[4,4,"new",0]`
			if pending {
				want = `[3,3,"pending",0]` + "\n" + want
			}
			require.Equal(t, want, s.Rows("master", "SELECT * FROM p"))
		}
	})
}

// A second machine is given a snap's id while the first is away with a pending batch: neither's batches count for the other's.
func TestSnapSameID(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		s.Exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "INSERT INTO p VALUES (2, 2, 'first', 0)")
		s.DBs["second"], s.Links["second"] = e.Open(t).DB, fault.New(s.Net)
		o := s.Opts["a"]
		o.Transport = s.Links["second"]
		second, err := ddb.Open(s.Ctx, s.DBs["second"], o)
		require.NoError(t, err)
		s.Nodes["second"] = second
		require.NoError(t, second.WaitReady(s.Ctx))
		s.Exec("second", "INSERT INTO p VALUES (3, 3, 'second', 0)")
		s.Exchange("second")
		require.NoError(t, second.Close())
		delete(s.Nodes, "second")
		s.Heal("a")
		s.Exec("a", "INSERT INTO p VALUES (4, 4, 'first', 0)")
		s.Exchange("a")
		s.Same("p")
		require.Equal(t, "[4]", s.Rows("master", "SELECT COUNT(*) FROM p"))
	})
}

// A pass right before batches are committed and another right after, before the settler knows: the entry that has the
// rows of a refused batch lists it too, or the snap would keep its own row for ever.
func TestSnapSettlePasses(t *testing.T) {
	d := &testcluster.HookDialect{Dialect: mysql.Dialect{}}
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{Dialect: d}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
	pass := func() {
		if err := ddb.Pass(s.Ctx, s.Nodes["master"]); err != nil {
			t.Error(err)
		}
	}
	around := func(_ context.Context, p dialect.Purpose, commit func() error) error {
		if p == dialect.Batch {
			pass()
			defer pass()
		}
		return commit()
	}
	d.Commit.Store(&around)
	s.Heal("a")
	s.Exchange("a")
	d.Commit.Store(nil)
	s.Same("p")
	require.Len(t, s.Conflicts("a"), 1)
}

// An error of the master's commit that passes refuses no batch, and stops no snap: the commit is tried again.
func TestSnapCommitFails(t *testing.T) {
	for _, stands := range []bool{false, true} { // the commit that fails for its caller
		d := &testcluster.HookDialect{Dialect: mysql.Dialect{}}
		s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{Dialect: d}, testcluster.PairSchema, "a")
		s.Exec("a", "INSERT INTO p VALUES (1, 1, 'before', 0)")
		s.Exchange("a")
		var left atomic.Int64
		left.Store(3)
		fail := func(_ context.Context, p dialect.Purpose, do func() error) error {
			if p != dialect.Batch || left.Add(-1) < 0 {
				return do()
			}
			if stands {
				do()
			}
			return errors.New("a passing error")
		}
		d.Commit.Store(&fail)
		s.Exec("a", "INSERT INTO p VALUES (2, 2, 'snap', 0)")
		require.Eventually(t, func() bool {
			require.NotEqual(t, ddb.Failed, s.Nodes["a"].Nodes()[0].State, s.Nodes["a"].Nodes()[0].Reason)
			return left.Load() < 0 && s.Rows("master", "SELECT v FROM p WHERE id = 2") == `["snap"]`
		}, testcluster.Patience, 5*time.Millisecond)
		s.Exchange("a")
		s.Same("p")
		require.Empty(t, s.Conflicts("master"))
	}
}

// Nor does a journal of the program's own that fails once.
func TestSnapJournalFails(t *testing.T) {
	_, db := testdb.SQLite(t)
	j := &otherJournal{Journal: ddb.DefaultJournal(t, db, sqlite.Dialect{})}
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Journal: j}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
	j.fail.Store(1)
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
	require.Empty(t, s.Conflicts("master"))
	require.LessOrEqual(t, j.fail.Load(), int32(0))
}

// pickyJournal never takes rows of which one holds a word. The conflict that such a row becomes has it in quotes.
type pickyJournal struct{ ddb.Journal }

func (j pickyJournal) Append(ctx context.Context, parts ...ddb.Part) error {
	for _, p := range parts {
		if bytes.Contains(p.Payload, []byte("poison")) && !bytes.Contains(p.Payload, []byte(`"poison"`)) {
			return errBrittle
		}
	}
	return j.Journal.Append(ctx, parts...)
}

// A batch that always makes the commit fail is found among others, whichever place it has, and takes none with it.
func TestSnapCommitNeverWorks(t *testing.T) {
	undo := ddb.SetCommitPatience(200 * time.Millisecond)
	t.Cleanup(undo)
	_, db := testdb.SQLite(t)
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Journal: pickyJournal{ddb.DefaultJournal(t, db, sqlite.Dialect{})}}, testcluster.PairSchema, "a")
	s.Cut("a")
	for i, v := range []string{"fine", "fine", "poison", "fine"} {
		s.Exec("a", "INSERT INTO p VALUES (?, ?, ?, 0)", i, i, v)
	}
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
	require.Equal(t, "[0]\n[1]\n[3]", s.Rows("master", "SELECT id FROM p ORDER BY id"))
	require.Len(t, s.Conflicts("master"), 1)
}

// The stamps of newest wins do not grow without end.
func TestStampsAreBounded(t *testing.T) {
	t.Cleanup(ddb.SetMaxStamps(20)) // runs when the master is closed
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.NewestWins}}, testcluster.PairSchema, "a")
	for i := range 100 {
		s.Exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", i, i))
		if i%5 == 0 {
			s.Exchange("a")
		}
	}
	s.Exchange("a")
	var n int
	require.NoError(t, s.DBs["master"].QueryRow("SELECT COUNT(*) FROM _ddb_meta WHERE k LIKE 'stamp:%'").Scan(&n))
	require.Positive(t, n)
	require.LessOrEqual(t, n, 40)
}

// A snap that was away for longer than the journal reaches takes a new snapshot and keeps its pending batches.
func TestSnapAwayTooLong(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		s.Exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0), (2, 20, 'two', 0)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "INSERT INTO p VALUES (50, 50, 'pending', 0)")
		s.Exec("a", "UPDATE p SET v = 'lost' WHERE id = 1")
		s.Exec("master", "UPDATE p SET v = 'master' WHERE id = 1")
		s.Exec("master", "DELETE FROM p WHERE id = 2")
		require.NoError(t, ddb.ForgetJournal(s.Ctx, s.Nodes["master"]))
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
		require.Equal(t, "[1,10,\"master\",0]\n[50,50,\"pending\",0]", s.Rows("a", "SELECT * FROM p"))
		require.Len(t, s.Conflicts("a"), 1)
		s.Exec("a", "UPDATE p SET v = 'again' WHERE id = 50")
		s.Exchange("a")
		s.Same("p")
	})
}
