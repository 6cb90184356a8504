package replicas_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// SQLite lets any value stand in any column; each arrives as it is.
func TestSQLiteFreedom(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	f.OpenAll()
	f.Do("CREATE TABLE free (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC, d DATETIME, o BOOLEAN, x)",
		"CREATE TABLE norow (k ANY, k2 TEXT COLLATE NOCASE, v, PRIMARY KEY (k, k2)) WITHOUT ROWID",
		"CREATE TABLE hard (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT",
		"CREATE TABLE gen (id INTEGER PRIMARY KEY, a, b AS (a || '!') STORED, c AS (typeof(a)))",
		"CREATE TABLE alias (name TEXT PRIMARY KEY DESC, v)")
	values := []any{nil, int64(0), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), int64(1)<<53 + 1, 0.0, math.Copysign(0, -1), 1.5, -1e308, 5e-324,
		math.Inf(1), math.Inf(-1), 1e15 + 0.5, "", "abc", "12", "1e3", " 7 ", "0x10", "2020-01-02", "2020-01-02 03:04:05", "2020-01-02T03:04:05Z", "true", "nul\x00byte", "\x00", "ünï\U0001F600",
		"\xff\xfe broken", []byte{}, []byte{0}, []byte("text in a blob"), []byte{0xff, 0x00}}
	for i, v := range values {
		_, err := f.Master.Exec("INSERT INTO free VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", i, v, v, v, v, v, v, v, v)
		require.NoError(t, err)
		_, err = f.Master.Exec("INSERT INTO gen (id, a) VALUES (?, ?)", i, v)
		require.NoError(t, err)
		_, err = f.Master.Exec("INSERT INTO hard (id, a) VALUES (?, ?)", i, v)
		require.NoError(t, err)
		if v != nil {
			_, err = f.Master.Exec("INSERT OR IGNORE INTO norow VALUES (?, ?, ?)", v, fmt.Sprint(i), v)
			require.NoError(t, err)
		}
	}
	f.Do("INSERT INTO free (id, x, d, o, i) VALUES (1000, CAST(x'00ff' AS TEXT), 'not a date', 'maybe', 'words'), (-5, zeroblob(0), 2459000.5, 1e999, 9007199254740993)",
		"INSERT INTO hard VALUES (100, 9007199254740993, 1, 'x', x'', 1.0)",
		"INSERT INTO alias VALUES ('b', 1), ('a', 2)")
	f.Level()
	f.Do("UPDATE free SET x = i, i = x", "UPDATE norow SET k2 = upper(k2) || 'z'", "DELETE FROM free WHERE id % 3 = 0", "UPDATE gen SET a = id", "DELETE FROM alias WHERE name = 'a'")
	f.Level()
	f.Restart()
	f.Level()
	// A new node gets the same by a snapshot.
	addReplica(f)
	f.Level()
}

// addReplica opens one more replica.
func addReplica(f *testcluster.Fixture) *testcluster.Node {
	f.Helper()
	r := f.NewNode(fmt.Sprintf("r%d", len(f.Replicas)+1))
	f.Replicas = append(f.Replicas, r)
	f.OpenReplica(r)
	return r
}

// Savepoints that are rolled back, temporary and full-text tables leave nothing on a replica.
func TestSQLiteSavepointsTempAndFTS(t *testing.T) {
	f := testcluster.OpenFixture(t, "sqlite", 1)
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	f.Tx("INSERT INTO t VALUES (1, 'stays')", "SAVEPOINT a", "INSERT INTO t VALUES (2, 'goes')", "UPDATE t SET v = 'goes' WHERE id = 1", "ROLLBACK TO a", "INSERT INTO t VALUES (3, 'stays')", "RELEASE a")
	tx, err := f.Master.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES (9, 'rolled back')")
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	_, err = f.Master.Exec("CREATE TEMP TABLE tt (id INTEGER PRIMARY KEY)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	conn, err := f.Master.Raw.Conn(f.Ctx)
	require.NoError(t, err)
	for _, s := range []string{"CREATE TEMP TABLE tt (id INTEGER PRIMARY KEY, v)", "INSERT INTO tt VALUES (1, 'x')", "INSERT INTO t SELECT 7, v FROM tt", "DROP TABLE tt"} {
		_, err = conn.ExecContext(f.Ctx, s)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close())
	f.Bypass("CREATE VIRTUAL TABLE words USING fts5(body)", "INSERT INTO words VALUES ('some words to find')")
	f.Do("INSERT INTO t VALUES (8, 'after')", "INSERT INTO words VALUES ('through ddb')")
	f.Level()
	require.Equal(t, "1,3,7,8", f.One(f.Replicas[0], "SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)"))
	require.Equal(t, "2", f.One(f.Master, "SELECT count(*) FROM words"))
}

// Every column type of MariaDB with NULL and its extremes arrives byte for byte.
func TestMariaDBTypes(t *testing.T) {
	f := testcluster.NewFixture(t, "mariadb", 1)
	columns := map[string][]string{
		"TINYINT": {"-128", "127"}, "TINYINT UNSIGNED": {"255"}, "SMALLINT": {"-32768", "32767"}, "MEDIUMINT": {"-8388608", "8388607"}, "INT UNSIGNED": {"4294967295"},
		"BIGINT": {"-9223372036854775808", "9223372036854775807"}, "BIGINT UNSIGNED": {"18446744073709551615"}, "INT(6) ZEROFILL": {"42"},
		"DECIMAL(65,30)": {"-99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001"}, "DECIMAL(10,0) UNSIGNED": {"9999999999"},
		"FLOAT": {"-3.402823466e38", "1.17549435e-38", "0.1", "16777217", "-0e0"}, "DOUBLE": {"-1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "-0e0", "9007199254740993"}, "FLOAT(7,3)": {"1234.567"},
		"BIT(1)": {"b'1'", "b'0'"}, "BIT(64)": {"b'1111111111111111111111111111111111111111111111111111111111111111'", "0"}, "BOOLEAN": {"TRUE", "17"},
		"DATE": {"'0000-00-00'", "'1000-01-01'", "'9999-12-31'", "'2020-00-00'"}, "DATETIME(6)": {"'0000-00-00'", "'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"}, "DATETIME": {"'2020-02-29 12:00:00'"},
		"TIMESTAMP(6) NULL": {"'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'", "'0000-00-00'"}, "TIMESTAMP NULL": {"'2024-10-27 01:30:00'"},
		"TIME(6)": {"'-838:59:59.999999'", "'838:59:59.999999'", "'00:00:00.000001'"}, "YEAR": {"1901", "2155", "0"},
		"CHAR(10) CHARACTER SET utf8mb4": {"''", "'ünï😀  '"}, "VARCHAR(255) CHARACTER SET utf8mb4": {"''", "'trailing  '", "'it''s \\\\ \\0 \\n'"},
		"VARCHAR(50) CHARACTER SET latin1": {"'Grün €'"}, "VARCHAR(50) CHARACTER SET ucs2": {"'Ünï'"}, "TEXT CHARACTER SET utf16": {"'😀'"}, "CHAR(5) CHARACTER SET ascii": {"'a'"},
		"VARCHAR(20) CHARACTER SET sjis": {"'カタ'"}, "TINYTEXT": {"REPEAT('x', 255)"}, "TEXT": {"REPEAT('y', 65535)"}, "MEDIUMTEXT": {"REPEAT('z', 70000)"}, "LONGTEXT": {"REPEAT('ü', 50000)"},
		"BINARY(8)": {"x'00ff00ff'", "''"}, "VARBINARY(300)": {"x''", "x'00ff27225c0a1a'"}, "TINYBLOB": {"x'00'"}, "BLOB": {"REPEAT(x'ff00', 30000)"}, "MEDIUMBLOB": {"REPEAT(x'00', 70000)"}, "LONGBLOB": {"x''"},
		"ENUM('a','B','','ü','it''s')": {"'a'", "''", "'ü'", "3", "'it''s'"}, "SET('x','y','ü,'.'')": nil, "SET('x','y','z')": {"''", "'x,z'", "7"},
		"JSON": {"'{\"a\": [1, 2.50, null]}'", "'[]'"}, "UUID": {"'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'"}, "INET6": {"'::1'", "'2001:db8::ff00:42:8329'", "'1.2.3.4'"}, "INET4": {"'255.255.255.255'"},
		"POINT": {"ST_GeomFromText('POINT(1.5 -2)')"}, "GEOMETRY": {"ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))')", "ST_GeomFromText('LINESTRING(0 0, 1 1)', 4326)"},
		"VARCHAR(20) INVISIBLE": {"'hidden'"}, "TEXT COMPRESSED": {"REPEAT('c', 5000)"},
	}
	delete(columns, "SET('x','y','ü,'.'')")
	conn, err := f.Master.Raw.Conn(f.Ctx)
	require.NoError(t, err)
	run := func(s string) {
		t.Helper()
		_, err := conn.ExecContext(f.Ctx, s)
		require.NoError(t, err, s)
	}
	run("SET NAMES utf8mb4")
	run("SET sql_mode='ALLOW_INVALID_DATES'")
	n := 0
	fill := func(from int) {
		i := 0
		for _, typ := range sorted(columns) {
			for j, v := range columns[typ] {
				run(fmt.Sprintf("INSERT INTO t%d (id, v) VALUES (%d, %s)", i, from+j, v))
			}
			run(fmt.Sprintf("INSERT INTO t%d (id, v) VALUES (%d, NULL)", i, from+99))
			i++
		}
	}
	for _, typ := range sorted(columns) {
		run(fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY, v %s)", n, strings.Replace(typ, " INVISIBLE", " NULL INVISIBLE", 1)))
		n++
	}
	fill(0) // what a snapshot brings
	f.OpenAll()
	fill(1000) // what entries bring
	f.Level()
	for i := range n {
		run(fmt.Sprintf("UPDATE t%d SET id = -id - 1 WHERE id >= 1000", i))
	}
	f.Level()
	require.NoError(t, conn.Close())
	f.Restart()
	f.Level()
}

func sorted(m map[string][]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// What a statement returns is the same through ddb as without it.
func TestResultsAndErrors(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		bare := f.NewNode("bare")
		id := "INTEGER PRIMARY KEY AUTOINCREMENT"
		if engine == "mariadb" {
			id = "INT AUTO_INCREMENT PRIMARY KEY"
		}
		schema := []string{"CREATE TABLE p (id " + id + ", u VARCHAR(20) UNIQUE, n INT NOT NULL CHECK (n < 100))",
			"CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)"}
		for _, s := range schema {
			f.Do(s)
			_, err := bare.Raw.Exec(s)
			require.NoError(t, err)
		}
		for _, s := range []string{
			"INSERT INTO p (u, n) VALUES ('a', 1)", "INSERT INTO p (u, n) VALUES ('b', 1), ('c', 2)", "INSERT INTO p (u, n) VALUES ('a', 1)", "INSERT INTO p (id, u, n) VALUES (50, 'd', 4)",
			"INSERT INTO p (u, n) VALUES ('e', NULL)", "INSERT INTO p (u, n) VALUES ('f', 100)", "INSERT INTO c VALUES (1, 1), (2, 2)", "INSERT INTO c VALUES (3, 999)",
			"UPDATE p SET n = 5 WHERE n = 1", "UPDATE p SET n = 5", "UPDATE p SET n = 6 WHERE id = 12345", "UPDATE p SET u = 'a'", "REPLACE INTO p (id, u, n) VALUES (50, 'd', 9)",
			"DELETE FROM p WHERE id = 1", "DELETE FROM p WHERE id = 1", "INSERT INTO nix VALUES (1)", "INSERT INTO p (nix) VALUES (1)", "INSRT", "DELETE FROM c",
		} {
			ours, ourErr := f.Master.Exec(s)
			theirs, theirErr := bare.Raw.Exec(s)
			sameResult(f, bare, s, theirs, theirErr, ours, ourErr)
			through, throughErr := f.Master.DB().Exec(s + " ")
			direct, directErr := bare.Raw.Exec(s + " ")
			sameResult(f, bare, s, direct, directErr, through, throughErr)
		}
		f.Level()
	})
}

func sameResult(f *testcluster.Fixture, bare *testcluster.Node, s string, want sql.Result, wantErr error, got sql.Result, gotErr error) {
	t := f.TB
	t.Helper()
	if wantErr != nil {
		require.Error(t, gotErr, s)
		require.Contains(t, gotErr.Error(), strings.ReplaceAll(wantErr.Error(), bare.Name, f.Master.Name), s)
		return
	}
	require.NoError(t, gotErr, s)
	wantID, err := want.LastInsertId()
	require.NoError(t, err)
	gotID, err := got.LastInsertId()
	require.NoError(t, err)
	if !strings.HasPrefix(s, "UPDATE") && !strings.HasPrefix(s, "DELETE") { // there SQLite tells of some earlier statement
		require.Equal(t, wantID, gotID, "LastInsertId of %s", s)
	}
	wantN, err := want.RowsAffected()
	require.NoError(t, err)
	gotN, err := got.RowsAffected()
	require.NoError(t, err)
	require.Equal(t, wantN, gotN, "RowsAffected of %s", s)
}

// One transaction of a million rows arrives whole, in bounded memory, and so does a row of 16 MiB.
func TestHugeTransaction(t *testing.T) {
	rows := 1_000_000
	if testing.Short() {
		rows = 10_000
	}
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.Tune = func(o *ddb.Options) { o.Heartbeat = time.Second } // the machine is busy with other things than heartbeats
		f.OpenAll()
		f.Do("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, v VARCHAR(40))", "CREATE TABLE blobs (id INT PRIMARY KEY, v LONGBLOB)")
		stop := watchMemory()
		// All unique values move in one transaction: parts of the entry depend on each other.
		f.Tx(manyRows(engine, rows),
			"UPDATE t SET u = -u", fmt.Sprintf("UPDATE t SET u = %d + u", rows+1), "DELETE FROM t WHERE id % 10 = 3")
		atomicity := f.Replicas[0]
		for f.One(atomicity, "SELECT COUNT(*) FROM (SELECT 1 FROM t LIMIT 1) AS x") == "0" {
			require.NoError(t, f.Ctx.Err())
			time.Sleep(5 * time.Millisecond) // between two looks
		}
		require.Equal(t, fmt.Sprint(rows-(rows+6)/10), f.One(atomicity, "SELECT COUNT(*) FROM t"), "half a transaction is visible")
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		peak := stop()
		sums := "SELECT CONCAT(COUNT(*), ' ', SUM(id), ' ', SUM(u), ' ', SUM(u * (id % 1000)), ' ', MIN(v), MAX(v)) FROM t"
		if engine == "sqlite" {
			sums = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(u) || ' ' || sum(u * (id % 1000)) || ' ' || min(v) || max(v) FROM t"
		}
		require.Equal(t, f.One(f.Master, sums), f.One(f.Replicas[0], sums))
		t.Logf("%d rows, at most %d MiB above idle", rows, peak>>20)
		require.Less(t, peak, uint64(256<<20))
		if engine == "mariadb" {
			f.Bypass("SET GLOBAL max_allowed_packet = 67108864")
		}
		_, err := f.Master.Raw.Exec("DELETE FROM t WHERE id > 10")
		require.NoError(t, err)
		fresh := f.Master.Raw
		if engine == "mariadb" {
			fresh.SetMaxIdleConns(0) // the packet limit is a connection's from its start
			f.Restart()
		}
		big := []byte(strings.Repeat("0123456789abcde\x00", 1<<20))
		_, err = f.Master.Exec("INSERT INTO blobs VALUES (1, ?), (2, ?)", big[:15<<20], []byte{})
		require.NoError(t, err)
		_, err = f.Master.Exec("UPDATE blobs SET v = CONCAT(v, ?) WHERE id = 1", big[:1<<20])
		if engine == "sqlite" {
			_, err = f.Master.Exec("UPDATE blobs SET v = ? WHERE id = 1", big)
		}
		require.NoError(t, err)
		f.Level()
		require.Equal(t, fmt.Sprint(16<<20), f.One(f.Replicas[0], "SELECT LENGTH(v) FROM blobs WHERE id = 1"))
	})
}

// manyRows is a statement that fills the table t.
func manyRows(engine testcluster.Engine, n int) string {
	if engine == "mariadb" {
		return fmt.Sprintf("INSERT INTO t SELECT seq, seq, 'the first value of the row' FROM seq_1_to_%d", n)
	}
	return fmt.Sprintf("WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) INSERT INTO t SELECT i, i, 'the first value of the row' FROM s", n)
}

// watchMemory returns a function that ends the watch and tells by how much the heap had grown at most.
func watchMemory() func() uint64 {
	runtime.GC()
	var before, peak runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan uint64)
	go func() {
		var most uint64
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond) // between two samples
			runtime.GC()
			runtime.ReadMemStats(&peak)
			most = max(most, peak.HeapAlloc)
		}
		done <- most - min(most, before.HeapAlloc)
	}()
	return func() uint64 { cancel(); return <-done }
}
