package conflicts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A policy function that panics refuses the batch, like one that returns an error; the master goes on.
func TestSnapFuncPanics(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.PolicyFunc("f", func(c ddb.Collision) (map[string]any, error) {
			c.Base["v"] = "x" // there is none where both sides insert
			return c.Local, nil
		})}}, testcluster.PairSchema, "a")
		s.Cut("a")
		s.Exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
		s.Exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
		require.Len(t, s.Conflicts("a"), 1)
		require.Contains(t, s.Conflicts("a")[0].Reason, "panicked")
	})
}

// A malformed batch stops the snap that sends it, visibly, and no other.
func TestSnapMalformedBatch(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema, "a", "b")
	s.Exchange("a", "b")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'fine', 0)")
	require.NoError(t, damageBatch(s.DBs["a"]))
	s.Heal("a")
	require.Eventually(t, func() bool {
		for _, n := range s.Nodes["a"].Nodes() {
			if n.ID == "a" && strings.Contains(n.Reason, ddb.ErrDamaged.Error()) {
				return true
			}
		}
		return false
	}, testcluster.Patience, 5*time.Millisecond)
	s.Exec("b", "INSERT INTO p VALUES (2, 2, 'other', 0)")
	s.Exchange("b")
}

// A snap may settle conflicts, whatever else it may do, but neither delete nor rewrite what others have lost.
func TestNodeAccessConflicts(t *testing.T) {
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {}, "reader": {Tables: map[string]ddb.Ops{}}}}, testcluster.PairSchema, "a", "reader")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'lost', 0)")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'won', 0)")
	s.Heal("a")
	s.Exchange("a", "reader")
	for _, query := range []string{"DELETE FROM _ddb_conflicts", "UPDATE _ddb_conflicts SET local = ''"} {
		_, err := s.Nodes["reader"].ExecContext(s.Ctx, query)
		require.ErrorIs(t, err, ddb.ErrNotAllowed)
		_, err = s.DBs["reader"].ExecContext(s.Ctx, query) // as a snap that has been tampered with would
		require.NoError(t, err)
		require.Eventually(t, func() bool { // until the master has touched the row that it did not change
			list := s.Conflicts("reader")
			return len(list) == 1 && strings.Contains(list[0].Local, "lost")
		}, testcluster.Patience, 5*time.Millisecond)
		s.Exchange("reader")
		s.Same("p")
	}
	require.NoError(t, s.Nodes["reader"].DismissConflict(s.Ctx, s.Conflicts("reader")[0].ID))
	s.Exchange("reader")
	require.Empty(t, s.Conflicts("master"))
}

// A value that does not fit a column which the master has narrowed meanwhile is refused and kept, not cut off.
func TestSnapNarrowedColumn(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{}, "CREATE TABLE s (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), n INT)", "a")
	s.Exec("master", "INSERT INTO s VALUES (1, 'one', 1), (2, 'two', 2)")
	s.Exchange("a")
	s.Cut("a")
	s.Exec("a", "UPDATE s SET v = 'a long text' WHERE id = 1")
	s.Exec("a", "UPDATE s SET n = 100000 WHERE id = 2")
	s.Exec("master", "ALTER TABLE s MODIFY v VARCHAR(5), MODIFY n TINYINT")
	s.Heal("a")
	s.Exchange("a")
	s.Same("s")
	require.Equal(t, "[1,\"one\",1]\n[2,\"two\",2]", s.Rows("master", "SELECT * FROM s"))
	require.Len(t, s.Conflicts("a"), 2)
}

// More conflicts than one list holds can all be reached.
func TestConflictsAfter(t *testing.T) {
	const n = 1500
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
	s.Exec("master", "INSERT INTO p VALUES (1, -1, 'one', 0)")
	s.Exchange("a")
	s.Cut("a")
	tx, err := s.Nodes["a"].Begin()
	require.NoError(t, err)
	_, err = tx.Exec("WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO p SELECT i, i, 'snap', 0 FROM n", n+9)
	require.NoError(t, err)
	_, err = tx.Exec("UPDATE p SET v = 'mine' WHERE id = 1")
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	s.Exec("master", "UPDATE p SET v = 'theirs' WHERE id = 1")
	s.Heal("a")
	s.Exchange("a")
	seen := make(map[string]bool)
	for list := s.Conflicts("a"); len(list) > 0; {
		for _, c := range list {
			seen[c.Key] = true
		}
		list, err = s.Nodes["a"].ConflictsAfter(s.Ctx, list[len(list)-1])
		require.NoError(t, err)
	}
	require.Len(t, seen, n+1)
}

// A clock that was decades behind when a batch was made does not fill the queue once it is right.
func TestSnapClockBehind(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'made in 1970', 0)")
	require.NoError(t, s.Nodes["a"].Close())
	_, err := s.DBs["a"].Exec("UPDATE _ddb_batches SET at = 1000000000")
	require.NoError(t, err)
	s.Open("a", s.Opts["a"])
	s.Exec("a", "INSERT INTO p VALUES (2, 2, 'now', 0)")
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
}

// What is written after a clock that was years ahead has been put right gains nothing by it under newest wins.
func TestSnapClockWasAhead(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, testcluster.PairSchema, "a")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
	s.Exchange("a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (3, 3, 'made in 2099', 0)")
	require.NoError(t, s.Nodes["a"].Close())
	_, err := s.DBs["a"].Exec("UPDATE _ddb_batches SET at = ?", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	require.NoError(t, err)
	s.Open("a", s.Opts["a"])
	s.Exec("a", "UPDATE p SET v = 'older' WHERE id = 1")
	s.Exec("master", "UPDATE p SET v = 'newer' WHERE id = 1")
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
	require.Equal(t, `["newer"]`, s.Rows("master", "SELECT v FROM p WHERE id = 1"))
}

// A change that was made after another had been seen is later than that one under newest wins, however far behind the clock
// stood when it was made: what others changed meanwhile loses to it.
func TestSnapClockHears(t *testing.T) {
	for _, behind := range []time.Duration{time.Second, 30 * 365 * 24 * time.Hour} {
		s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, testcluster.PairSchema, "a", "b")
		s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
		s.Exchange("a", "b")
		s.Cut("b")
		s.Exec("b", "UPDATE p SET v = 'earlier' WHERE id = 1")
		s.Exec("master", "UPDATE p SET v = 'seen' WHERE id = 1")
		s.Exchange("a")
		s.Restart("a") // the entry that it has seen was one of the process before
		s.Cut("a")
		s.Exec("a", "UPDATE p SET v = 'after that' WHERE id = 1")
		require.NoError(t, backdateBatch(s.DBs["a"], behind))
		s.Heal("a")
		s.Exchange("a")
		s.Heal("b")
		s.Exchange("a", "b")
		s.Same("p")
		require.Equal(t, `["after that"]`, s.Rows("master", "SELECT v FROM p WHERE id = 1"))
	}
}

// A clock that was ahead when the snap took its snapshot makes none of its changes later than they were: of the master's clock
// a snapshot tells nothing.
func TestSnapClockOfSnapshot(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, testcluster.PairSchema, "a")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
	s.Exchange("a")
	s.Cut("a")
	require.NoError(t, s.Nodes["a"].Close())
	_, err := s.DBs["a"].Exec("UPDATE _ddb_journal SET records = -1, at = ? WHERE seq = (SELECT MAX(seq) FROM _ddb_journal)", time.Now().Add(time.Hour).UnixNano())
	require.NoError(t, err)
	s.Open("a", s.Opts["a"])
	s.Exec("a", "UPDATE p SET v = 'older' WHERE id = 1")
	s.Exec("master", "UPDATE p SET v = 'newer' WHERE id = 1")
	require.NoError(t, s.Nodes["master"].WaitLevel(s.Ctx))
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
	require.Equal(t, `["newer"]`, s.Rows("master", "SELECT v FROM p WHERE id = 1"))
}
