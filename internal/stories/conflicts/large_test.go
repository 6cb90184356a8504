package conflicts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A conflict whose three images together are larger than what a MariaDB server takes at once stops nobody, and the values
// that lost are found again.
func TestConflictLargeRows(t *testing.T) {
	const size = 5 << 19 // of each of two values; the servers of the tests take 16 MiB
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{Heartbeat: time.Second}, "CREATE TABLE big (id INT NOT NULL PRIMARY KEY, v LONGTEXT, b LONGBLOB); "+testcluster.PairSchema, "a", "b")
	s.Exec("master", "INSERT INTO big VALUES (1, ?, ?)", strings.Repeat("<", size), make([]byte, size))
	s.Exchange("a")
	s.Cut("a")
	text, blob := strings.Repeat("\x01", size), []byte(strings.Repeat("\xff", size))
	s.Exec("a", "UPDATE big SET v = ?, b = ? WHERE id = 1", text, blob)
	s.Exec("master", "UPDATE big SET v = ? WHERE id = 1", strings.Repeat("m", size))
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'behind', 0)")
	s.Heal("a")
	s.Exec("b", "INSERT INTO p VALUES (2, 2, 'other snap', 0)")
	s.Exchange("a", "b")
	s.Same("p")
	list := s.Conflicts("b")
	require.Len(t, list, 1)
	require.NoError(t, s.Nodes["master"].RetryConflict(s.Ctx, list[0].ID))
	s.Exchange("a", "b")
	var v string
	var b []byte
	require.NoError(t, s.DBs["b"].QueryRow("SELECT v, b FROM big").Scan(&v, &b))
	require.True(t, v == text && string(b) == string(blob), "the loser's values are lost")
}

// A row of the master that could not be kept as the loser does not lose: the batch is refused, and what it wrote is kept.
func TestConflictLoserTooLarge(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{Heartbeat: 10 * time.Second, Conflicts: map[string]ddb.Policy{"big": ddb.SnapWins}}, "CREATE TABLE big (id INT NOT NULL PRIMARY KEY, v LONGTEXT, b LONGBLOB)", "a")
	s.Exec("master", "INSERT INTO big VALUES (1, 'base', '')")
	s.Exchange("a")
	s.Cut("a")
	s.Exec("a", "UPDATE big SET v = 'snap' WHERE id = 1")
	s.Exec("master", "UPDATE big SET v = REPEAT('m', 5000000), b = REPEAT('m', 12000000) WHERE id = 1") // more than a statement could bring
	s.Heal("a")
	s.Exchange("a")
	require.Equal(t, "[5000000,12000000]", s.Rows("a", "SELECT LENGTH(v), LENGTH(b) FROM big"))
	list := s.Conflicts("a")
	require.Len(t, list, 1)
	require.Equal(t, "refused", list[0].Outcome)
	require.Contains(t, list[0].Reason, "table big is too large to be kept")
	require.Contains(t, list[0].Local, `"v":"snap"`)
	require.Contains(t, list[0].Remote, "$left out")
}

// A batch that can be neither applied nor kept as a conflict stops the snap that sent it, visibly, and no other. It stays
// in the snap's queue, and is settled when the cause is gone.
func TestSnapUnsettledBatch(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema, "a", "b")
	for i, who := range []string{"kept", "not kept"} {
		s.Cut("a")
		s.Exec("a", "INSERT INTO p VALUES (?, ?, ?, 0)", i, i, who)
		s.Exec("a", "INSERT INTO p VALUES (?, ?, 'behind', 0)", i+10, i+10)
		s.Exec("master", "INSERT INTO p VALUES (?, ?, 'master', 0)", i, i)
		if i == 1 {
			_, err := s.DBs["master"].Exec("CREATE UNIQUE INDEX nomore ON _ddb_conflicts (policy)")
			require.NoError(t, err)
			break
		}
		s.Heal("a")
		s.Exchange("a")
	}
	s.Heal("a")
	require.Eventually(t, func() bool {
		for _, n := range s.Nodes["a"].Nodes() {
			if n.ID == "a" && n.State == ddb.Failed && strings.Contains(n.Reason, ddb.ErrUnsettled.Error()) {
				return true
			}
		}
		return false
	}, testcluster.Patience, 5*time.Millisecond)
	s.Exec("b", "INSERT INTO p VALUES (2, 2, 'other', 0)")
	s.Exchange("b")
	require.Equal(t, "[0]", s.Rows("master", "SELECT COUNT(*) FROM p WHERE id = 11"))

	_, err := s.DBs["master"].Exec("DROP INDEX nomore")
	require.NoError(t, err)
	s.Restart("a")
	s.Exchange("a", "b")
	s.Same("p")
	require.Len(t, s.Conflicts("b"), 2)
}
