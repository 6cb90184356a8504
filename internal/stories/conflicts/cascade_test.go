package conflicts_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// What a snap deletes, or whose key it changes, under children that others have made meanwhile stays for their sake under every
// policy, as deep as foreign keys act, and the refusal names the children's table.
func TestSnapCascadeUnderChild(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		for name, policy := range testcluster.Policies {
			if string(e) == "mariadb" && name != "master" && name != "merge" {
				continue // the judgement is the same on both
			}
			for _, action := range []string{"CASCADE", "SET NULL"} {
				t.Run(name+" "+action, func(t *testing.T) {
					s := testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": policy}}, fmt.Sprintf(`CREATE TABLE top (id INT NOT NULL PRIMARY KEY, code VARCHAR(9) UNIQUE);
						CREATE TABLE mid (id INT NOT NULL PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES top (id) ON DELETE CASCADE);
						CREATE TABLE leaf (id INT NOT NULL PRIMARY KEY, m INT, FOREIGN KEY (m) REFERENCES mid (id) ON DELETE %[1]s);
						CREATE TABLE named (id INT NOT NULL PRIMARY KEY, c VARCHAR(9), FOREIGN KEY (c) REFERENCES top (code) ON UPDATE %[1]s)`, action), "a", "b")
					s.Exec("master", "INSERT INTO top VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')")
					s.Exec("master", "INSERT INTO mid VALUES (1, 1), (2, 2), (5, 5)")
					s.Exec("master", "INSERT INTO leaf VALUES (5, 5)")
					s.Exchange("a", "b")
					s.Cut("a", "b")
					s.Exec("a", "DELETE FROM top WHERE id = 1")               // under a new leaf of the master's
					s.Exec("a", "DELETE FROM top WHERE id = 2")               // under one of b's
					s.Exec("a", "DELETE FROM top WHERE id = 3")               // under one that gets another parent
					s.Exec("a", "UPDATE top SET code = 'other' WHERE id = 4") // under a new reference to its code
					s.Exec("a", "DELETE FROM top WHERE id = 5")               // with all that the snap knew of
					s.Exec("master", "INSERT INTO leaf VALUES (10, 1)")
					s.Exec("master", "INSERT INTO mid VALUES (30, 3)")
					s.Exec("master", "INSERT INTO named VALUES (40, 'four')")
					s.Exec("b", "INSERT INTO leaf VALUES (20, 2)")
					s.Heal("b")
					s.Exchange("b")
					s.Heal("a")
					s.Exchange("a", "b")
					s.Same("top", "mid", "leaf", "named")
					require.Equal(t, "[1]\n[2]\n[3]\n[4]", s.Rows("a", "SELECT id FROM top ORDER BY id"))
					require.Equal(t, "[10,1]\n[20,2]", s.Rows("a", "SELECT * FROM leaf WHERE id <> 5 ORDER BY id"))
					require.Equal(t, "[30,3]", s.Rows("a", "SELECT * FROM mid WHERE id = 30"))
					require.Equal(t, `[40,"four"]`, s.Rows("a", "SELECT * FROM named"))
					reasons := make(map[string]string)
					for _, c := range s.Conflicts("a") {
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
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{}, `CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, u INT UNIQUE);
		CREATE TABLE child (id INT NOT NULL PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)`, "a")
	s.Exec("master", "INSERT INTO parent VALUES (1, 1), (2, 2)")
	s.Exec("master", "INSERT INTO child VALUES (1, 1), (2, 2)")
	s.Exchange("a")
	tx, err := s.Nodes["a"].Begin()
	require.NoError(t, err)
	for _, query := range []string{"UPDATE parent SET u = NULL WHERE id = 1", "UPDATE parent SET u = 1 WHERE id = 2", "UPDATE parent SET u = 2 WHERE id = 1"} {
		_, err = tx.Exec(query)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	s.Exchange("a")
	s.Same("parent", "child")
	require.Equal(t, "[1,2]\n[2,1]", s.Rows("master", "SELECT * FROM parent ORDER BY id"))
	require.Len(t, s.Rows("master", "SELECT * FROM child"), len("[1,1]\n[2,2]"))
	require.Empty(t, s.Conflicts("a"))
}
