package snaps_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/fault"
)

// A snap's database is copied to a second machine, and both write offline under the same id and the same numbers. The
// copy does not take the other's batches for its own: it stops with words, and with Rejoin its batches are sent as new ones.
func TestSnapCopiedDatabase(t *testing.T) {
	for _, more := range []bool{false, true} { // whether the master has numbers that the copy never gave
		s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema, "a")
		s.Exec("a", "INSERT INTO p VALUES (1, 1, 'early', 0)")
		s.Exchange("a")
		s.Cut("a")
		file := filepath.Join(t.TempDir(), "copy.db")
		_, err := s.DBs["a"].Exec("VACUUM INTO ?", file)
		require.NoError(t, err)
		s.DBs["copy"], s.Links["copy"] = testdb.OpenSQLite(t, file), fault.New(s.Net)
		o := s.Opts["a"]
		o.Transport = s.Links["copy"]
		open := func() *ddb.Cluster {
			c, err := ddb.Open(s.Ctx, s.DBs["copy"], o)
			require.NoError(t, err)
			s.Nodes["copy"] = c
			return c
		}
		require.NoError(t, open().WaitReady(s.Ctx))
		s.Exec("copy", "INSERT INTO p VALUES (2, 2, 'copy', 0)")
		s.Exchange("copy")
		s.Cut("copy")
		s.Exec("copy", "INSERT INTO p VALUES (3, 3, 'copy', 0)")

		s.Restart("a") // or it might number its next batch before it hears of the copy's
		s.Heal("a")
		s.Exec("a", "INSERT INTO p VALUES (4, 4, 'first', 0)")
		if more {
			s.Exec("a", "INSERT INTO p VALUES (5, 5, 'first', 0)")
		}
		s.Exchange("a")
		s.Cut("a")
		s.Heal("copy")
		require.Eventually(t, func() bool { return s.Nodes["copy"].Nodes()[0].State == ddb.Failed }, testcluster.Patience, 5*time.Millisecond)
		require.Contains(t, s.Nodes["copy"].Nodes()[0].Reason, "a copy of another machine's")
		require.EqualValues(t, 1, s.Nodes["copy"].Nodes()[0].Pending)
		require.Eventually(t, func() bool { return s.States("master")["a"] == ddb.Failed }, testcluster.Patience, 5*time.Millisecond) // there too

		require.NoError(t, s.Nodes["copy"].Close())
		o.Rejoin = true
		require.NoError(t, open().WaitReady(s.Ctx))
		s.Exec("copy", "INSERT INTO p VALUES (6, 6, 'copy', 0)")
		s.Exchange("copy")
		require.Equal(t, "[2,\"copy\"]\n[3,\"copy\"]\n[6,\"copy\"]", s.Rows("master", "SELECT id, v FROM p WHERE v = 'copy' ORDER BY id"))
		require.Empty(t, s.Conflicts("master"))
		require.NoError(t, s.Nodes["copy"].Close())
		delete(s.Nodes, "copy")
		s.Heal("a")
		s.Exchange("a")
		s.Same("p")
	}
}
