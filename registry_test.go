package ddb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/transport/fault"
)

// Keys are handed out as without ddb until the first snap comes, and never meet from then on, even
// when a replica becomes the master that neither snap has told anything of its pending rows.
func TestRegistrySurvivesPromotion(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.AutoKey()+", v VARCHAR(20))")
		insert := func(id string) int64 {
			last, err := s.Exec(id, "INSERT INTO k (v) VALUES (?)", id).LastInsertId()
			require.NoError(t, err)
			return last
		}
		require.Equal(t, []int64{1, 2, 3}, []int64{insert("master"), insert("master"), insert("master")})
		s.Links["r"] = fault.New(s.Net)
		require.NoError(t, s.Open("r", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.Links["r"]}).WaitReady(s.Ctx))
		s.Snap("a", ddb.Options{})
		s.Snap("b", ddb.Options{})
		insert("master")
		s.Exchange("a", "b")
		s.Cut("a", "b")
		insert("a")
		insert("b")
		require.NoError(t, testcluster.WaitLSN(s.Ctx, s.Nodes["r"], s.Nodes["master"]))

		for _, id := range []string{"master", "r"} {
			require.NoError(t, s.Nodes[id].Close())
			delete(s.Nodes, id)
		}
		s.Open("r", ddb.Options{Listen: "master", Transport: s.Net})
		require.Equal(t, map[string]ddb.State{"r": ddb.Active, "a": ddb.Inactive, "b": ddb.Inactive}, s.States("r"))
		insert("r")
		s.Snap("c", ddb.Options{}) // must not get a number that one of the absent has
		insert("c")
		s.Heal("b")
		s.Heal("a")
		s.Nodes["master"] = s.Nodes["r"] // for exchange
		s.Exchange("b", "a", "c")
		delete(s.Nodes, "master")
		require.Empty(t, s.Conflicts("r"))
		require.Equal(t, `[8]`, s.Rows("r", "SELECT COUNT(*) FROM k"))
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, s.Rows("r", "SELECT * FROM k"), s.Rows(id, "SELECT * FROM k"))
		}
	})
}

// The master lists a follower that has not come back since its start, until it is told to forget it.
func TestForget(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 2)
	require.ErrorIs(t, f.Master.Forget(f.Ctx, "r1"), ddb.ErrBusy)
	require.ErrorIs(t, f.Master.Forget(f.Ctx, "nobody"), ddb.ErrOptions)
	require.ErrorIs(t, f.Replicas[0].Forget(f.Ctx, "r2"), ddb.ErrNotMaster)
	f.Replicas[0].Stop()
	f.Master.Stop()
	f.OpenMaster()
	require.NoError(t, f.Replicas[1].WaitReady(f.Ctx))
	known := func() (ids []string) {
		for _, n := range f.Master.Nodes() {
			ids = append(ids, n.ID)
		}
		return ids
	}
	require.Equal(t, []string{"master", "r1", "r2"}, known())
	gone := f.Master.Nodes()[1]
	require.Equal(t, ddb.PendingUnknown, gone.Pending, "nothing is known of a node that has not come back")
	require.Equal(t, ddb.LagUnknown, gone.Lag)
	require.NoError(t, f.Master.Forget(f.Ctx, "r1"))
	require.Equal(t, []string{"master", "r2"}, known())
	f.Master.Stop()
	f.OpenMaster()
	require.Equal(t, []string{"master", "r2"}, known())
	f.OpenReplica(f.Replicas[0])
	f.Level()
	require.Equal(t, []string{"master", "r1", "r2"}, known())
}

// A replica that becomes the master under another name does not miss itself, and neither does who is promoted next.
func TestPromotedUnderAnotherName(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 2)
		f.Master.Stop()
		f.Replicas[0].Stop()
		promoted := f.Replicas[0]
		require.NoError(t, f.Open(promoted, func(o *ddb.Options) { o.ID, o.Listen, o.Transport = "master", "master", f.Net }))
		waitFor(t, promoted.Cluster, "r2", isActive)
		known := func() (ids []string) {
			for _, n := range promoted.Nodes() {
				ids = append(ids, n.ID)
			}
			return ids
		}
		require.Equal(t, []string{"master", "r2"}, known())
		promoted.Stop()
		require.NoError(t, f.Open(promoted, func(o *ddb.Options) { o.ID, o.Listen, o.Transport = "master", "master", f.Net }))
		require.Equal(t, []string{"master", "r2"}, known())
	})
}

// A follower that was forgotten and comes back serves the master's reads again.
func TestForgottenServesAgain(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	f.Level()
	read := func() error {
		var n int
		return f.Master.QueryRowContext(ddb.WithNode(f.Ctx, "r1"), "SELECT COUNT(*) FROM t").Scan(&n)
	}
	require.Eventually(t, func() bool { return read() == nil }, testcluster.Patience, time.Millisecond)
	f.Replicas[0].Stop()
	require.Eventually(t, func() bool { return f.Master.Forget(f.Ctx, "r1") == nil }, testcluster.Patience, time.Millisecond)
	f.OpenReplica(f.Replicas[0])
	require.Eventually(t, func() bool { return read() == nil }, testcluster.Patience, time.Millisecond)
}

// More snaps than there are ranges of keys may come and go: the range of one that was forgotten goes to another, which
// begins above what stands there, and no two rows ever get the same key.
func TestNumbersComeBack(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		const ranges, lives, rows = 3, 9, 3
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.AutoKey()+", v VARCHAR(20))")
		require.NoError(t, ddb.LimitNumbers(s.Ctx, s.Nodes["master"], ranges))
		numbers := make(map[int64]int)
		for i := range lives {
			id := fmt.Sprint("s", i)
			c := s.Snap(id, ddb.Options{})
			numbers[ddb.Number(c)]++
			s.Cut(id) // what it writes right after its first copy has keys of its own
			for range rows {
				s.Exec(id, "INSERT INTO k (v) VALUES (?)", id)
			}
			s.Exec("master", "INSERT INTO k (v) VALUES ('master')")
			s.Heal(id)
			s.Exchange(id)
			require.NoError(t, c.Close())
			delete(s.Nodes, id)
			require.Eventually(t, func() bool { return s.Nodes["master"].Forget(s.Ctx, id) == nil }, testcluster.Patience, time.Millisecond)
		}
		require.Len(t, numbers, ranges)
		require.Empty(t, s.Conflicts("master"))
		require.Equal(t, fmt.Sprintf("[%d]", lives*(rows+1)), s.Rows("master", "SELECT COUNT(*) FROM k"))
	})
}

// A snap that was forgotten and whose range is another's by now comes back: what it had not handed over is taken or kept as a
// conflict, and what it writes from then on has a range of its own.
func TestForgottenSnapComesBack(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.AutoKey()+", v VARCHAR(20))", "old")
		was := ddb.Number(s.Nodes["old"])
		s.Exec("old", "INSERT INTO k (v) VALUES ('old')")
		s.Exchange("old")
		s.Cut("old")
		s.Exec("old", "INSERT INTO k (v) VALUES ('old, away')")
		require.Eventually(t, func() bool { return s.Nodes["master"].Forget(s.Ctx, "old") == nil }, testcluster.Patience, time.Millisecond)
		require.NoError(t, ddb.LimitNumbers(s.Ctx, s.Nodes["master"], 1))
		heir := s.Snap("heir", ddb.Options{})
		require.Equal(t, was, ddb.Number(heir))
		s.Exec("heir", "INSERT INTO k (v) VALUES ('heir')")
		s.Exchange("heir")
		require.NoError(t, ddb.LimitNumbers(s.Ctx, s.Nodes["master"], 2))
		s.Heal("old")
		require.Eventually(t, func() bool { return ddb.Number(s.Nodes["old"]) != was }, testcluster.Patience, time.Millisecond)
		s.Exec("old", "INSERT INTO k (v) VALUES ('old, back')")
		s.Exchange("old", "heir")
		s.Same("k")
		conflicts := s.Conflicts("master")
		require.Len(t, conflicts, 1)
		require.Contains(t, conflicts[0].Local, "old, away")
		require.Equal(t, `[3]`, s.Rows("master", "SELECT COUNT(*) FROM k"))
	})
}

// On MariaDB there are 254 ranges. A cluster has had more snaps than that when the others have been forgotten; while a
// conflict of one's is open, its range stays its own.
func TestNumbersOfManySnaps(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema)
		m := s.Nodes["master"]
		require.NoError(t, ddb.LimitNumbers(s.Ctx, m, 254))
		_, err := s.DBs["master"].Exec("INSERT INTO " + ddb.OwnTable(m, "conflicts") + " (id, origin, state) VALUES ('x', 's0', 'open')")
		require.NoError(t, err)
		have := make(map[int64]string)
		for i := range 254 {
			number, err := ddb.RegisterSnap(s.Ctx, m, fmt.Sprint("s", i))
			require.NoError(t, err)
			require.Empty(t, have[number])
			have[number] = fmt.Sprint("s", i)
		}
		_, err = ddb.RegisterSnap(s.Ctx, m, "one too many")
		wantError(t, err, ddb.ErrOptions, "254", "Forget")
		for i := range 60 {
			require.NoError(t, m.Forget(s.Ctx, fmt.Sprint("s", i)))
		}
		for i := range 59 {
			number, err := ddb.RegisterSnap(s.Ctx, m, fmt.Sprint("t", i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("s", i+1), have[number], "the one that has rested longest")
		}
		_, err = ddb.RegisterSnap(s.Ctx, m, "one too many")
		require.ErrorIs(t, err, ddb.ErrOptions)
		number, err := ddb.RegisterSnap(s.Ctx, m, "s0") // is back itself
		require.NoError(t, err)
		require.Equal(t, "s0", have[number])
	})
}
