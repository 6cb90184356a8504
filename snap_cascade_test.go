package ddb_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// What a snap deletes, or whose key it changes, under children that others have made meanwhile stays for their sake under every
// policy, as deep as foreign keys act, and the refusal names the children's table.
func TestSnapCascadeUnderChild(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		for name, policy := range policies {
			if e.name == "mariadb" && name != "master" && name != "merge" {
				continue // the judgement is the same on both
			}
			for _, action := range []string{"CASCADE", "SET NULL"} {
				t.Run(name+" "+action, func(t *testing.T) {
					s := newShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": policy}}, fmt.Sprintf(`CREATE TABLE top (id INT NOT NULL PRIMARY KEY, code VARCHAR(9) UNIQUE);
						CREATE TABLE mid (id INT NOT NULL PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES top (id) ON DELETE CASCADE);
						CREATE TABLE leaf (id INT NOT NULL PRIMARY KEY, m INT, FOREIGN KEY (m) REFERENCES mid (id) ON DELETE %[1]s);
						CREATE TABLE named (id INT NOT NULL PRIMARY KEY, c VARCHAR(9), FOREIGN KEY (c) REFERENCES top (code) ON UPDATE %[1]s)`, action), "a", "b")
					s.exec("master", "INSERT INTO top VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')")
					s.exec("master", "INSERT INTO mid VALUES (1, 1), (2, 2), (5, 5)")
					s.exec("master", "INSERT INTO leaf VALUES (5, 5)")
					s.exchange("a", "b")
					s.cut("a", "b")
					s.exec("a", "DELETE FROM top WHERE id = 1")               // under a new leaf of the master's
					s.exec("a", "DELETE FROM top WHERE id = 2")               // under one of b's
					s.exec("a", "DELETE FROM top WHERE id = 3")               // under one that gets another parent
					s.exec("a", "UPDATE top SET code = 'other' WHERE id = 4") // under a new reference to its code
					s.exec("a", "DELETE FROM top WHERE id = 5")               // with all that the snap knew of
					s.exec("master", "INSERT INTO leaf VALUES (10, 1)")
					s.exec("master", "INSERT INTO mid VALUES (30, 3)")
					s.exec("master", "INSERT INTO named VALUES (40, 'four')")
					s.exec("b", "INSERT INTO leaf VALUES (20, 2)")
					s.heal("b")
					s.exchange("b")
					s.heal("a")
					s.exchange("a", "b")
					s.same("top", "mid", "leaf", "named")
					require.Equal(t, "[1]\n[2]\n[3]\n[4]", s.rows("a", "SELECT id FROM top ORDER BY id"))
					require.Equal(t, "[10,1]\n[20,2]", s.rows("a", "SELECT * FROM leaf WHERE id <> 5 ORDER BY id"))
					require.Equal(t, "[30,3]", s.rows("a", "SELECT * FROM mid WHERE id = 30"))
					require.Equal(t, `[40,"four"]`, s.rows("a", "SELECT * FROM named"))
					reasons := make(map[string]string)
					for _, c := range s.conflicts("a") {
						if c.Table == "top" {
							reasons[c.Key] = c.Reason
						}
					}
					require.Len(t, reasons, 4)
					for key, table := range map[string]string{"1": "leaf", "2": "leaf", "3": "mid", "4": "named"} {
						require.Contains(t, reasons[`{"id":`+key+`}`], "rows of table "+table)
					}
				})
			}
		}
	})
}

// Children that stay as they are keep no parent from exchanging unique values in a ring.
func TestSnapRingOverChildren(t *testing.T) {
	s := newShop(t, mariadbEngine(t), ddb.Options{}, `CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, u INT UNIQUE);
		CREATE TABLE child (id INT NOT NULL PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)`, "a")
	s.exec("master", "INSERT INTO parent VALUES (1, 1), (2, 2)")
	s.exec("master", "INSERT INTO child VALUES (1, 1), (2, 2)")
	s.exchange("a")
	tx, err := s.nodes["a"].Begin()
	require.NoError(t, err)
	for _, query := range []string{"UPDATE parent SET u = NULL WHERE id = 1", "UPDATE parent SET u = 1 WHERE id = 2", "UPDATE parent SET u = 2 WHERE id = 1"} {
		_, err = tx.Exec(query)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	s.exchange("a")
	s.same("parent", "child")
	require.Equal(t, "[1,2]\n[2,1]", s.rows("master", "SELECT * FROM parent ORDER BY id"))
	require.Len(t, s.rows("master", "SELECT * FROM child"), len("[1,1]\n[2,2]"))
	require.Empty(t, s.conflicts("a"))
}
