package conflicts_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// Two snaps take the same amount from one account, offline, for different others: each makes the same row of it. Under
// master wins the second transfer is refused as a whole, for half of it would have been made by the first one.
func TestSnapTransfersMeet(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE account (id INT NOT NULL PRIMARY KEY, amount INT NOT NULL)", "a", "b")
		s.Exec("master", "INSERT INTO account VALUES (1, 100), (2, 100), (3, 100)")
		s.Exchange("a", "b")
		s.Cut("a", "b")
		for id, to := range map[string]int{"a": 2, "b": 3} {
			tx, err := s.Nodes[id].Begin()
			require.NoError(t, err)
			for _, q := range []string{"UPDATE account SET amount = amount - 30 WHERE id = 1", "UPDATE account SET amount = amount + 30 WHERE id = ?"} {
				var args []any
				if q[len(q)-1] == '?' {
					args = append(args, to)
				}
				_, err := tx.Exec(q, args...)
				require.NoError(t, err)
			}
			require.NoError(t, tx.Commit())
		}
		s.Heal("a")
		s.Exchange("a")
		s.Heal("b")
		s.Exchange("a", "b")
		s.Same("account")
		require.Equal(t, "[1,70]\n[2,130]\n[3,100]", s.Rows("b", "SELECT * FROM account"))
		require.Len(t, s.Conflicts("b"), 2)

		// The same change on both sides and nothing else is no conflict: it stands already.
		s.Cut("a", "b")
		for _, id := range []string{"a", "b"} {
			s.Exec(id, "UPDATE account SET amount = 5 WHERE id = 3")
		}
		s.Heal("a", "b")
		s.Exchange("a", "b")
		s.Same("account")
		require.Len(t, s.Conflicts("b"), 2)
	})
}
