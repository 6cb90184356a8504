package keys_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// Rows whose keys the database hands out on the master and on two snaps, offline, never
// meet, and LastInsertId is the key of the row.
func TestHandedOutKeys(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE k (id "+e.AutoKey()+", v VARCHAR(20)); CREATE TABLE l (id "+e.AutoKey()+", v VARCHAR(20))", "a", "b")
		all := []string{"master", "a", "b"}
		for round := range 3 {
			s.Cut("a", "b")
			for _, id := range all {
				for i := range 4 {
					v := fmt.Sprintf("%s-%d-%d", id, round, i)
					last, err := s.Exec(id, "INSERT INTO k (v) VALUES (?)", v).LastInsertId()
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("[%q]", v), s.Rows(id, fmt.Sprintf("SELECT v FROM k WHERE id = %d", last)), "%s: key %d", id, last)
				}
				tx, err := s.Nodes[id].Begin()
				require.NoError(t, err)
				res, err := tx.Exec("INSERT INTO l (v) VALUES ('x'), ('y')")
				require.NoError(t, err)
				last, err := res.LastInsertId()
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
				require.NotEmpty(t, s.Rows(id, fmt.Sprintf("SELECT v FROM l WHERE id = %d", last)))
			}
			s.Heal("a", "b")
			s.Exchange("a", "b")
			s.Same("k", "l")
			require.Empty(t, s.Conflicts("master"))
		}
		var n int
		require.NoError(t, s.DBs["master"].QueryRow("SELECT COUNT(*) FROM k").Scan(&n))
		require.Equal(t, 3*3*4, n)
		// A key that the user gives stays, wherever it is.
		s.Exec("a", "INSERT INTO k VALUES (77, 'mine')")
		require.Equal(t, `[77]`, s.Rows("a", "SELECT id FROM k WHERE v = 'mine'"))
	})
}

// When a node's range is used up, an insert that asks for a key is refused and changes nothing: the next key is another node's.
func TestHandedOutKeysEnd(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, `CREATE TABLE "it's" (id INTEGER PRIMARY KEY, v VARCHAR(20))`, "a")
	for _, id := range []string{"master", "a"} {
		first, err := s.Exec(id, `INSERT INTO "it's" (v) VALUES ('first')`).LastInsertId()
		require.NoError(t, err)
		s.Exec(id, `DELETE FROM "it's"`)
		const keys = 1 << 40 // of a snap; the master has twice as many
		end := (first/keys + 1) * keys
		if id == "master" {
			end += keys
		}
		s.Exec(id, fmt.Sprintf(`INSERT INTO "it's" VALUES (%d, 'last')`, end-1))
		before := s.Rows(id, `SELECT * FROM "it's"`)
		_, err = s.Nodes[id].Exec(`INSERT INTO "it's" (v) VALUES ('one too many')`)
		require.ErrorContains(t, err, "the keys of this node for table it's are used up")
		require.Equal(t, before, s.Rows(id, `SELECT * FROM "it's"`))
		s.Exec(id, `INSERT INTO "it's" VALUES (77, 'own')`)
		s.Exec(id, `DELETE FROM "it's"`)
	}
	s.Exchange("a")
	s.Same(`"it's"`)
}

// Detach says what would be lost.
func TestDetachPending(t *testing.T) {
	e := testcluster.SQLite
	s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p VALUES (1, 1, '', 0)")
	require.NoError(t, s.Nodes["a"].Close())
	delete(s.Nodes, "a")
	require.ErrorContains(t, ddb.Detach(s.Ctx, s.DBs["a"], ddb.Options{Role: ddb.Snap}), "1 batches")
	require.NoError(t, ddb.Detach(s.Ctx, s.DBs["a"], ddb.Options{Role: ddb.Snap, Rejoin: true}))
	require.Equal(t, `[0]`, testcluster.Rows(t, s.DBs["a"], "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '\\_ddb%' ESCAPE '\\'"))
	_, err := s.DBs["a"].Exec("INSERT INTO p VALUES (2, 2, '', 0)")
	require.NoError(t, err)
}

// foreignKeys gives every table rows with the master's and the snap's keys, so that what each hands out next is beyond its own range.
func foreignKeys(s *testcluster.Shop, tables ...string) {
	s.TB.Helper()
	for _, t := range tables {
		s.Exec("master", "INSERT INTO "+t+" (v) VALUES ('of the master')")
		s.Exec("a", "INSERT INTO "+t+" (v) VALUES ('of a')")
	}
	s.Exchange("a")
	for _, t := range tables { // another snap's, the highest of all
		s.Exec("master", fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, 'of another')", t, int64(1)<<50))
	}
	s.Exchange("a")
}

// RETURNING tells the keys that rows have in the end, by every way that a statement can take, with aliases, expressions and other
// columns as they are; what cannot be told is refused by the name of the table, and nothing of it stands.
func TestHandedOutKeysReturning(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, `CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT UNIQUE, at DATETIME DEFAULT '2020-01-02 03:04:05'); CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, at DATETIME DEFAULT '2020-01-02 03:04:05')`, "a")
	foreignKeys(s, "k", "auto")
	for _, id := range []string{"master", "a"} {
		c := s.Nodes[id]
		type queryer interface {
			QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		}
		is := func(q queryer, want int, query string, args ...any) {
			t.Helper()
			rows, err := q.QueryContext(s.Ctx, query, args...)
			require.NoError(t, err, query)
			defer rows.Close()
			names, err := rows.Columns()
			require.NoError(t, err)
			require.Equal(t, []string{"key", "w", "at"}, names)
			n := 0
			for ; rows.Next(); n++ {
				var key int64
				var w string
				var at time.Time
				require.NoError(t, rows.Scan(&key, &w, &at))
				table := "k"
				if strings.Contains(query, "auto") {
					table = "auto"
				}
				var v string
				require.NoError(t, q.(interface {
					QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
				}).QueryRowContext(s.Ctx, "SELECT v FROM "+table+" WHERE id = ?", key).Scan(&v), "%s: key %d", id, key)
				require.Equal(t, v+"!", w)
				require.Less(t, key, int64(1)<<50)
			}
			require.NoError(t, rows.Err())
			require.Equal(t, want, n)
		}
		const list = " RETURNING id AS key, v || '!' AS w, at"
		tx, err := c.Begin()
		require.NoError(t, err)
		conn, err := c.Conn(s.Ctx)
		require.NoError(t, err)
		stmt, err := c.Prepare("INSERT INTO k (v) VALUES (?)" + list)
		require.NoError(t, err)
		is(tx, 1, "INSERT INTO k (v) VALUES (?)"+list, id+" tx")
		is(tx, 3, "-- three\nWITH x(v) AS (VALUES (1), (2), (3)) INSERT OR REPLACE INTO main.[K] AS r (v) SELECT '"+id+"' || v FROM x"+list+" -- end")
		is(tx, 2, "INSERT INTO auto (v) VALUES ('x'), ('y') RETURNING id AS key, v || '!' AS w, at")
		require.NoError(t, tx.Commit())
		is(c, 2, "REPLACE INTO k (v) VALUES (?), (?)"+list+";", id+"1", id+"2")
		is(c.DB(), 1, "INSERT INTO k (v) VALUES (?)"+list, id+" db")
		is(conn, 1, "INSERT INTO k (v) VALUES (?)"+list, id+" conn")
		_, err = conn.ExecContext(s.Ctx, "CREATE TEMP TABLE pin (x)")
		require.NoError(t, err)
		is(conn, 1, "INSERT INTO k (v) VALUES (?)"+list, id+" pinned")
		var key int64
		require.NoError(t, stmt.QueryRow(id+" stmt").Scan(&key, new(string), new(time.Time)))
		require.Equal(t, fmt.Sprintf("[%q]", id+" stmt"), s.Rows(id, fmt.Sprintf("SELECT v FROM k WHERE id = %d", key)))
		before := s.Rows(id, "SELECT * FROM k")
		for _, query := range []string{
			"INSERT INTO auto (id, v) VALUES (NULL, 'm'), (7777, 'n'), (NULL, 'o') RETURNING id",
			"INSERT INTO k (v) VALUES ('m') RETURNING id, (SELECT count(*) FROM k)",
			"INSERT INTO k (v) VALUES ('m') RETURNING id, ?",
			"INSERT INTO k (v) VALUES ('m'); INSERT INTO k (v) VALUES ('n') RETURNING id",
		} {
			_, err := c.Query(query, make([]any, strings.Count(query, "?"))...)
			require.ErrorIs(t, err, ddb.ErrNotReplicable, query)
			require.ErrorContains(t, err, "table "+strings.Fields(query)[2], query)
		}
		require.Equal(t, before, s.Rows(id, "SELECT * FROM k"))
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM auto WHERE v IN ('m', 'n', 'o')"))
		// What is told right is left alone.
		require.NoError(t, c.QueryRow("INSERT INTO k (id, v) VALUES (8888, 'mine') RETURNING id, (SELECT 1)").Scan(&key, new(int)))
		require.Equal(t, int64(8888), key)
		require.NoError(t, c.QueryRow("DELETE FROM k WHERE id = 8888 RETURNING id").Scan(&key))
		require.NoError(t, conn.Close())
		require.NoError(t, stmt.Close())
		s.Exchange("a") // what one has done does not come to the other while that looks at its rows
	}
	s.Same("k", "auto")
	require.Empty(t, s.Conflicts("master"))
}

// Where only some of the rows are moved RETURNING tells all of them: of the first rows of a snap only one is, since its own keys are
// the highest from then on.
func TestHandedOutKeysReturningSome(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT UNIQUE); CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE)", "a")
	told := func(id, table, query string, want ...string) {
		t.Helper()
		rows, err := s.Nodes[id].Query(query)
		require.NoError(t, err, query)
		defer rows.Close()
		var list []string
		for rows.Next() {
			var key int64
			var v string
			require.NoError(t, rows.Scan(&key, &v))
			require.Equal(t, fmt.Sprintf("[%q]", v), s.Rows(id, fmt.Sprintf("SELECT v FROM %s WHERE id = %d", table, key)), query)
			list = append(list, v)
		}
		require.NoError(t, rows.Err())
		require.Equal(t, want, list)
	}
	for _, table := range []string{"k", "auto"} {
		s.Exec("master", "INSERT INTO "+table+" (v) VALUES ('of the master')")
		s.Exchange("a")
		told("a", table, "INSERT INTO "+table+" (v) VALUES ('x'), ('y'), ('z') RETURNING id, v", "x", "y", "z")
		s.Exchange("a")
		told("master", table, "INSERT INTO "+table+" (id, v) VALUES (-7, 'a'), (NULL, 'b'), (5000, 'c') RETURNING id, v", "a", "b", "c")
	}
	// One is inserted and moved, and the next changes a row that was there.
	told("master", "k", "INSERT INTO k (v) VALUES ('d'), ('x') ON CONFLICT DO UPDATE SET v = 'e' RETURNING id, v", "d", "e")
	s.Exchange("a")
	s.Same("k", "auto")
}

// A text that begins and ends a transaction of its own runs on a connection of the program's, and tells the key in the end.
func TestHandedOutKeysSpanning(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT)", "a")
	foreignKeys(s, "k")
	for _, id := range []string{"master", "a"} {
		conn, err := s.Nodes[id].Conn(s.Ctx)
		require.NoError(t, err)
		_, err = conn.ExecContext(s.Ctx, "CREATE TEMP TABLE pin (x)")
		require.NoError(t, err)
		_, err = conn.ExecContext(s.Ctx, "BEGIN; INSERT INTO k (v) VALUES ('in one'); INSERT INTO k (v) VALUES ('"+id+"'); COMMIT;")
		require.NoError(t, err)
		var key int64
		require.NoError(t, conn.QueryRowContext(s.Ctx, "SELECT last_insert_rowid()").Scan(&key))
		require.Equal(t, fmt.Sprintf("[%q]", id), s.Rows(id, fmt.Sprintf("SELECT v FROM k WHERE id = %d", key)))
		_, err = conn.ExecContext(s.Ctx, "BEGIN; INSERT INTO k (v) VALUES ('undone')")
		require.NoError(t, err)
		_, err = conn.ExecContext(s.Ctx, "INSERT INTO k (v) VALUES ('undone'); ROLLBACK")
		require.NoError(t, err)
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM k WHERE v = 'undone'"))
		_, err = conn.ExecContext(s.Ctx, "BEGIN; INSERT INTO k (v) VALUES (?); COMMIT", "x")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		require.NoError(t, conn.Close())
	}
	s.WaitFor("[2]", "SELECT count(*) FROM k WHERE v IN ('master', 'a')") // a's own connection is not waited for
	s.Exchange("a")
	s.Same("k")
}

// A snap that rejoins another cluster may get a lower range of keys than it had.
func TestHandedOutKeysRejoin(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT)", "b", "a")
	foreignKeys(s, "k")
	s.Exec("a", "INSERT INTO k (v) VALUES ('moved')")
	s.Exchange("a")
	require.NoError(t, s.Nodes["a"].Close())
	s.Open("other", ddb.Options{Listen: "other", Transport: s.Net})
	s.Exec("other", "CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT)")
	s.Exec("other", fmt.Sprintf("INSERT INTO k VALUES (%d, 'of another')", int64(1)<<50))
	o := s.Opts["a"]
	o.Master, o.Rejoin = "other", true
	a := s.Open("a", o)
	require.Eventually(t, func() bool { return a.Position() == s.Nodes["other"].Position() }, testcluster.Patience, time.Millisecond) // ready it is with what it had, too
	require.NoError(t, a.WaitReady(s.Ctx))
	last, err := s.Exec("a", "INSERT INTO k (v) VALUES ('moved')").LastInsertId()
	require.NoError(t, err)
	require.Equal(t, int64(2), last>>40)
	require.Equal(t, `["moved"]`, s.Rows("a", fmt.Sprintf("SELECT v FROM k WHERE id = %d", last)))
}

// LastInsertId, and last_insert_rowid() in a transaction and on a connection of the program's own, tell the key that the
// row has in the end, however the text begins, and changes() is what it was. Nothing of it is left behind.
func TestHandedOutKeysLast(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, `CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT UNIQUE); CREATE TABLE child (id INTEGER PRIMARY KEY, v INT, k INT)`, "a")
	foreignKeys(s, "k", "child")
	for _, id := range []string{"master", "a"} {
		conn, err := s.Nodes[id].Conn(s.Ctx)
		require.NoError(t, err)
		key := func(v string) (key int64) {
			t.Helper()
			require.NoError(t, s.DBs[id].QueryRow("SELECT id FROM k WHERE v = ?", v).Scan(&key))
			return key
		}
		for _, query := range []string{
			"/* INTO x */ INSERT INTO k (v) VALUES (?)",
			"-- a\nWITH x AS (SELECT ? AS v) INSERT INTO main . k (v) SELECT v FROM x",
			"REPLACE INTO \"k\" (v) VALUES (?)",
			"UPDATE child SET v = 1 WHERE id = -5; INSERT INTO k (v) VALUES (?);",
			"INSERT INTO k (v) VALUES (?), ('" + id + " -- INSERT OR') ON CONFLICT DO UPDATE SET v = v",
		} {
			v := id + " " + query
			res := s.Exec(id, query, v)
			last, err := res.LastInsertId()
			require.NoError(t, err)
			if !strings.Contains(query, "), (") || key(v) == last {
				require.Equal(t, key(v), last, query)
			} else {
				require.Equal(t, key(id+" -- INSERT OR"), last)
			}
		}
		// The second row is there already.
		last, err := s.Exec(id, "INSERT OR IGNORE INTO k (v) VALUES (?), ('of a')", id+" ignores").LastInsertId()
		require.NoError(t, err)
		require.Equal(t, key(id+" ignores"), last)

		tx, err := s.Nodes[id].Begin()
		require.NoError(t, err)
		for _, q := range []interface {
			ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
			QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
		}{tx, conn} {
			v := fmt.Sprintf("%s %T", id, q)
			if q == any(conn) {
				require.NoError(t, tx.Commit())
				_, err := conn.ExecContext(s.Ctx, "CREATE TEMP TABLE pin (x)")
				require.NoError(t, err)
			}
			res, err := q.ExecContext(s.Ctx, "INSERT INTO k (v) VALUES (?), (?), (?)", v+"1", v+"2", v)
			require.NoError(t, err)
			n, err := res.RowsAffected()
			require.NoError(t, err)
			require.Equal(t, int64(3), n)
			var told, changes int64
			require.NoError(t, q.QueryRowContext(s.Ctx, "SELECT last_insert_rowid(), changes()").Scan(&told, &changes))
			require.Equal(t, int64(3), changes)
			_, err = q.ExecContext(s.Ctx, "INSERT INTO child (v, k) VALUES (1, last_insert_rowid())")
			require.NoError(t, err)
			require.NoError(t, q.QueryRowContext(s.Ctx, "SELECT k.v FROM k JOIN child ON child.k = k.id WHERE child.id = last_insert_rowid()").Scan(new(string)))
			require.NoError(t, q.QueryRowContext(s.Ctx, "INSERT INTO k (v) VALUES (?) RETURNING v", v+" returning").Scan(new(string)))
			require.NoError(t, q.QueryRowContext(s.Ctx, "SELECT last_insert_rowid()").Scan(&told))
			_, err = q.ExecContext(s.Ctx, "INSERT INTO k (v) VALUES (?); INSERT INTO child (v, k) VALUES (2, last_insert_rowid())", v+" several")
			require.ErrorIs(t, err, ddb.ErrNotReplicable)
			var found string
			require.NoError(t, q.QueryRowContext(s.Ctx, "SELECT v FROM k WHERE id = ?", told).Scan(&found))
			require.Equal(t, v+" returning", found)
		}
		// A temporary table of the same name has keys of its own.
		_, err = conn.ExecContext(s.Ctx, "CREATE TEMP TABLE child (key INTEGER PRIMARY KEY)")
		require.NoError(t, err)
		res, err := conn.ExecContext(s.Ctx, "INSERT INTO child VALUES (?)", int64(1)<<50+1)
		require.NoError(t, err)
		last, err = res.LastInsertId()
		require.NoError(t, err)
		require.Equal(t, int64(1)<<50+1, last)
		require.NoError(t, conn.QueryRowContext(s.Ctx, "INSERT INTO child VALUES (NULL) RETURNING key").Scan(&last))
		require.Equal(t, int64(1)<<50+2, last)
		require.NoError(t, conn.Close())
		_, err = s.Nodes[id].Exec("INSERT INTO k (v) VALUES ('several'); INSERT INTO child (v, k) VALUES (2, last_insert_rowid())")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM k WHERE v LIKE '%several'"))
	}
	s.Exchange("a")
	s.Same("k", "child")
	require.Empty(t, s.Conflicts("master"))
	for _, id := range []string{"a", "master"} {
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM _ddb_last"))
		require.NoError(t, s.Nodes[id].Close())
		delete(s.Nodes, id)
		require.NoError(t, ddb.Detach(s.Ctx, s.DBs[id], ddb.Options{}))
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_ddb%' ESCAPE '\\'"))
	}
}

// A master that takes no snaps any more goes on with its own keys.
func TestHandedOutKeysWithoutSnaps(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT)", "a")
	foreignKeys(s, "k")
	require.NoError(t, s.Nodes["master"].Close())
	s.Open("master", ddb.Options{})
	last, err := s.Exec("master", "INSERT INTO k (v) VALUES ('alone')").LastInsertId()
	require.NoError(t, err)
	require.Equal(t, `["alone"]`, s.Rows("master", fmt.Sprintf("SELECT v FROM k WHERE id = %d", last)))
	require.Less(t, last, int64(1)<<41)
}

// Where a trigger of the user's asks for the key of a new row, a row that would have to be moved is refused by the names of table and
// trigger, as long as the trigger is there. Others go on working, and those for updates see no move.
func TestHandedOutKeysTriggers(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, `CREATE TABLE k (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE seen (id INTEGER PRIMARY KEY, v TEXT)`, "a")
	foreignKeys(s, "k", "seen")
	s.Exec("master", "CREATE TRIGGER harmless AFTER INSERT ON k BEGIN INSERT INTO seen (v) VALUES (NEW.v); END")
	s.Exec("master", "CREATE TRIGGER moves AFTER UPDATE ON k BEGIN INSERT INTO seen (v) VALUES ('update'); END")
	s.Exec("master", "CREATE VIEW both AS SELECT v FROM k")
	s.Exchange("a")
	for i, use := range []string{`new."ID"`, "NEW.rowid", "last_insert_rowid()", "in the trigger of a view"} {
		create := "CREATE TRIGGER [it's] AFTER INSERT ON k WHEN " + use + " <> 0 BEGIN INSERT INTO seen (v) VALUES ('key ' || NEW.v); END"
		if i == 3 {
			create = "CREATE TRIGGER [it's] INSTEAD OF INSERT ON both BEGIN INSERT INTO k (v) VALUES (NEW.v); UPDATE seen SET v = last_insert_rowid() WHERE v = 'nobody'; END"
		}
		s.Exec("master", create)
		s.Exchange("a")
		for _, id := range []string{"master", "a"} {
			_, err := s.Nodes[id].Exec("INSERT INTO k (v) VALUES ('refused')")
			require.ErrorContains(t, err, "table k")
			require.ErrorContains(t, err, "trigger it's")
			require.ErrorContains(t, err, "keys of your own")
			s.Exec(id, fmt.Sprintf("INSERT INTO k VALUES (%d, 'own')", 100*i+50+len(id)))
		}
		require.Equal(t, "[0]", s.Rows("a", "SELECT count(*) FROM k WHERE v = 'refused'"))
		s.Exec("master", "DROP TRIGGER [it's]")
		s.Exchange("a")
		for _, id := range []string{"master", "a"} {
			last, err := s.Exec(id, "INSERT INTO k (v) VALUES ('moved')").LastInsertId()
			require.NoError(t, err)
			require.Equal(t, `["moved"]`, s.Rows(id, fmt.Sprintf("SELECT v FROM k WHERE id = %d", last)))
		}
	}
	s.Exchange("a")
	s.Same("k", "seen")
	require.Equal(t, "[\"key own\",6]\n[\"moved\",8]\n[\"own\",8]", s.Rows("a", "SELECT v, count(*) FROM seen WHERE v NOT LIKE 'of %' GROUP BY v ORDER BY v"))
	// A key of -1 is the user's own.
	for _, id := range []string{"master", "a"} {
		s.Exec(id, "INSERT INTO k VALUES (-1, 'minus one')")
		require.Equal(t, `[-1]`, s.Rows(id, "SELECT id FROM k WHERE v = 'minus one'"))
		s.Exec(id, "DELETE FROM k WHERE id = -1")
		s.Exchange("a")
	}
}

// The triggers that keep keys apart, which come with the first snap, are no change of the schema by another; a later one is.
func TestHandedOutKeysQuietly(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema+"; CREATE TABLE k (id INTEGER PRIMARY KEY, v INT)")
	require.NoError(t, s.Nodes["master"].Close())
	log := new(testcluster.Buffer)
	o := s.Opts["master"]
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: log})
	m, err := ddb.Open(s.Ctx, s.DBs["master"], o)
	require.NoError(t, err)
	s.Nodes["master"] = m
	s.Snap("a", ddb.Options{})
	s.Exec("master", "INSERT INTO k (v) VALUES (1)")
	require.NoError(t, m.WaitLevel(s.Ctx))
	s.Exchange("a")
	require.NotContains(t, log.String(), "outside ddb")
	_, err = s.DBs["master"].Exec("ALTER TABLE k ADD COLUMN w INT")
	require.NoError(t, err)
	require.NoError(t, m.WaitLevel(s.Ctx))
	require.Contains(t, log.String(), "outside ddb")
	s.Exchange("a")
	s.Same("k")
}
