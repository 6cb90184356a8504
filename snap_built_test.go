package ddb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// A batch that was built on a refused one is told apart by a master that has been restarted since, and by another that
// has taken its place.
func TestSnapBuiltOnRefused(t *testing.T) {
	for _, promoted := range []bool{false, true} {
		s := newShop(t, sqliteEngine(t), ddb.Options{}, pairSchema)
		s.replica("r")
		s.snap("a", ddb.Options{})
		s.exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0)")
		s.exchange("a")
		s.cut("a")
		s.exec("a", "UPDATE p SET v = 'first' WHERE id = 1")
		s.exec("a", "UPDATE p SET v = 'second' WHERE id = 1")
		s.exec("master", "UPDATE p SET v = 'master' WHERE id = 1")
		require.NoError(t, s.nodes["a"].Close())
		var id, at, records, bytes int64 // of the second batch, which is to come late
		var payload []byte
		const last = "FROM _ddb_batches WHERE id = (SELECT MAX(id) FROM _ddb_batches)"
		require.NoError(t, s.dbs["a"].QueryRow("SELECT id, at, records, bytes, payload "+last).Scan(&id, &at, &records, &bytes, &payload))
		_, err := s.dbs["a"].Exec("DELETE " + last)
		require.NoError(t, err)
		s.open("a", s.opts["a"])
		s.heal("a")
		s.exchange("a")
		require.Len(t, s.conflicts("a"), 1)
		require.NoError(t, s.nodes["a"].Close())
		_, err = s.dbs["a"].Exec("INSERT INTO _ddb_batches (id, at, records, bytes, payload) VALUES (?, ?, ?, ?, ?)", id, at, records, bytes, payload)
		require.NoError(t, err)
		if promoted {
			require.NoError(t, ddb.WaitLSN(s.ctx, s.nodes["r"], s.nodes["master"]))
			s.promote("r")
		} else {
			s.restart("master")
		}
		s.open("a", s.opts["a"])
		s.exchange("a")
		require.Len(t, s.conflicts("a"), 2)
		require.Contains(t, s.conflicts("a")[0].Reason, "built on batch 1, which was refused")
	}
}
