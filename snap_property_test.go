package ddb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport/fault"
)

const storySchema = `CREATE TABLE account (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) UNIQUE, amount INT NOT NULL);
	CREATE TABLE done (id VARCHAR(40) NOT NULL PRIMARY KEY, who VARCHAR(20))`

// Whatever a master and three snaps do to a few rows, with links cut and nodes restarted at any point, all five
// databases are equal in the end; every local transaction is there once or kept in the
// conflicts table; and under master wins transfers preserve the sum.
func TestSnapProperty(t *testing.T) {
	checks(t, 30) // of each policy; -short makes a fifth of it
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { story(t, r, sqliteEngine(t), name, policy) })
		})
	}
}

// So it is on MariaDB, with a few runs of each policy.
func TestSnapPropertyMariaDB(t *testing.T) {
	checks(t, 5)
	e := mariadbEngine(t)
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { story(t, r, e, name, policy) })
		})
	}
}

// policies by a name of each.
var policies = map[string]ddb.Policy{"master": ddb.MasterWins, "snap": ddb.SnapWins, "newest": ddb.NewestWins, "merge": ddb.MergeColumns,
	"func": ddb.PolicyFunc("local", func(c ddb.Collision) (map[string]any, error) { return c.Local, nil })}

// story is one run: rapid prints its seed when it fails.
func story(t *testing.T, r *rapid.T, e testEngine, name string, policy ddb.Policy) {
	s := newShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": policy}}, storySchema)
	var steps []string
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(steps, "\n"))
		}
		for id, n := range s.nodes {
			require.NoError(t, n.Close())
			require.NoError(t, s.dbs[id].Close())
		}
		clear(s.nodes)
	}()
	snaps := []string{"a", "b", "c"}
	s.exec("master", "INSERT INTO account VALUES (1, 'n1', 100), (2, 'n2', 100), (3, 'n3', 100), (4, 'n4', 100)")
	s.links["replica"] = fault.New(s.net)
	s.open("replica", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.links["replica"]})
	for _, id := range snaps {
		s.snap(id, ddb.Options{})
	}
	writers := append([]string{"master"}, snaps...)
	marks := 0
	for range rapid.IntRange(3, 25).Draw(r, "steps") {
		id := rapid.SampledFrom(writers).Draw(r, "node")
		what := rapid.IntRange(0, 11).Draw(r, "what")
		steps = append(steps, fmt.Sprint(id, " ", what))
		switch what {
		case 0:
			if id != "master" {
				s.cut(id)
			}
		case 1:
			if id != "master" {
				s.heal(id)
			}
		case 2:
			s.restart(id)
		case 3, 4: // in the middle of whatever the transaction sets off
			marks++
			s.transaction(r, id, name, fmt.Sprintf("%s-%d", id, marks), &steps)
			if id = snaps[marks%len(snaps)]; what == 3 {
				s.cut(id)
				s.heal(id)
			} else {
				s.restart(id)
			}
		default:
			marks++
			s.transaction(r, id, name, fmt.Sprintf("%s-%d", id, marks), &steps)
		}
	}
	s.heal(snaps...)
	s.exchange(snaps...)
	require.NoError(t, ddb.WaitLSN(s.ctx, s.nodes["replica"], s.nodes["master"]))
	s.same("account", "done")
	kept := fmt.Sprint(s.conflicts("master"))
	present := s.rows("master", "SELECT id FROM done")
	for i := range marks {
		in := 0
		for _, id := range writers {
			mark := fmt.Sprintf("%q", fmt.Sprintf("%s-%d", id, i+1))
			in += strings.Count(present, mark)
			if !strings.Contains(present, mark) && strings.Contains(kept, mark) {
				in++
			}
		}
		require.LessOrEqual(t, in, 1)
		s.lost(i+1, in)
	}
	if name == "master" {
		require.Equal(t, "[400]", s.rows("master", "SELECT CAST(SUM(amount) AS CHAR) + 0 FROM account"), "%s\n%s\n%s", s.rows("master", "SELECT * FROM account"), present, kept)
	}
}

// lost fails if a transaction that was committed is nowhere.
func (s *shop) lost(mark, found int) {
	s.t.Helper()
	if s.committed[mark] {
		require.Equal(s.t, 1, found, "transaction %d is neither in the table nor in the conflicts", mark)
	}
}

// transaction makes one local transaction with a mark of its own.
func (s *shop) transaction(r *rapid.T, id, policy, mark string, steps *[]string) {
	row := func(label string) int { return rapid.IntRange(1, 4).Draw(r, label) }
	var queries []string
	kind := rapid.IntRange(0, 6).Draw(r, "kind")
	if policy == "master" && kind > 1 {
		kind %= 2
	}
	switch kind {
	case 0:
		n := rapid.IntRange(1, 50).Draw(r, "amount")
		queries = []string{fmt.Sprintf("UPDATE account SET amount = amount - %d WHERE id = %d", n, row("from")), fmt.Sprintf("UPDATE account SET amount = amount + %d WHERE id = %d", n, row("to"))}
	case 1:
		queries = []string{fmt.Sprintf("UPDATE account SET name = 'x%d' WHERE id = %d", row("x"), row("row"))}
	case 2:
		queries = []string{fmt.Sprintf("DELETE FROM account WHERE id = %d", row("row"))}
	case 3:
		queries = []string{fmt.Sprintf("REPLACE INTO account VALUES (%d, 'r%d', %d)", row("row"), row("name"), row("amount"))}
	case 4:
		queries = []string{fmt.Sprintf("UPDATE account SET id = id + 10 WHERE id = %d", row("row"))}
	case 5:
		queries = []string{fmt.Sprintf("UPDATE account SET name = NULL WHERE id = %d", row("row")), fmt.Sprintf("UPDATE account SET name = 'x%d' WHERE id = %d", row("x"), row("other"))}
	case 6:
		queries = []string{"UPDATE account SET amount = amount + 1"}
	}
	queries = append(queries, fmt.Sprintf("INSERT INTO done VALUES ('%s', '%s')", mark, id))
	*steps = append(*steps, queries...)
	tx, err := s.nodes[id].BeginTx(s.ctx, nil)
	require.NoError(s.t, err)
	for _, q := range queries {
		if _, err := tx.ExecContext(s.ctx, q); err != nil {
			require.Regexp(s.t, "(?i)unique|duplicate|deadlock", err.Error(), q) // on MariaDB, with rows that others settle
			require.NoError(s.t, tx.Rollback())
			return
		}
	}
	require.NoError(s.t, tx.Commit())
	var n int
	fmt.Sscan(mark[strings.LastIndex(mark, "-")+1:], &n)
	if s.committed == nil {
		s.committed = make(map[int]bool)
	}
	s.committed[n] = true
}

// A batch whose verdict was cut off after the master's commit counts once.
func TestSnapDuplicate(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema, "a")
		for i := range 30 {
			s.exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", 100+i, i))
			if i%2 == 0 {
				// Cut as soon as the master has it, before the entry can come back.
				require.Eventually(t, func() bool {
					return s.rows("master", fmt.Sprintf("SELECT id FROM p WHERE id = %d", 100+i)) != ""
				}, testPatience, 100*time.Microsecond)
				s.cut("a")
				s.exec("a", fmt.Sprintf("UPDATE p SET w = w + 1 WHERE id = %d", 100+i))
				s.heal("a")
			}
		}
		s.exchange("a")
		s.same("p")
		require.Empty(t, s.conflicts("master"))
		require.Equal(t, "[15]", s.rows("master", "SELECT CAST(SUM(w) AS CHAR) + 0 FROM p"))
	})
}

// A snap that was away for longer than the journal reaches takes a new snapshot and keeps its pending batches.
func TestSnapAwayTooLong(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema, "a")
		s.exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0), (2, 20, 'two', 0)")
		s.exchange("a")
		s.cut("a")
		s.exec("a", "INSERT INTO p VALUES (50, 50, 'pending', 0)")
		s.exec("a", "UPDATE p SET v = 'lost' WHERE id = 1")
		s.exec("master", "UPDATE p SET v = 'master' WHERE id = 1")
		s.exec("master", "DELETE FROM p WHERE id = 2")
		require.NoError(t, ddb.ForgetJournal(s.ctx, s.nodes["master"]))
		s.heal("a")
		s.exchange("a")
		s.same("p")
		require.Equal(t, "[1,10,\"master\",0]\n[50,50,\"pending\",0]", s.rows("a", "SELECT * FROM p"))
		require.Len(t, s.conflicts("a"), 1)
		s.exec("a", "UPDATE p SET v = 'again' WHERE id = 50")
		s.exchange("a")
		s.same("p")
	})
}
