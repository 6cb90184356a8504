package conflicts_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// pairs are the changes that the two sides make to row 1 of a case (or to what clashes with it). {x+n} is a
// number of the case's own.
var pairs = map[string]string{
	"insert": "INSERT INTO p VALUES ({x+9}, -{x+9}{n}, '{who}', 0)",
	"update": "UPDATE p SET v = '{who}' WHERE id = {x+1}",
	"delete": "DELETE FROM p WHERE id = {x+1}",
	"key":    "UPDATE p SET id = {x+8}, v = '{who}' WHERE id = {x+1}",
	"unique": "INSERT INTO p VALUES (-{x+3}{n}, {x+7}, '{who}', 0)",
	"column": "UPDATE p SET w = {n} WHERE id = {x+1}",
}

// Every pair of changes, between a snap and the master and between two snaps, under every
// policy, ends with the same rows everywhere and the loser's values kept.
func TestConflictPairs(t *testing.T) {
	keep := func(c ddb.Collision) (map[string]any, error) {
		if c.Local == nil || c.Remote == nil {
			return c.Remote, nil
		}
		c.Remote["v"] = fmt.Sprint(c.Remote["v"], "+", c.Local["v"])
		return c.Remote, nil
	}
	policies := map[string]ddb.Policy{"master": ddb.MasterWins, "snap": ddb.SnapWins, "newest": ddb.NewestWins, "merge": ddb.MergeColumns, "func": ddb.PolicyFunc("join", keep)}
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for name, policy := range policies {
			t.Run(name, func(t *testing.T) {
				s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"p": policy}}, testcluster.PairSchema, "a", "b")
				for i, other := range []string{"master", "b"} {
					var cases []pairCase
					for mine := range pairs {
						for theirs := range pairs {
							cases = append(cases, pairCase{mine: mine, theirs: theirs, number: 100*i + len(cases) + 1})
						}
					}
					makePairs(s, other, cases)
				}
			})
		}
	})
}

// pairCase is one pair of changes, on rows that no other case touches.
type pairCase struct {
	mine, theirs string
	number       int
}

// fill puts the case's numbers and the writer into a statement.
func (c pairCase) fill(statement, n, who string) string {
	list := []string{"{n}", n, "{who}", c.who(who)}
	for i := range 10 {
		list = append(list, fmt.Sprintf("{x+%d}", i), fmt.Sprint(c.number*10+i))
	}
	return strings.NewReplacer(list...).Replace(statement)
}

func (c pairCase) who(who string) string { return fmt.Sprintf("%s %d.", who, c.number) }

// makePairs makes the pairs of changes while the links are down, and checks the outcome of each.
func makePairs(s *testcluster.Shop, other string, cases []pairCase) {
	s.TB.Helper()
	for _, c := range cases {
		s.Exec("master", c.fill("INSERT INTO p VALUES ({x+1}, {x+1}, 'one', 0), ({x+2}, {x+2}, 'two', 0)", "", ""))
	}
	s.Exchange("a", "b")
	s.Cut("a", "b")
	for _, c := range cases {
		s.Exec("a", c.fill(pairs[c.mine], "1", "mine"))
		s.Exec(other, c.fill(pairs[c.theirs], "2", "theirs"))
	}
	s.Heal("b")
	s.Exchange("b")
	s.Heal("a")
	s.Exchange("a", "b")
	s.Same("p")
	left, kept := s.Rows("master", "SELECT * FROM p"), fmt.Sprint(s.Conflicts("b"))
	for _, c := range cases {
		for who, checked := range map[string]bool{
			"mine":   strings.Contains(pairs[c.mine], "{who}"),
			"theirs": strings.Contains(pairs[c.theirs], "{who}") && c.mine != "delete" && c.mine != "key",
		} {
			if checked && !strings.Contains(left, c.who(who)) {
				require.Contains(s.TB, kept, c.who(who), "%s against %s of %s: the loser is nowhere; rows:\n%s", c.mine, c.theirs, other, left)
			}
		}
	}
}

// What a row holds is not taken for the number of an error: 1213 is that of a deadlock on MariaDB, after which the same
// is tried again.
func TestConflictNumbers(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.SnapWins}}, testcluster.PairSchema, "a")
		s.Cut("a")
		s.Exec("master", "INSERT INTO p VALUES (1, 1205, 'first', 0)")
		s.Exec("a", "INSERT INTO p VALUES (1213, 1205, 'second', 0)")
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
		require.Len(t, s.Conflicts("master"), 1)
	})
}

// A parent deleted under a child is refused by the master, whose rows come back to the snap.
func TestConflictForeignKeys(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, `CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, v INT);
			CREATE TABLE child (id INT NOT NULL PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))`, "a")
		s.Exec("master", "INSERT INTO parent VALUES (1, 1), (2, 2)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "DELETE FROM parent WHERE id = 1")
		s.Exec("a", "INSERT INTO child VALUES (20, 2)")
		s.Exec("master", "INSERT INTO child VALUES (10, 1)")
		s.Exec("master", "DELETE FROM parent WHERE id = 2")
		s.Heal("a")
		s.Exchange("a")
		s.Same("parent", "child")
		require.Equal(t, "[1,1]", s.Rows("a", "SELECT * FROM parent"))
		require.Equal(t, "[10,1]", s.Rows("a", "SELECT * FROM child"))
		list := s.Conflicts("a")
		require.Len(t, list, 2)
		for _, c := range list {
			require.Contains(t, strings.ToUpper(c.Reason), "FOREIGN KEY")
		}
	})
}

// Parents and children that were made in one local transaction are accepted in whatever order they need.
func TestSnapRelatedRows(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, `CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, u INT UNIQUE);
			CREATE TABLE child (id INT NOT NULL PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE);
			CREATE TABLE tree (id INT NOT NULL PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id))`, "a")
		s.Cut("a")
		for _, q := range []string{"INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO child VALUES (1, 1), (2, 2), (3, 3)", "UPDATE parent SET id = 9 WHERE id = 1",
			"DELETE FROM parent WHERE id = 2", "INSERT INTO tree VALUES (9, NULL), (5, 9), (1, 5), (7, 1)"} {
			s.Exec("a", q)
		}
		tx, err := s.Nodes["a"].Begin()
		require.NoError(t, err)
		for _, q := range []string{"DELETE FROM parent WHERE id = 3", "INSERT INTO parent VALUES (4, 3)", "UPDATE tree SET up = NULL", "DELETE FROM tree WHERE id < 9"} {
			_, err := tx.Exec(q)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		s.Heal("a")
		s.Exchange("a")
		s.Same("parent", "child", "tree")
		require.Empty(t, s.Conflicts("a"))
		require.Equal(t, "[4,3]\n[9,1]", s.Rows("master", "SELECT * FROM parent"))
		require.Equal(t, "[1,9]", s.Rows("master", "SELECT * FROM child"))
	})
}

// A refused batch does not hold up those behind it, and one that was built on it is told apart.
func TestConflictChain(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		s.Exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "UPDATE p SET v = 'first' WHERE id = 1")
		s.Exec("a", "UPDATE p SET v = 'second' WHERE id = 1")
		s.Exec("a", "INSERT INTO p VALUES (5, 50, 'free', 0)")
		s.Exec("master", "UPDATE p SET v = 'master' WHERE id = 1")
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
		require.Equal(t, "[1,10,\"master\",0]\n[5,50,\"free\",0]", s.Rows("a", "SELECT * FROM p"))
		list := s.Conflicts("a")
		require.Len(t, list, 2)
		reasons := map[uint64]string{list[0].Batch: list[0].Reason, list[1].Batch: list[1].Reason}
		require.Contains(t, reasons[2], "built on batch 1, which was refused")
	})
}

// Batches that were made under an older schema are carried over where the columns
// still exist, and are kept as conflicts with the reason where they do not.
func TestSnapOldSchema(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE s (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), old INT); CREATE TABLE gone (id INT NOT NULL PRIMARY KEY)", "a")
		s.Exec("master", "INSERT INTO s VALUES (1, 'one', 1), (2, 'two', 2)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "UPDATE s SET v = 'changed' WHERE id = 1")
		s.Exec("a", "UPDATE s SET old = 7 WHERE id = 2")
		s.Exec("a", "INSERT INTO s (id, v) VALUES (3, 'new')")
		s.Exec("a", "INSERT INTO gone VALUES (1)")
		s.Exec("master", "ALTER TABLE s ADD COLUMN fresh INT DEFAULT 5")
		s.Exec("master", "ALTER TABLE s DROP COLUMN old")
		s.Exec("master", "DROP TABLE gone")
		s.Heal("a")
		s.Exchange("a")
		s.Same("s")
		require.Equal(t, "[1,\"changed\",5]\n[2,\"two\",5]\n[3,\"new\",5]", s.Rows("a", "SELECT * FROM s"))
		list := s.Conflicts("a")
		require.Len(t, list, 2)
		all := fmt.Sprint(list)
		require.Contains(t, all, "column old")
		require.Contains(t, all, "no table gone")
	})
}

// A snap refuses schema statements and names the master.
func TestSnapRefusesSchema(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		_, err := s.Nodes["a"].Exec("CREATE TABLE other (id INT PRIMARY KEY)")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.ErrorContains(t, err, "at master")
		tx, err := s.Nodes["a"].Begin()
		require.NoError(t, err)
		_, err = tx.Exec("DROP TABLE p")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		_, err = tx.Query("DROP TABLE p")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		require.NoError(t, tx.Rollback())
		_, err = s.Nodes["a"].Query("DROP TABLE p")
		require.ErrorIs(t, err, ddb.ErrNotMaster)
		_, err = s.Nodes["a"].Query("DELETE FROM p; DROP TABLE p")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		if string(e) == "mariadb" {
			for _, hidden := range []string{"EXECUTE IMMEDIATE 'DROP TABLE p'", "PREPARE s FROM 'DROP TABLE p'", "BEGIN NOT ATOMIC DROP TABLE p; END"} {
				_, err = s.Nodes["a"].Exec(hidden)
				require.ErrorIs(t, err, ddb.ErrNotReplicable, hidden)
				_, err = s.Nodes["a"].Query(hidden)
				require.ErrorIs(t, err, ddb.ErrNotReplicable, hidden)
			}
		}
		s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
		s.Exchange("a")
		s.Same("p")
	})
}

// A snap may do what Options.Nodes allows; the rest ends in conflicts. A wrong key does not get in.
func TestNodeAccess(t *testing.T) {
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {Key: []byte("k"), Tables: map[string]ddb.Ops{"p": ddb.Insert | ddb.Update}}}}, testcluster.PairSchema)
	s.Exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0)")
	s.Snap("a", ddb.Options{Key: []byte("k")})
	s.Exec("a", "UPDATE p SET v = 'x' WHERE id = 1")
	s.Exec("a", "DELETE FROM p WHERE id = 1")
	s.Exchange("a")
	s.Same("p")
	require.Equal(t, `[1,10,"x",0]`, s.Rows("a", "SELECT * FROM p"))
	list := s.Conflicts("master")
	require.Len(t, list, 1)
	require.Contains(t, list[0].Reason, "Options.Nodes")
	for id, o := range map[string]ddb.Options{"stranger": {Key: []byte("k")}} {
		o.Role, o.Master, o.Transport = ddb.Snap, "master", s.Net
		err := s.Open(id, o).WaitReady(s.Ctx)
		require.ErrorContains(t, err, "not in Options.Nodes")
	}
}

// A full queue refuses local writes and loses nothing.
func TestSnapQueueFull(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema)
		s.Snap("a", ddb.Options{QueueMaxBatches: 3})
		s.Cut("a")
		for i := range 3 {
			s.Exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, '', 0)", i, i))
		}
		_, err := s.Nodes["a"].Exec("INSERT INTO p VALUES (7, 7, '', 0)")
		require.True(t, errors.Is(err, ddb.ErrQueueFull), "%v", err)
		require.EqualValues(t, 3, s.Nodes["a"].Nodes()[0].Pending)
		s.Heal("a")
		s.Exchange("a")
		s.Exec("a", "INSERT INTO p VALUES (7, 7, '', 0)")
		s.Exchange("a")
		s.Same("p")
		require.Len(t, strings.Split(s.Rows("master", "SELECT * FROM p"), "\n"), 4)
	})
}

// Batches survive a restart of the snap and of the master, with their numbers.
func TestSnapRestart(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		s.Exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "INSERT INTO p VALUES (2, 2, 'late', 0)")
		s.Restart("a")
		s.Exec("a", "UPDATE p SET v = 'later' WHERE id = 2")
		s.Restart("master")
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
		require.Equal(t, "[1,1,\"early\",0]\n[2,2,\"later\",0]", s.Rows("master", "SELECT * FROM p"))
		require.Empty(t, s.Conflicts("a"))
	})
}

// What a client writes past ddb into a snap's database is exchanged too.
func TestSnapBypass(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		c, err := s.DBs["a"].Conn(s.Ctx) // which ddb cannot get meanwhile
		require.NoError(t, err)
		defer c.Close()
		_, err = c.ExecContext(s.Ctx, "INSERT INTO p VALUES (1, 1, 'past', 0)")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return s.Rows("master", "SELECT v FROM p") == `["past"]` }, testcluster.Patience, 5*time.Millisecond)
		s.Exchange("a")
		s.Same("p")
	})
}

// Pending rows stand in the way of no schema statement of the master, and leave nothing behind in a table that it has renamed.
func TestSnapSchemaOverPending(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for name, c := range map[string]struct {
			statement, table string
			conflicts        int
		}{
			"unique":  {"CREATE UNIQUE INDEX pv ON p (v)", "p", 1},
			"renamed": {"ALTER TABLE p RENAME TO q", "q", 3},
		} {
			t.Run(name, func(t *testing.T) {
				s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
				s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0), (2, 2, 'two', 0), (3, 3, 'three', 0)")
				s.Exchange("a")
				s.Cut("a")
				s.Exec("a", "INSERT INTO p VALUES (9, 9, 'one', 0)")
				s.Exec("a", "UPDATE p SET v = 'pending' WHERE id = 2")
				s.Exec("a", "DELETE FROM p WHERE id = 3")
				s.Exec("master", "UPDATE p SET w = 1 WHERE id = 1")
				s.Exec("master", c.statement)
				s.Heal("a")
				s.Exchange("a")
				require.Len(t, s.Conflicts("a"), c.conflicts)
				s.Same(c.table)
			})
		}
	})
}
