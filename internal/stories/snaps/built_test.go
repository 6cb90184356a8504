package snaps_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A batch that was built on a refused one is told apart by a master that has been restarted since, and by another that
// has taken its place.
func TestSnapBuiltOnRefused(t *testing.T) {
	for _, promoted := range []bool{false, true} {
		s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema)
		s.Replica("r")
		s.Snap("a", ddb.Options{})
		s.Exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0)")
		s.Exchange("a")
		s.Cut("a")
		s.Exec("a", "UPDATE p SET v = 'first' WHERE id = 1")
		s.Exec("a", "UPDATE p SET v = 'second' WHERE id = 1")
		s.Exec("master", "UPDATE p SET v = 'master' WHERE id = 1")
		require.NoError(t, s.Nodes["a"].Close())
		var id, at, records, bytes int64 // of the second batch, which is to come late
		var payload []byte
		const last = "FROM _ddb_batches WHERE id = (SELECT MAX(id) FROM _ddb_batches)"
		require.NoError(t, s.DBs["a"].QueryRow("SELECT id, at, records, bytes, payload "+last).Scan(&id, &at, &records, &bytes, &payload))
		_, err := s.DBs["a"].Exec("DELETE " + last)
		require.NoError(t, err)
		s.Open("a", s.Opts["a"])
		s.Heal("a")
		s.Exchange("a")
		require.Len(t, s.Conflicts("a"), 1)
		require.NoError(t, s.Nodes["a"].Close())
		_, err = s.DBs["a"].Exec("INSERT INTO _ddb_batches (id, at, records, bytes, payload) VALUES (?, ?, ?, ?, ?)", id, at, records, bytes, payload)
		require.NoError(t, err)
		if promoted {
			require.NoError(t, testcluster.WaitLSN(s.Ctx, s.Nodes["r"], s.Nodes["master"]))
			s.Promote("r")
		} else {
			s.Restart("master")
		}
		s.Open("a", s.Opts["a"])
		s.Exchange("a")
		require.Len(t, s.Conflicts("a"), 2)
		require.Contains(t, s.Conflicts("a")[0].Reason, "built on batch 1, which was refused")
	}
}
