package ddb_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// Rows whose keys the database hands out on the master and on two snaps, offline, never
// meet, and LastInsertId is the key of the row.
func TestHandedOutKeys(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.int+", v VARCHAR(20)); CREATE TABLE l (id "+e.int+", v VARCHAR(20))", "a", "b")
		all := []string{"master", "a", "b"}
		for round := range 3 {
			s.cut("a", "b")
			for _, id := range all {
				for i := range 4 {
					v := fmt.Sprintf("%s-%d-%d", id, round, i)
					last, err := s.exec(id, "INSERT INTO k (v) VALUES (?)", v).LastInsertId()
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("[%q]", v), s.rows(id, fmt.Sprintf("SELECT v FROM k WHERE id = %d", last)), "%s: key %d", id, last)
				}
				tx, err := s.nodes[id].Begin()
				require.NoError(t, err)
				res, err := tx.Exec("INSERT INTO l (v) VALUES ('x'), ('y')")
				require.NoError(t, err)
				last, err := res.LastInsertId()
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
				require.NotEmpty(t, s.rows(id, fmt.Sprintf("SELECT v FROM l WHERE id = %d", last)))
			}
			s.heal("a", "b")
			s.exchange("a", "b")
			s.same("k", "l")
			require.Empty(t, s.conflicts("master"))
		}
		var n int
		require.NoError(t, s.dbs["master"].QueryRow("SELECT COUNT(*) FROM k").Scan(&n))
		require.Equal(t, 3*3*4, n)
		// A key that the user gives stays, wherever it is.
		s.exec("a", "INSERT INTO k VALUES (77, 'mine')")
		require.Equal(t, `[77]`, s.rows("a", "SELECT id FROM k WHERE v = 'mine'"))
	})
}

// When a node's range is used up, an insert that asks for a key is refused and changes nothing: the next key is another node's.
func TestHandedOutKeysEnd(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{}, `CREATE TABLE "it's" (id INTEGER PRIMARY KEY, v VARCHAR(20))`, "a")
	for _, id := range []string{"master", "a"} {
		first, err := s.exec(id, `INSERT INTO "it's" (v) VALUES ('first')`).LastInsertId()
		require.NoError(t, err)
		s.exec(id, `DELETE FROM "it's"`)
		const keys = 1 << 40 // of a snap; the master has twice as many
		end := (first/keys + 1) * keys
		if id == "master" {
			end += keys
		}
		s.exec(id, fmt.Sprintf(`INSERT INTO "it's" VALUES (%d, 'last')`, end-1))
		before := s.rows(id, `SELECT * FROM "it's"`)
		_, err = s.nodes[id].Exec(`INSERT INTO "it's" (v) VALUES ('one too many')`)
		require.ErrorContains(t, err, "the keys of this node for table it's are used up")
		require.Equal(t, before, s.rows(id, `SELECT * FROM "it's"`))
		s.exec(id, `INSERT INTO "it's" VALUES (77, 'own')`)
		s.exec(id, `DELETE FROM "it's"`)
	}
	s.exchange("a")
	s.same(`"it's"`)
}

// Detach says what would be lost.
func TestDetachPending(t *testing.T) {
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{}, pairSchema, "a")
	s.cut("a")
	s.exec("a", "INSERT INTO p VALUES (1, 1, '', 0)")
	require.NoError(t, s.nodes["a"].Close())
	delete(s.nodes, "a")
	require.ErrorContains(t, ddb.Detach(s.ctx, s.dbs["a"], ddb.Options{Role: ddb.Snap}), "1 batches")
	require.NoError(t, ddb.Detach(s.ctx, s.dbs["a"], ddb.Options{Role: ddb.Snap, Rejoin: true}))
	require.Equal(t, `[0]`, dump(t, s.dbs["a"], "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '\\_ddb%' ESCAPE '\\'"))
	_, err := s.dbs["a"].Exec("INSERT INTO p VALUES (2, 2, '', 0)")
	require.NoError(t, err)
}
