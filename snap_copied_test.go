package ddb_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/fault"
)

// A snap's database is copied to a second machine, and both write offline under the same id and the same numbers. The
// copy does not take the other's batches for its own: it stops with words, and with Rejoin its batches are sent as new ones.
func TestSnapCopiedDatabase(t *testing.T) {
	for _, more := range []bool{false, true} { // whether the master has numbers that the copy never gave
		s := newShop(t, sqliteEngine(t), ddb.Options{}, pairSchema, "a")
		s.exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
		s.exchange("a")
		s.cut("a")
		file := filepath.Join(t.TempDir(), "copy.db")
		_, err := s.dbs["a"].Exec("VACUUM INTO ?", file)
		require.NoError(t, err)
		s.dbs["copy"], s.links["copy"] = testdb.OpenSQLite(t, file), fault.New(s.net)
		o := s.opts["a"]
		o.Transport = s.links["copy"]
		open := func() *ddb.Cluster {
			c, err := ddb.Open(s.ctx, s.dbs["copy"], o)
			require.NoError(t, err)
			s.nodes["copy"] = c
			return c
		}
		require.NoError(t, open().WaitReady(s.ctx))
		s.exec("copy", "INSERT INTO p VALUES (2, 2, 'copy', 0)")
		s.exchange("copy")
		s.cut("copy")
		s.exec("copy", "INSERT INTO p VALUES (3, 3, 'copy', 0)")

		s.restart("a") // or it might number its next batch before it hears of the copy's
		s.heal("a")
		s.exec("a", "INSERT INTO p VALUES (4, 4, 'first', 0)")
		if more {
			s.exec("a", "INSERT INTO p VALUES (5, 5, 'first', 0)")
		}
		s.exchange("a")
		s.cut("a")
		s.heal("copy")
		require.Eventually(t, func() bool { return s.nodes["copy"].Nodes()[0].State == ddb.Failed }, testPatience, testStep)
		require.Contains(t, s.nodes["copy"].Nodes()[0].Reason, "a copy of another machine's")
		require.EqualValues(t, 1, s.nodes["copy"].Nodes()[0].Pending)
		require.Eventually(t, func() bool { return s.states("master")["a"] == ddb.Failed }, testPatience, testStep) // there too

		require.NoError(t, s.nodes["copy"].Close())
		o.Rejoin = true
		require.NoError(t, open().WaitReady(s.ctx))
		s.exec("copy", "INSERT INTO p VALUES (6, 6, 'copy', 0)")
		s.exchange("copy")
		require.Equal(t, "[2,\"copy\"]\n[3,\"copy\"]\n[6,\"copy\"]", s.rows("master", "SELECT id, v FROM p WHERE v = 'copy' ORDER BY id"))
		require.Empty(t, s.conflicts("master"))
		require.NoError(t, s.nodes["copy"].Close())
		delete(s.nodes, "copy")
		s.heal("a")
		s.exchange("a")
		s.same("p")
	}
}
