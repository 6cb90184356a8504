package remote

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ddb-project/ddb/internal/testdb"
)

// The same statements give the same results, values and column types through
// the stream as directly.
func TestSameAsDirect(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE v (id INTEGER PRIMARY KEY, a, d DATETIME, b BOOLEAN, s TEXT NOT NULL DEFAULT '')`)
	values := []any{
		nil, int64(math.MinInt64), int64(1)<<53 + 1, 1.5, math.Copysign(0, -1), math.Inf(1), "", "x\x00y",
		[]byte{}, []byte{1, 0}, true, time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("X", 3600)),
		time.Now().Round(0), float32(0.5), uint8(3), new(string), (*int)(nil), sql.NullInt64{Int64: 4, Valid: true}, sql.NullString{},
	}
	for _, v := range values {
		res := mustExec(t, r.db, `INSERT INTO v (a, d, b) VALUES (?, ?, :b)`, v, time.Unix(1e9, 5), sql.Named("b", true))
		mustExec(t, r.direct, `INSERT INTO v (id, a, d, b) VALUES (1000 + ?, ?, ?, :b)`,
			lastID(t, res), v, time.Unix(1e9, 5), sql.Named("b", true))
	}
	const all = `SELECT * FROM v ORDER BY id % 1000, id`
	direct, remote := readAll(t, r.direct, all), readAll(t, r.db, all)
	if !reflect.DeepEqual(direct.types, remote.types) {
		t.Errorf("column types: direct %+v, remote %+v", direct.types, remote.types)
	}
	for i := range direct.rows {
		for j := range direct.rows[i] {
			if !same(remote.rows[i][j], direct.rows[i][j]) {
				t.Errorf("row %d column %d: remote %#v, direct %#v", i, j, remote.rows[i][j], direct.rows[i][j])
			}
		}
		if i%2 == 1 && !reflect.DeepEqual(direct.rows[i][1:], direct.rows[i-1][1:]) {
			t.Errorf("stored through the stream %#v, directly %#v", direct.rows[i-1], direct.rows[i])
		}
	}
	if len(remote.rows) != 2*len(values) {
		t.Errorf("%d rows, want %d", len(remote.rows), 2*len(values))
	}
}

func lastID(tb testing.TB, res sql.Result) int64 {
	tb.Helper()
	id, err := res.LastInsertId()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

type table struct {
	types []columnType
	rows  [][]any
}

type columnType struct {
	name, database     string
	scan               string
	nullable, known    bool
	length             int64
	hasLength, hasSize bool
}

func readAll(tb testing.TB, db *sql.DB, query string, args ...any) (all table) {
	tb.Helper()
	rows, err := db.QueryContext(tb.Context(), query, args...)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		tb.Fatal(err)
	}
	for _, t := range types {
		c := columnType{name: t.Name(), database: t.DatabaseTypeName(), scan: scanName(t)}
		c.nullable, c.known = t.Nullable()
		c.length, c.hasLength = t.Length()
		_, _, c.hasSize = t.DecimalSize()
		all.types = append(all.types, c)
	}
	for rows.Next() {
		row := make([]any, len(types))
		dest := make([]any, len(types))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			tb.Fatal(err)
		}
		all.rows = append(all.rows, row)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// SQLite's errors keep their text and extended code, and leave the connection
// usable.
func TestSQLiteErrors(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE u (id INTEGER PRIMARY KEY, a UNIQUE)`)
	mustExec(t, r.db, `INSERT INTO u (a) VALUES (1)`)
	_, direct := r.direct.Exec(`INSERT INTO u (a) VALUES (1)`)
	_, err := r.db.Exec(`INSERT INTO u (a) VALUES (1)`)
	var coded interface{ Code() int } // as modernc.org/sqlite's own has it
	if !errors.As(err, &coded) || coded.Code() != 2067 || err.Error() != direct.Error() {
		t.Errorf("got %#v, directly %v", err, direct)
	}
	if _, err := r.db.Query(`SELEC`); err == nil || !strings.Contains(err.Error(), "syntax") {
		t.Errorf("a syntax error gives %v", err)
	}
	if _, err := r.db.Prepare(`SELEC`); err == nil {
		t.Error("Prepare of a syntax error succeeds")
	}
	if err := r.db.QueryRow(`SELECT 1 WHERE 0`).Scan(new(int)); err != sql.ErrNoRows {
		t.Errorf("no rows gives %v", err)
	}
	if n := r.dialed(); n != 1 {
		t.Errorf("%d streams were needed, want 1", n)
	}
}

// A transaction is isolated until it commits, and gone after a rollback.
func TestTransactions(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	const count = `SELECT count(*) FROM t`
	for _, commit := range []bool{true, false} {
		tx, err := r.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, tx, `INSERT INTO t VALUES (1)`)
		if n := queryInt(t, tx, count); n != 1+queryInt(t, r.direct, count) {
			t.Errorf("inside: %d rows", n)
		}
		end := tx.Rollback
		if commit {
			end = tx.Commit
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if n := queryInt(t, r.direct, count); n != 1 {
			t.Errorf("commit %t leaves %d rows, want 1", commit, n)
		}
		wantErr(t, tx.Commit(), sql.ErrTxDone)
	}
}

// An early Close inside a transaction stops the rows and keeps the transaction.
func TestEarlyCloseKeepsTransaction(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	tx, err := r.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	mustExec(t, tx, `INSERT INTO t VALUES (1)`)
	rows, err := tx.Query(countTo, 1<<40)
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	_, err = tx.Exec(`INSERT INTO t VALUES (2)`)
	wantErr(t, err, ErrBusy)
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, `INSERT INTO t VALUES (3)`)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := queryInt(t, r.direct, `SELECT count(*) FROM t`); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	if n := r.dialed(); n != 1 {
		t.Errorf("%d streams were needed, want 1", n)
	}
}

// A statement is prepared once and works on many connections, in transactions
// and after the session gave its database connection back.
func TestPreparedStatements(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	insert, err := r.db.Prepare(`INSERT INTO t VALUES (?)`)
	if err != nil {
		t.Fatal(err)
	}
	defer insert.Close()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := insert.Exec(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tx, err := r.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Stmt(insert).Exec(20); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := queryInt(t, r.db, `SELECT count(*) FROM t`); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
}

// The number of prepared statements of one connection is limited, and closing
// them makes room.
func TestStatementLimit(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	conn, err := r.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var stmts []*sql.Stmt
	for range maxStmts {
		stmt, err := conn.PrepareContext(t.Context(), `SELECT 1`)
		if err != nil {
			t.Fatal(err)
		}
		stmts = append(stmts, stmt)
	}
	if _, err := conn.PrepareContext(t.Context(), `SELECT 1`); err == nil {
		t.Error("no limit")
	}
	for _, stmt := range stmts {
		stmt.Close()
	}
	stmt, err := conn.PrepareContext(t.Context(), `SELECT 1`)
	if err != nil {
		t.Fatal(err)
	}
	stmt.Close()
}

// A held connection keeps its session; a pooled one shares the server's
// connection, so that a server with one serves many clients.
func TestSessionIsPinnedOnlyWhileHeld(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	r.direct.SetMaxOpenConns(1)
	conn, err := r.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, `CREATE TEMP TABLE mine (a)`)
	mustExec(t, conn, `INSERT INTO mine VALUES (1)`)
	if n := queryInt(t, conn, `SELECT count(*) FROM mine`); n != 1 {
		t.Errorf("%d rows in the session's table, want 1", n)
	}
	conn.Close()
	r.db.SetMaxIdleConns(8)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if n := queryInt(t, r.db, `SELECT 1`); n != 1 {
					t.Errorf("got %d", n)
				}
			}
		})
	}
	wg.Wait()
}

// Many rows stream in bounded memory.
func TestLargeResult(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	const total = 100_000
	rows, err := r.db.Query(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < ?) SELECT i, zeroblob(1000) FROM c`, total)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var most uint64
	var n, i int64
	var blob sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&i, &blob); err != nil {
			t.Fatal(err)
		}
		if n++; i != n || len(blob) != 1000 {
			t.Fatalf("row %d is %d with %d bytes", n, i, len(blob))
		}
		if n%10_000 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if err := rows.Err(); err != nil || n != total {
		t.Fatalf("%d rows, %v", n, err)
	}
	if most > 32<<20 { // of 100 MB
		t.Errorf("%d MiB in use while streaming", most>>20)
	}
}

// A row of 16 MiB and more crosses; one over the limit is refused by size.
func TestLargeRow(t *testing.T) {
	r := sqliteRig(t, ServeOptions{}, Options{})
	big := make([]byte, 17<<20)
	big[len(big)-1] = 7
	var got []byte
	if err := r.db.QueryRow(`SELECT ?`, big).Scan(&got); err != nil || !same(got, big) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	err := r.db.QueryRow(`SELECT zeroblob(?)`, maxFrame).Scan(&got)
	wantErr(t, err, ErrTooLarge)
	_, err = r.db.Exec(strings.Repeat(" ", maxStatement+1))
	wantErr(t, err, ErrTooLarge)
	if queryInt(t, r.db, `SELECT 1`) != 1 || r.dialed() != 1 {
		t.Error("the connection did not survive")
	}
}

// Several goroutines share the pool, each in transactions of its own.
func TestManyGoroutines(t *testing.T) {
	_, direct := testdb.SQLite(t)
	direct.SetMaxOpenConns(4)
	r := newRig(t, direct, ServeOptions{}, Options{})
	r.db.SetMaxOpenConns(8)
	mustExec(t, r.db, `CREATE TABLE t (a)`)
	var wg sync.WaitGroup
	var written atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			for range 5 {
				if i%2 == 0 {
					mustExec(t, r.db, `INSERT INTO t VALUES (?)`, i)
					written.Add(1)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				rows, err := r.db.QueryContext(ctx, countTo, 2_000)
				if err == nil {
					for rows.Next() {
					}
					err = rows.Err()
					rows.Close()
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := queryInt(t, r.db, `SELECT count(*) FROM t`); n != written.Load() {
		t.Errorf("%d rows, want %d", n, written.Load())
	}
}

// scanName names a column's scan type. SQLite's driver knows none for an
// untyped column, and a stream says any.
func scanName(t *sql.ColumnType) string {
	if t.ScanType() == nil {
		return "interface {}"
	}
	return t.ScanType().String()
}
