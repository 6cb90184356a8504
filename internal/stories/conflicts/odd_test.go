package conflicts_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// oddValue is a value that a row holds though the server would not take it (again).
type oddValue struct {
	name   string
	column string // declaration of the column odd
	lax    string // brings a connection into a mode in which the value is taken
	value  string // SQL
	after  string // what then forbids it, run on the same connection; {t} is the table
	fine   string // a value that nobody objects to
}

var oddValues = map[string][]oddValue{
	"mariadb": {
		{"enum's error value", "odd ENUM('a','b')", "SET sql_mode=''", "'no member'", "", "'a'"},
		{"zero date", "odd DATE NOT NULL", "SET sql_mode=''", "'0000-00-00'", "", "'2020-02-02'"},
		{"date that is none", "odd DATETIME", "SET sql_mode='ALLOW_INVALID_DATES'", "'2021-02-31 00:00:00'", "", "'2020-02-02'"},
		{"value of a narrowed type", "odd INT", "SET sql_mode=''", "100000", "ALTER TABLE {t} MODIFY odd TINYINT", "7"},
		{"enum that lost a member", "odd ENUM('a','b')", "SET sql_mode=''", "'b'", "ALTER TABLE {t} MODIFY odd ENUM('a','c')", "'a'"},
		{"later check", "odd INT", "SET check_constraint_checks=0", "5", "ALTER TABLE {t} ADD CONSTRAINT later CHECK (odd > 10)", "20"},
		{"check of two columns", "odd INT, CHECK (odd > 10 AND id > 0)", "SET check_constraint_checks=0", "5", "", "20"},
		{"column's check", "odd INT CHECK (odd > 10)", "SET check_constraint_checks=0", "5", "", "20"},
		{"check beside a unique column", "u INT UNIQUE, odd INT CHECK (odd > 10)", "SET check_constraint_checks=0", "5", "", "20"},
	},
	"sqlite": {
		{"check", "odd INT, CHECK (odd > 10)", "PRAGMA ignore_check_constraints=ON", "5", "", "20"},
		{"check of the type", "odd INT CHECK (typeof(odd) = 'integer')", "PRAGMA ignore_check_constraints=ON", "'text'", "", "20"},
		{"check of two columns", "odd INT, CHECK (odd > 10 AND id > 0)", "PRAGMA ignore_check_constraints=ON", "5", "", "20"},
		{"check beside a unique column", "u INT UNIQUE, odd INT CHECK (odd > 10)", "PRAGMA ignore_check_constraints=ON", "5", "", "20"},
		{"text in an integer column", "odd INT", "PRAGMA ignore_check_constraints=OFF", "'text'", "", "20"},
	},
}

// What a snap did not write is not judged with what it did: under every policy its changes of the other columns of a row, and
// that it deletes one, go through whatever else the row holds, with no conflict, and a conflict about something else can be retried.
func TestSnapOddValues(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for name, policy := range testcluster.Policies {
			t.Run(name, func(t *testing.T) { oddRows(t, e, name, policy) })
		}
	})
}

// oddRows: in the table of each value the snap alone changes row 1 and deletes row 2; row 3 is changed by both sides, and the master
// puts a fine value in the place of the odd one there; row 4, changed by the snap, the master deletes.
func oddRows(t *testing.T, e testcluster.Engine, name string, policy ddb.Policy) {
	s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": policy}}, "CREATE TABLE beat (id "+e.AutoKey()+", n INT)", "a")
	var tables []string
	for i, odd := range oddValues[string(e)] {
		table := fmt.Sprintf("t%d", i)
		tables = append(tables, table)
		s.Exec("master", "CREATE TABLE "+table+" (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), w VARCHAR(20), "+odd.column+")")
		lax(s, "master", odd, fmt.Sprintf("INSERT INTO %s (id, v, w, odd) VALUES (1, 'one', '', %s), (2, 'two', '', %[2]s), (3, 'three', '', %[2]s), (4, 'four', '', %[2]s)",
			table, odd.value), strings.ReplaceAll(odd.after, "{t}", table))
	}
	s.Exchange("a")
	s.Same(tables...)
	s.Cut("a")
	for i, odd := range oddValues[string(e)] {
		for _, q := range []string{"UPDATE {t} SET v = 'mine' WHERE id = 1", "DELETE FROM {t} WHERE id = 2", "UPDATE {t} SET v = 'mine' WHERE id = 3",
			"UPDATE {t} SET v = 'mine' WHERE id = 4", "INSERT INTO {t} (id, v, odd) VALUES (5, 'new', " + odd.fine + ")"} {
			if q = strings.ReplaceAll(q, "{t}", tables[i]); string(e) == "sqlite" { // judges the columns that a statement names
				s.Exec("a", q)
			} else {
				lax(s, "a", odd, q)
			}
		}
		lax(s, "master", odd, "UPDATE "+tables[i]+" SET v = 'theirs', odd = "+odd.fine+" WHERE id = 3", "DELETE FROM "+tables[i]+" WHERE id = 4")
	}
	s.Heal("a")
	s.Exchange("a")
	s.Same(tables...)
	outcomes := make(map[string]ddb.Conflict) // by table and key
	for _, c := range s.Conflicts("master") {
		outcomes[c.Table+c.Key] = c
	}
	require.Len(t, outcomes, 2*len(tables), "besides rows 3 and 4 there is nothing that anybody could object to: %v", outcomes)
	for i, odd := range oddValues[string(e)] {
		again := "UPDATE " + tables[i] + " SET w = 'again' WHERE id IN (1, 3)"
		if string(e) == "sqlite" {
			s.Exec("a", again)
		} else {
			lax(s, "a", odd, again)
		}
	}
	s.Exchange("a")
	want := make(map[string]string) // by table
	for i, odd := range oddValues[string(e)] {
		for _, id := range []int{3, 4} {
			want[tables[i]] += retryOdd(s, odd, outcomes[fmt.Sprintf(`%s{"id":%d}`, tables[i], id)], id)
		}
	}
	s.Exchange("a")
	for i, odd := range oddValues[string(e)] {
		require.Equal(t, "[1,\"mine\",\"again\"]\n[5,\"new\",null]", s.Rows("master", "SELECT id, v, w FROM "+tables[i]+" WHERE id IN (1, 2, 5)"), odd.name)
		require.Equal(t, want[tables[i]], strings.ReplaceAll(s.Rows("master", "SELECT id, v FROM "+tables[i]+" WHERE id IN (3, 4)"), "\n", ""), odd.name)
	}
	s.Exchange("a")
	r := s.Open("replica", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.Net}) // a new node takes the odd rows too
	require.NoError(t, r.WaitReady(s.Ctx))
	require.NoError(t, testcluster.WaitLSN(s.Ctx, r, s.Nodes["master"]))
	s.Same(tables...)
	require.Empty(t, s.Conflicts("master"))
}

// retryOdd retries a conflict and returns what then is to be seen of its row.
func retryOdd(s *testcluster.Shop, odd oddValue, c ddb.Conflict, id int) string {
	s.TB.Helper()
	err := s.Nodes["a"].RetryConflict(s.Ctx, c.ID)
	switch {
	case id == 4 && c.Outcome != "snap" && c.Outcome != "function" && strings.Contains(odd.name, "check"):
		// The row is gone: to bring it back is to choose all of its values.
		require.ErrorContains(s.TB, err, map[string]string{"sqlite": "CHECK", "mariadb": "4025"}[string(s.Engine)], odd.name)
		require.NoError(s.TB, s.Nodes["a"].DismissConflict(s.Ctx, c.ID))
		return ""
	case id == 4 && c.Outcome == "snap": // the master had deleted it
		require.NoError(s.TB, err, odd.name)
		return ""
	case c.Outcome == "snap":
		require.NoError(s.TB, err, odd.name)
		return fmt.Sprintf(`[%d,"theirs"]`, id)
	}
	require.NoError(s.TB, err, odd.name)
	return fmt.Sprintf(`[%d,"mine"]`, id)
}

// lax runs statements on a connection in the mode in which the value is taken. A snap is not asked to exchange what a connection in a
// mode of its own has written, but what is written after it, it is.
func lax(s *testcluster.Shop, id string, odd oddValue, statements ...string) {
	s.TB.Helper()
	c, err := s.Nodes[id].Conn(s.Ctx)
	require.NoError(s.TB, err)
	defer c.Close()
	for _, q := range append([]string{odd.lax}, statements...) {
		if q != "" {
			_, err := c.ExecContext(s.Ctx, q)
			require.NoError(s.TB, err, q)
		}
	}
	if strings.HasPrefix(odd.lax, "PRAGMA") {
		_, err = c.ExecContext(s.Ctx, "PRAGMA ignore_check_constraints=OFF")
		require.NoError(s.TB, err)
	} else if id == "a" {
		s.Exec("a", "INSERT INTO beat (n) VALUES (1)")
	}
}

// What a snap did write is judged: a value that does not fit, or that a CHECK forbids, is refused and kept, under every policy.
func TestSnapGivenValues(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.SnapWins}},
			"CREATE TABLE p (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), odd INT, more INT, CHECK (odd > 10), CHECK (more > odd));"+
				"CREATE TABLE beat (id "+e.AutoKey()+", n INT)", "a")
		odd := oddValue{lax: map[string]string{"mariadb": "SET check_constraint_checks=0", "sqlite": "PRAGMA ignore_check_constraints=ON"}[string(e)]}
		lax(s, "master", odd, "INSERT INTO p VALUES (1, 'one', 1, 1), (2, 'two', 1, 1), (3, 'three', 1, 1), (4, 'four', 1, 1)")
		s.Exchange("a")
		for i, q := range []string{"UPDATE p SET odd = 5 WHERE id = 1", "UPDATE p SET more = 0 WHERE id = 2", "INSERT INTO p VALUES (5, 'new', 1, 2)"} {
			lax(s, "a", odd, q)
			require.Eventually(t, func() bool { return len(s.Conflicts("master")) == i+1 }, testcluster.Patience, 5*time.Millisecond, q)
		}
		lax(s, "a", odd, "UPDATE p SET more = 7 WHERE id = 3") // odd itself is as it was
		require.Eventually(t, func() bool { return s.Rows("master", "SELECT more FROM p WHERE id = 3") == "[7]" }, testcluster.Patience, 5*time.Millisecond)
		s.Exchange("a")
		s.Same("p")
		require.Equal(t, "[1,\"one\",1,1]\n[2,\"two\",1,1]\n[3,\"three\",1,7]\n[4,\"four\",1,1]", s.Rows("master", "SELECT * FROM p"))
		require.Len(t, s.Conflicts("a"), 3)
	})
}
