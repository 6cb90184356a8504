package sqlite

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/dialect/dialecttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openFile(t testing.TB, params string) *sql.DB {
	t.Helper()
	path := url.PathEscape(filepath.Join(t.TempDir(), "t.db")) // a subtest's name may hold a #
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)"+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// checksum reads a table with the SQL functions that show storage class and bytes.
func checksum(t *testing.T, db *sql.DB, table string) string {
	rows, err := db.Query("SELECT id, typeof(v), hex(CAST(v AS BLOB)), quote(v) FROM " + table + " ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sum := sha256.New()
	for rows.Next() {
		var id, typ, hex, quoted string
		if err := rows.Scan(&id, &typ, &hex, &quoted); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(sum, id, typ, hex, quoted)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

var odd = []any{
	nil, []byte{}, "", []byte{0}, "\x00", "a\x00b", "\xff\xfe", "é\u0301", []byte("text"), "12", "1e3", " 7 ", "0x10",
	int64(0), int64(1), int64(-1), int64(1<<53 + 1), int64(math.MaxInt64), int64(math.MinInt64),
	0.0, math.Copysign(0, -1), 1.5, -1.5, 1e300, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64,
	9.223372036854775807e18, -9.223372036854775808e18, 1e15, 123456789012345680.0, 0.1, 1.0, 3.0,
	"2024-02-29", "2024-02-29 12:34:56.7", "2024-02-29T12:34:56Z", "2024-02-29 12:34:56.999999999 +0200 CEST m=+1.5", "true", "false", "not a date", int64(1700000000), 2460000.5,
}

// memories numbers the databases in memory.
var memories atomic.Int64

// SQLite passes the suite that every dialect must pass, in a file and in memory: its own twin.
func TestConformance(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		testConformance(t, func(t *testing.T) *sql.DB { return openFile(t, "") })
	})
	t.Run("memory", func(t *testing.T) {
		testConformance(t, func(t *testing.T) *sql.DB {
			db, err := sql.Open("sqlite", fmt.Sprintf("file:conformance%d?mode=memory&cache=shared&_pragma=foreign_keys(1)", memories.Add(1)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return db
		})
	})
}

func testConformance(t *testing.T, open func(t *testing.T) *sql.DB) {
	values := make(map[string][]any)
	for _, typ := range []string{"", "INTEGER", "BIGINT", "TEXT", "VARCHAR(3)", "BLOB", "REAL", "DOUBLE", "NUMERIC", "DECIMAL(10,2)", "DATE", "DATETIME", "TIMESTAMP", "BOOLEAN", "JSON", "ANY"} {
		values[typ] = odd
	}
	dialecttest.Test(t, dialecttest.Harness{
		Dialect:  Dialect{},
		Open:     open,
		AutoKey:  "INTEGER PRIMARY KEY AUTOINCREMENT",
		NoCase:   "COLLATE NOCASE",
		Values:   values,
		Checksum: checksum,
	})
}

// Lookup tells of every key, in the order asked, whether its row is there and what it holds.
func TestLookupMany(t *testing.T) {
	db := openFile(t, "")
	e := bind(t, db, dialect.Config{})
	for _, s := range []string{"CREATE TABLE t (v, id INTEGER PRIMARY KEY)",
		"WITH RECURSIVE n(i) AS (SELECT -50 UNION ALL SELECT i + 1 FROM n WHERE i < 120) INSERT INTO t SELECT 'v' || (2 * i), 2 * i FROM n"} {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	var keys [][]any
	for i := range 2*lookupAtOnce + 7 {
		keys = append(keys, []any{int64(lookupAtOnce - i)})
	}
	at := 0
	err := e.Lookup(t.Context(), db, find(t, e, db, "t"), keys, func(r dialect.Row) error {
		id := keys[at][0].(int64)
		want := "[]"
		if id%2 == 0 {
			want = fmt.Sprintf("[v%d %d]", id, id)
		}
		if fmt.Sprint(r.Key) != fmt.Sprint(keys[at]) || fmt.Sprint(r.Values) != want || (r.Values == nil) != (id%2 != 0) {
			t.Errorf("key %v: got %v, %v", keys[at], r.Key, r.Values)
		}
		at++
		return nil
	})
	if err != nil || at != len(keys) {
		t.Fatalf("told of %d of %d keys: %v", at, len(keys), err)
	}
}
