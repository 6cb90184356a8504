package conflicts_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A batch that files the image of one row under the key of another reaches neither: it is refused, and what it says is kept.
func TestSnapKeyAstray(t *testing.T) {
	for name, key := range map[string]string{"exact": "TEXT", "collated": "TEXT COLLATE NOCASE"} {
		t.Run(name, func(t *testing.T) {
			s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.SnapWins},
				Nodes: map[string]ddb.NodeAccess{"a": {Tables: map[string]ddb.Ops{"t": ddb.Insert}}}}, "CREATE TABLE t (k "+key+" NOT NULL PRIMARY KEY, v TEXT)", "a")
			s.Exec("master", "INSERT INTO t VALUES ('one', 'fine')")
			s.Exchange("a")
			s.Cut("a")
			s.Exec("a", "INSERT INTO t VALUES ('new', 'forged')")
			require.NoError(t, changeRows(s.DBs["a"], func(r *dialect.Row) { r.Values[0] = "one" }))
			s.Heal("a")
			s.Exchange("a")
			s.Same("t")
			require.Equal(t, `["one","fine"]`, s.Rows("master", "SELECT * FROM t"))
			list := s.Conflicts("master")
			require.Len(t, list, 1)
			require.Contains(t, list[0].Local, "forged")
			require.Contains(t, list[0].Reason, "another key")
		})
	}
}

// A snap that may only insert overwrites no row that is there, not even where its rows win.
func TestNodeAccessWins(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Conflicts: map[string]ddb.Policy{"": ddb.SnapWins},
		Nodes: map[string]ddb.NodeAccess{"a": {Tables: map[string]ddb.Ops{"p": ddb.Insert}}}}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
	s.Heal("a")
	s.Exchange("a")
	s.Same("p")
	require.Equal(t, `["master"]`, s.Rows("master", "SELECT v FROM p"))
	require.Contains(t, s.Conflicts("master")[0].Reason, "Options.Nodes")
}

// A key that is only written in another way is no other key where the collation says so.
func TestSnapKeyRespelt(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		collation := map[string]string{"sqlite": "NOCASE", "mariadb": "utf8mb4_general_ci"}[string(e)]
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE t (k VARCHAR(20) COLLATE "+collation+" NOT NULL PRIMARY KEY, v INT)", "a")
		s.Exec("master", "INSERT INTO t VALUES ('one', 1)")
		s.Exchange("a")
		s.Exec("a", "UPDATE t SET k = 'ONE', v = 2 WHERE k = 'one'")
		s.Exchange("a")
		s.Same("t")
		require.Empty(t, s.Conflicts("master"))
		require.Equal(t, `["ONE",2]`, s.Rows("master", "SELECT * FROM t"))
	})
}

// A snap that settles a conflict writes nothing but that it is settled, whatever its batch says of the rest.
func TestSnapForgesConflict(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, 'lost', 0)")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'won', 0)")
	s.Heal("a")
	s.Exchange("a")
	s.Cut("a")
	require.NoError(t, s.Nodes["a"].DismissConflict(s.Ctx, s.Conflicts("a")[0].ID))
	require.NoError(t, changeRows(s.DBs["a"], func(r *dialect.Row) { r.Base[6], r.Values[6] = "", "" }))
	s.Heal("a")
	s.Exchange("a")
	require.Equal(t, `["dismissed",1]`, s.Rows("master", "SELECT state, local LIKE '%lost%' FROM _ddb_conflicts"))
}

// Keys of every type are in a batch as they are in its rows, however a statement wrote them.
func TestSnapKeysOfEveryType(t *testing.T) {
	types := map[string]map[string][2]string{
		"sqlite": {"NUMERIC": {"'1.50'", "2e0"}, "INT": {"'5'", "6.0"}, "TEXT": {"7", "x'41'"}, "BLOB": {"x'00'", "1.0"}, "DATETIME": {"'2024-01-01 00:00:00'", "3"}},
		"mariadb": {"DECIMAL(9,3)": {"1", "'2.5'"}, "TIMESTAMP(3)": {"'2024-01-01'", "'2024-01-01 10:00:00.5'"}, "DATE": {"'2024-1-2'", "20240103"},
			"TIME(6)": {"'1:2:3'", "'-838:59:59'"}, "YEAR": {"24", "1999"}, "BIT(12)": {"5", "b'101010101010'"}, "BINARY(4)": {"'a'", "'b '"},
			"VARBINARY(9)": {"'a'", "'a '"}, "BIGINT UNSIGNED": {"1", "18446744073709551615"}, "ENUM('x','y')": {"1", "'y'"}, "SET('x','y')": {"'y,x'", "0"},
			"DOUBLE": {"0.1", "-0.0"}, "VARCHAR(9) COLLATE utf8mb4_nopad_bin": {"'a'", "'a '"}, "CHAR(9)": {"'a '", "'b'"}, "UUID": {"UUID()", "'00000000-0000-0000-0000-000000000001'"}},
	}
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		var schema, tables []string
		for kind := range types[string(e)] {
			tables = append(tables, fmt.Sprintf("t%d", len(tables)))
			schema = append(schema, "CREATE TABLE "+tables[len(tables)-1]+" (k "+kind+" NOT NULL, v INT, PRIMARY KEY (k))")
		}
		s := testcluster.NewShop(t, e, ddb.Options{}, strings.Join(schema, ";"), "a")
		for i, table := range tables {
			kind, _, _ := strings.Cut(strings.TrimPrefix(schema[i], "CREATE TABLE "+table+" (k "), " NOT NULL")
			for _, k := range types[string(e)][kind] {
				s.Exec("a", "INSERT INTO "+table+" VALUES ("+k+", 1)")
			}
			s.Exec("a", "UPDATE "+table+" SET v = 2")
			s.Exec("a", "UPDATE "+table+" SET k = k")
			s.Exec("a", "DELETE FROM "+table+" WHERE k = (SELECT k FROM (SELECT MIN(k) AS k FROM "+table+") x)")
		}
		s.Exchange("a")
		s.Same(tables...)
		require.Empty(t, s.Conflicts("master"))
	})
}
