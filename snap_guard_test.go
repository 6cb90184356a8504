package ddb_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// A policy function that panics refuses the batch, like one that returns an error; the master goes on.
func TestSnapFuncPanics(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.PolicyFunc("f", func(c ddb.Collision) (map[string]any, error) {
			c.Base["v"] = "x" // there is none where both sides insert
			return c.Local, nil
		})}}, pairSchema, "a")
		s.cut("a")
		s.exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
		s.exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
		s.heal("a")
		s.exchange("a")
		s.same("p")
		require.Len(t, s.conflicts("a"), 1)
		require.Contains(t, s.conflicts("a")[0].Reason, "panicked")
	})
}

// A malformed batch stops the snap that sends it, visibly, and no other.
func TestSnapMalformedBatch(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{}, pairSchema, "a", "b")
	s.exchange("a", "b")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, 'fine', 0)")
	require.NoError(t, ddb.DamageBatch(s.dbs["a"]))
	s.heal("a")
	require.Eventually(t, func() bool {
		for _, n := range s.nodes["a"].Nodes() {
			if n.ID == "a" && strings.Contains(n.Reason, ddb.ErrDamaged.Error()) {
				return true
			}
		}
		return false
	}, testPatience, testStep)
	s.exec("b", "INSERT INTO p VALUES (2, 2, 'other', 0)")
	s.exchange("b")
}

// A snap may settle conflicts, whatever else it may do, but neither delete nor rewrite what others have lost.
func TestNodeAccessConflicts(t *testing.T) {
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {}, "reader": {Tables: map[string]ddb.Ops{}}}}, pairSchema, "a", "reader")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, 'lost', 0)")
	s.exec("master", "INSERT INTO p VALUES (1, 1, 'won', 0)")
	s.heal("a")
	s.exchange("a", "reader")
	for _, query := range []string{"DELETE FROM _ddb_conflicts", "UPDATE _ddb_conflicts SET local = ''"} {
		_, err := s.nodes["reader"].ExecContext(s.ctx, query)
		require.ErrorIs(t, err, ddb.ErrNotAllowed)
		_, err = s.dbs["reader"].ExecContext(s.ctx, query) // as a snap that has been tampered with would
		require.NoError(t, err)
		require.Eventually(t, func() bool { // until the master has touched the row that it did not change
			list := s.conflicts("reader")
			return len(list) == 1 && strings.Contains(list[0].Local, "lost")
		}, testPatience, testStep)
		s.exchange("reader")
		s.same("p")
	}
	require.NoError(t, s.nodes["reader"].DismissConflict(s.ctx, s.conflicts("reader")[0].ID))
	s.exchange("reader")
	require.Empty(t, s.conflicts("master"))
}

// A value that does not fit a column which the master has narrowed meanwhile is refused and kept, not cut off.
func TestSnapNarrowedColumn(t *testing.T) {
	s := newShop(t, mariadbEngine(t), ddb.Options{}, "CREATE TABLE s (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), n INT)", "a")
	s.exec("master", "INSERT INTO s VALUES (1, 'one', 1), (2, 'two', 2)")
	s.exchange("a")
	s.cut("a")
	s.exec("a", "UPDATE s SET v = 'a long text' WHERE id = 1")
	s.exec("a", "UPDATE s SET n = 100000 WHERE id = 2")
	s.exec("master", "ALTER TABLE s MODIFY v VARCHAR(5), MODIFY n TINYINT")
	s.heal("a")
	s.exchange("a")
	s.same("s")
	require.Equal(t, "[1,\"one\",1]\n[2,\"two\",2]", s.rows("master", "SELECT * FROM s"))
	require.Len(t, s.conflicts("a"), 2)
}

// More conflicts than one list holds can all be reached.
func TestConflictsAfter(t *testing.T) {
	const n = 1500
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{}, pairSchema, "a")
	s.exec("master", "INSERT INTO p VALUES (1, -1, 'one', 0)")
	s.exchange("a")
	s.cut("a")
	tx, err := s.nodes["a"].Begin()
	require.NoError(t, err)
	_, err = tx.Exec("WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO p SELECT i, i, 'snap', 0 FROM n", n+9)
	require.NoError(t, err)
	_, err = tx.Exec("UPDATE p SET v = 'mine' WHERE id = 1")
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	s.exec("master", "UPDATE p SET v = 'theirs' WHERE id = 1")
	s.heal("a")
	s.exchange("a")
	seen := make(map[string]bool)
	for list := s.conflicts("a"); len(list) > 0; {
		for _, c := range list {
			seen[c.Key] = true
		}
		list, err = s.nodes["a"].ConflictsAfter(s.ctx, list[len(list)-1])
		require.NoError(t, err)
	}
	require.Len(t, seen, n+1)
}

// A clock that was decades behind when a batch was made does not fill the queue once it is right.
func TestSnapClockBehind(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{}, pairSchema, "a")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, 'made in 1970', 0)")
	require.NoError(t, s.nodes["a"].Close())
	_, err := s.dbs["a"].Exec("UPDATE _ddb_batches SET at = 1000000000")
	require.NoError(t, err)
	s.open("a", s.opts["a"])
	s.exec("a", "INSERT INTO p VALUES (2, 2, 'now', 0)")
	s.heal("a")
	s.exchange("a")
	s.same("p")
}

// What is written after a clock that was years ahead has been put right gains nothing by it under newest wins.
func TestSnapClockWasAhead(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, pairSchema, "a")
	s.exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
	s.exchange("a")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (3, 3, 'made in 2099', 0)")
	require.NoError(t, s.nodes["a"].Close())
	_, err := s.dbs["a"].Exec("UPDATE _ddb_batches SET at = ?", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	require.NoError(t, err)
	s.open("a", s.opts["a"])
	s.exec("a", "UPDATE p SET v = 'older' WHERE id = 1")
	s.exec("master", "UPDATE p SET v = 'newer' WHERE id = 1")
	s.heal("a")
	s.exchange("a")
	s.same("p")
	require.Equal(t, `["newer"]`, s.rows("master", "SELECT v FROM p WHERE id = 1"))
}

// A change that was made after another had been seen is later than that one under newest wins, however far behind the clock
// stood when it was made: what others changed meanwhile loses to it.
func TestSnapClockHears(t *testing.T) {
	for _, behind := range []time.Duration{time.Second, 30 * 365 * 24 * time.Hour} {
		s := newShop(t, sqliteEngine(t), ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, pairSchema, "a", "b")
		s.exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
		s.exchange("a", "b")
		s.cut("b")
		s.exec("b", "UPDATE p SET v = 'earlier' WHERE id = 1")
		s.exec("master", "UPDATE p SET v = 'seen' WHERE id = 1")
		s.exchange("a")
		s.restart("a") // the entry that it has seen was one of the process before
		s.cut("a")
		s.exec("a", "UPDATE p SET v = 'after that' WHERE id = 1")
		require.NoError(t, ddb.BackdateBatch(s.dbs["a"], behind))
		s.heal("a")
		s.exchange("a")
		s.heal("b")
		s.exchange("a", "b")
		s.same("p")
		require.Equal(t, `["after that"]`, s.rows("master", "SELECT v FROM p WHERE id = 1"))
	}
}

// A clock that was ahead when the snap took its snapshot makes none of its changes later than they were: of the master's clock
// a snapshot tells nothing.
func TestSnapClockOfSnapshot(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.NewestWins}}, pairSchema, "a")
	s.exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
	s.exchange("a")
	s.cut("a")
	require.NoError(t, s.nodes["a"].Close())
	_, err := s.dbs["a"].Exec("UPDATE _ddb_journal SET records = -1, at = ? WHERE seq = (SELECT MAX(seq) FROM _ddb_journal)", time.Now().Add(time.Hour).UnixNano())
	require.NoError(t, err)
	s.open("a", s.opts["a"])
	s.exec("a", "UPDATE p SET v = 'older' WHERE id = 1")
	s.exec("master", "UPDATE p SET v = 'newer' WHERE id = 1")
	require.NoError(t, ddb.Pass(s.ctx, s.nodes["master"]))
	s.heal("a")
	s.exchange("a")
	s.same("p")
	require.Equal(t, `["newer"]`, s.rows("master", "SELECT v FROM p WHERE id = 1"))
}
