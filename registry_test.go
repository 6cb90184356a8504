package ddb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport/fault"
)

// states returns the state of each node that a node knows.
func (s *shop) states(id string) map[string]ddb.State {
	m := make(map[string]ddb.State)
	for _, n := range s.nodes[id].Nodes() {
		m[n.ID] = n.State
	}
	return m
}

// Keys are handed out as without ddb until the first snap comes, and never meet from then on, even
// when a replica becomes the master that neither snap has told anything of its pending rows.
func TestRegistrySurvivesPromotion(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.int+", v VARCHAR(20))")
		insert := func(id string) int64 {
			last, err := s.exec(id, "INSERT INTO k (v) VALUES (?)", id).LastInsertId()
			require.NoError(t, err)
			return last
		}
		require.Equal(t, []int64{1, 2, 3}, []int64{insert("master"), insert("master"), insert("master")})
		s.links["r"] = fault.New(s.net)
		require.NoError(t, s.open("r", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.links["r"]}).WaitReady(s.ctx))
		s.snap("a", ddb.Options{})
		s.snap("b", ddb.Options{})
		insert("master")
		s.exchange("a", "b")
		s.cut("a", "b")
		insert("a")
		insert("b")
		require.NoError(t, ddb.WaitLSN(s.ctx, s.nodes["r"], s.nodes["master"]))

		for _, id := range []string{"master", "r"} {
			require.NoError(t, s.nodes[id].Close())
			delete(s.nodes, id)
		}
		s.open("r", ddb.Options{Listen: "master", Transport: s.net})
		require.Equal(t, map[string]ddb.State{"r": ddb.Active, "a": ddb.Inactive, "b": ddb.Inactive}, s.states("r"))
		insert("r")
		s.snap("c", ddb.Options{}) // must not get a number that one of the absent has
		insert("c")
		s.heal("b")
		s.heal("a")
		s.nodes["master"] = s.nodes["r"] // for exchange
		s.exchange("b", "a", "c")
		delete(s.nodes, "master")
		require.Empty(t, s.conflicts("r"))
		require.Equal(t, `[8]`, s.rows("r", "SELECT COUNT(*) FROM k"))
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, s.rows("r", "SELECT * FROM k"), s.rows(id, "SELECT * FROM k"))
		}
	})
}

// The master lists a follower that has not come back since its start, until it is told to forget it.
func TestForget(t *testing.T) {
	f := newCluster(t, "sqlite", 2)
	require.ErrorIs(t, f.m.Forget(f.ctx, "r1"), ddb.ErrBusy)
	require.ErrorIs(t, f.m.Forget(f.ctx, "nobody"), ddb.ErrOptions)
	require.ErrorIs(t, f.replicas[0].Forget(f.ctx, "r2"), ddb.ErrNotMaster)
	f.replicas[0].close()
	f.m.close()
	f.openMaster()
	require.NoError(t, f.replicas[1].WaitReady(f.ctx))
	known := func() (ids []string) {
		for _, n := range f.m.Nodes() {
			ids = append(ids, n.ID)
		}
		return ids
	}
	require.Equal(t, []string{"master", "r1", "r2"}, known())
	gone := f.m.Nodes()[1]
	require.Equal(t, ddb.PendingUnknown, gone.Pending, "nothing is known of a node that has not come back")
	require.Equal(t, ddb.LagUnknown, gone.Lag)
	require.NoError(t, f.m.Forget(f.ctx, "r1"))
	require.Equal(t, []string{"master", "r2"}, known())
	f.m.close()
	f.openMaster()
	require.Equal(t, []string{"master", "r2"}, known())
	f.openReplica(f.replicas[0])
	f.level()
	require.Equal(t, []string{"master", "r1", "r2"}, known())
}

// A replica that becomes the master under another name does not miss itself, and neither does who is promoted next.
func TestPromotedUnderAnotherName(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newCluster(t, engine, 2)
		f.m.close()
		f.replicas[0].close()
		promoted := f.replicas[0]
		require.NoError(t, f.open(promoted, func(o *ddb.Options) { o.ID, o.Listen, o.Transport = "master", "master", f.net }))
		waitFor(t, promoted.Cluster, "r2", isActive)
		known := func() (ids []string) {
			for _, n := range promoted.Nodes() {
				ids = append(ids, n.ID)
			}
			return ids
		}
		require.Equal(t, []string{"master", "r2"}, known())
		promoted.close()
		require.NoError(t, f.open(promoted, func(o *ddb.Options) { o.ID, o.Listen, o.Transport = "master", "master", f.net }))
		require.Equal(t, []string{"master", "r2"}, known())
	})
}

// A follower that was forgotten and comes back serves the master's reads again.
func TestForgottenServesAgain(t *testing.T) {
	f := newCluster(t, "sqlite", 1)
	f.do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	f.level()
	read := func() error {
		var n int
		return f.m.QueryRowContext(ddb.WithNode(f.ctx, "r1"), "SELECT COUNT(*) FROM t").Scan(&n)
	}
	require.Eventually(t, func() bool { return read() == nil }, patience, time.Millisecond)
	f.replicas[0].close()
	require.Eventually(t, func() bool { return f.m.Forget(f.ctx, "r1") == nil }, patience, time.Millisecond)
	f.openReplica(f.replicas[0])
	require.Eventually(t, func() bool { return read() == nil }, patience, time.Millisecond)
}

// More snaps than there are ranges of keys may come and go: the range of one that was forgotten goes to another, which
// begins above what stands there, and no two rows ever get the same key.
func TestNumbersComeBack(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		const ranges, lives, rows = 3, 9, 3
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.int+", v VARCHAR(20))")
		require.NoError(t, ddb.LimitNumbers(s.ctx, s.nodes["master"], ranges))
		numbers := make(map[int64]int)
		for i := range lives {
			id := fmt.Sprint("s", i)
			c := s.snap(id, ddb.Options{})
			numbers[ddb.Number(c)]++
			s.cut(id) // what it writes right after its first copy has keys of its own
			for range rows {
				s.exec(id, "INSERT INTO k (v) VALUES (?)", id)
			}
			s.exec("master", "INSERT INTO k (v) VALUES ('master')")
			s.heal(id)
			s.exchange(id)
			require.NoError(t, c.Close())
			delete(s.nodes, id)
			require.Eventually(t, func() bool { return s.nodes["master"].Forget(s.ctx, id) == nil }, testPatience, time.Millisecond)
		}
		require.Len(t, numbers, ranges)
		require.Empty(t, s.conflicts("master"))
		require.Equal(t, fmt.Sprintf("[%d]", lives*(rows+1)), s.rows("master", "SELECT COUNT(*) FROM k"))
	})
}

// A snap that was forgotten and whose range is another's by now comes back: what it had not handed over is taken or kept as a
// conflict, and what it writes from then on has a range of its own.
func TestForgottenSnapComesBack(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.int+", v VARCHAR(20))", "old")
		was := ddb.Number(s.nodes["old"])
		s.exec("old", "INSERT INTO k (v) VALUES ('old')")
		s.exchange("old")
		s.cut("old")
		s.exec("old", "INSERT INTO k (v) VALUES ('old, away')")
		require.Eventually(t, func() bool { return s.nodes["master"].Forget(s.ctx, "old") == nil }, testPatience, time.Millisecond)
		require.NoError(t, ddb.LimitNumbers(s.ctx, s.nodes["master"], 1))
		heir := s.snap("heir", ddb.Options{})
		require.Equal(t, was, ddb.Number(heir))
		s.exec("heir", "INSERT INTO k (v) VALUES ('heir')")
		s.exchange("heir")
		require.NoError(t, ddb.LimitNumbers(s.ctx, s.nodes["master"], 2))
		s.heal("old")
		require.Eventually(t, func() bool { return ddb.Number(s.nodes["old"]) != was }, testPatience, time.Millisecond)
		s.exec("old", "INSERT INTO k (v) VALUES ('old, back')")
		s.exchange("old", "heir")
		s.same("k")
		conflicts := s.conflicts("master")
		require.Len(t, conflicts, 1)
		require.Contains(t, conflicts[0].Local, "old, away")
		require.Equal(t, `[3]`, s.rows("master", "SELECT COUNT(*) FROM k"))
	})
}

// On MariaDB there are 254 ranges. A cluster has had more snaps than that when the others have been forgotten; while a
// conflict of one's is open, its range stays its own.
func TestNumbersOfManySnaps(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema)
		m := s.nodes["master"]
		require.NoError(t, ddb.LimitNumbers(s.ctx, m, 254))
		_, err := s.dbs["master"].Exec("INSERT INTO " + ddb.OwnTable(m, "conflicts") + " (id, origin, state) VALUES ('x', 's0', 'open')")
		require.NoError(t, err)
		have := make(map[int64]string)
		for i := range 254 {
			number, err := ddb.RegisterSnap(s.ctx, m, fmt.Sprint("s", i))
			require.NoError(t, err)
			require.Empty(t, have[number])
			have[number] = fmt.Sprint("s", i)
		}
		_, err = ddb.RegisterSnap(s.ctx, m, "one too many")
		wantError(t, err, ddb.ErrOptions, "254", "Forget")
		for i := range 60 {
			require.NoError(t, m.Forget(s.ctx, fmt.Sprint("s", i)))
		}
		for i := range 59 {
			number, err := ddb.RegisterSnap(s.ctx, m, fmt.Sprint("t", i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("s", i+1), have[number], "the one that has rested longest")
		}
		_, err = ddb.RegisterSnap(s.ctx, m, "one too many")
		require.ErrorIs(t, err, ddb.ErrOptions)
		number, err := ddb.RegisterSnap(s.ctx, m, "s0") // is back itself
		require.NoError(t, err)
		require.Equal(t, "s0", have[number])
	})
}
