package snaps_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A snap writes offline, everything is exchanged when the link is back, and a conflict ends
// with the master's row everywhere and the snap's in the conflicts table.
func TestSnapOffline(t *testing.T) {
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE item (id "+e.AutoKey()+", name VARCHAR(50), price INT)", "a", "b")
	s.Exec("master", "INSERT INTO item VALUES (1, 'tea', 10), (2, 'milk', 20), (3, 'salt', 30)")
	s.Exchange("a", "b")
	s.Cut("a", "b")
	s.Exec("a", "UPDATE item SET price = 11 WHERE id = 1")
	s.Exec("a", "INSERT INTO item VALUES (100, 'from a', 1)")
	s.Exec("a", "DELETE FROM item WHERE id = 3")
	s.Exec("b", "UPDATE item SET price = 12 WHERE id = 1")
	s.Exec("b", "INSERT INTO item VALUES (200, 'from b', 1)")
	s.Exec("master", "UPDATE item SET name = 'cream' WHERE id = 2")
	var price int
	require.NoError(t, s.Nodes["a"].QueryRow("SELECT price FROM item WHERE id = 1").Scan(&price))
	require.Equal(t, 11, price)
	s.Heal("a")
	s.Exchange("a")
	s.Heal("b")
	s.Exchange("a", "b")
	s.Same("item")
	require.Equal(t, "[1,\"tea\",11]\n[100,\"from a\",1]\n[2,\"cream\",20]\n[200,\"from b\",1]", s.Rows("master", "SELECT * FROM item"))
	list := s.Conflicts("a")
	require.Len(t, list, 1)
	require.Equal(t, "b", list[0].Origin)
	require.Equal(t, `{"id":1,"name":"tea","price":12}`, list[0].Local)
	require.Equal(t, `{"id":1,"name":"tea","price":11}`, list[0].Remote)
	require.Equal(t, `{"id":1,"name":"tea","price":10}`, list[0].Base)
	require.NoError(t, s.Nodes["b"].RetryConflict(s.Ctx, list[0].ID))
	s.Exchange("a", "b")
	s.Same("item")
	require.Empty(t, s.Conflicts("master"))
	require.Contains(t, s.Rows("master", "SELECT * FROM item"), `[1,"tea",12]`)
}
