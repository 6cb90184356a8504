package ddb_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/fault"
)

// replica opens a replica and waits until it has its snapshot.
func (s *shop) replica(id string) {
	s.t.Helper()
	s.links[id] = fault.New(s.net)
	c := s.open(id, ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.links[id]})
	require.NoError(s.t, c.WaitReady(s.ctx))
}

// promote makes a replica the master in the place of the one there is, whose database is left.
func (s *shop) promote(id string) {
	s.t.Helper()
	require.NoError(s.t, s.nodes["master"].Close())
	require.NoError(s.t, s.nodes[id].Close())
	delete(s.nodes, id)
	s.dbs["master"] = s.dbs[id]
	o := s.opts["master"]
	o.ID, o.Logger, o.Heartbeat = id, s.log(), 100*time.Millisecond
	m, err := ddb.Open(s.ctx, s.dbs["master"], o)
	require.NoError(s.t, err)
	s.nodes["master"] = m
}

// waitFor waits until the query answers that on the master.
func (s *shop) waitFor(want, query string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.rows("master", query) == want }, testPatience, time.Millisecond, query)
}

// A replica that becomes the master knows which batches of snaps it has, from entries or from its snapshot: new ones are
// taken, and one that the old master had accepted counts once.
func TestSnapFailover(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		for _, late := range []bool{false, true} {
			s := newShop(t, e, ddb.Options{}, pairSchema)
			if !late {
				s.replica("r")
			}
			s.snap("a", ddb.Options{})
			s.exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
			s.exchange("a")
			if late {
				s.replica("r")
			}
			s.exec("a", "UPDATE p SET w = w + 1 WHERE id = 1")
			s.waitFor("[1]", "SELECT w FROM p WHERE id = 1")
			s.cut("a") // perhaps before it hears of it
			s.exec("master", "INSERT INTO p VALUES (7, 7, '', 0)")
			require.NoError(t, ddb.WaitLSN(s.ctx, s.nodes["r"], s.nodes["master"]))
			s.promote("r")
			s.heal("a")
			s.exec("a", "INSERT INTO p VALUES (2, 2, 'next', 0)")
			s.exchange("a")
			s.same("p")
			require.Empty(t, s.conflicts("master"))
			require.Equal(t, "[1]", s.rows("master", "SELECT w FROM p WHERE id = 1"))
		}
	})
}

// Batches that only the old master had accepted are lost with it. The snap takes a new snapshot, and what waits in
// its queue, which begins behind them, is taken.
func TestSnapFailoverBehind(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		for _, pending := range []bool{false, true} {
			s := newShop(t, e, ddb.Options{}, pairSchema)
			s.replica("r")
			s.snap("a", ddb.Options{})
			s.cut("r")
			s.exec("a", "INSERT INTO p VALUES (1, 1, 'lost', 0)")
			s.exec("a", "INSERT INTO p VALUES (2, 2, 'lost', 0)")
			s.exchange("a")
			s.cut("a")
			if pending {
				s.exec("a", "INSERT INTO p VALUES (3, 3, 'pending', 0)")
			}
			s.promote("r")
			require.NoError(t, s.nodes["a"].Close())
			o := s.opts["a"]
			o.Rejoin = true
			s.heal("a")
			require.NoError(t, s.open("a", o).WaitReady(s.ctx))
			s.exec("a", "INSERT INTO p VALUES (4, 4, 'new', 0)")
			s.exchange("a")
			s.same("p")
			want := `[4,4,"new",0]`
			if pending {
				want = `[3,3,"pending",0]` + "\n" + want
			}
			require.Equal(t, want, s.rows("master", "SELECT * FROM p"))
		}
	})
}

// A second machine is given a snap's id while the first is away with a pending batch: neither's batches count for the other's.
func TestSnapSameID(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema, "a")
		s.exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
		s.exchange("a")
		s.cut("a")
		s.exec("a", "INSERT INTO p VALUES (2, 2, 'first', 0)")
		s.dbs["second"], s.links["second"] = e.db(t, "second"), fault.New(s.net)
		o := s.opts["a"]
		o.Transport = s.links["second"]
		second, err := ddb.Open(s.ctx, s.dbs["second"], o)
		require.NoError(t, err)
		s.nodes["second"] = second
		require.NoError(t, second.WaitReady(s.ctx))
		s.exec("second", "INSERT INTO p VALUES (3, 3, 'second', 0)")
		s.exchange("second")
		require.NoError(t, second.Close())
		delete(s.nodes, "second")
		s.heal("a")
		s.exec("a", "INSERT INTO p VALUES (4, 4, 'first', 0)")
		s.exchange("a")
		s.same("p")
		require.Equal(t, "[4]", s.rows("master", "SELECT COUNT(*) FROM p"))
	})
}

// A pass right before batches are committed and another right after, before the settler knows: the entry that has the
// rows of a refused batch lists it too, or the snap would keep its own row for ever.
func TestSnapSettlePasses(t *testing.T) {
	d := &hookDialect{Dialect: mysql.Dialect{}}
	s := newShop(t, mariadbEngine(t), ddb.Options{Dialect: d}, pairSchema, "a")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
	s.exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
	pass := func() {
		if err := ddb.Pass(s.ctx, s.nodes["master"]); err != nil {
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
	d.commit.Store(&around)
	s.heal("a")
	s.exchange("a")
	d.commit.Store(nil)
	s.same("p")
	require.Len(t, s.conflicts("a"), 1)
}

// An error of the master's commit that passes refuses no batch, and stops no snap: the commit is tried again.
func TestSnapCommitFails(t *testing.T) {
	for _, stands := range []bool{false, true} { // the commit that fails for its caller
		d := &hookDialect{Dialect: mysql.Dialect{}}
		s := newShop(t, mariadbEngine(t), ddb.Options{Dialect: d}, pairSchema, "a")
		s.exec("a", "INSERT INTO p VALUES (1, 1, 'before', 0)")
		s.exchange("a")
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
		d.commit.Store(&fail)
		s.exec("a", "INSERT INTO p VALUES (2, 2, 'snap', 0)")
		require.Eventually(t, func() bool {
			require.NotEqual(t, ddb.Failed, s.nodes["a"].Nodes()[0].State, s.nodes["a"].Nodes()[0].Reason)
			return left.Load() < 0 && s.rows("master", "SELECT v FROM p WHERE id = 2") == `["snap"]`
		}, testPatience, testStep)
		s.exchange("a")
		s.same("p")
		require.Empty(t, s.conflicts("master"))
	}
}

// Nor does a journal of the program's own that fails once.
func TestSnapJournalFails(t *testing.T) {
	_, db := testdb.SQLite(t)
	j := &otherJournal{Journal: ddb.DefaultJournal(t, db, sqlite.Dialect{})}
	s := newShop(t, sqliteEngine(t), ddb.Options{Journal: j}, pairSchema, "a")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
	j.fail.Store(1)
	s.heal("a")
	s.exchange("a")
	s.same("p")
	require.Empty(t, s.conflicts("master"))
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
	s := newShop(t, sqliteEngine(t), ddb.Options{Journal: pickyJournal{ddb.DefaultJournal(t, db, sqlite.Dialect{})}}, pairSchema, "a")
	s.cut("a")
	for i, v := range []string{"fine", "fine", "poison", "fine"} {
		s.exec("a", "INSERT INTO p VALUES (?, ?, ?, 0)", i, i, v)
	}
	s.heal("a")
	s.exchange("a")
	s.same("p")
	require.Equal(t, "[0]\n[1]\n[3]", s.rows("master", "SELECT id FROM p ORDER BY id"))
	require.Len(t, s.conflicts("master"), 1)
}
