package console_test

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testdb"
)

// sqliteWith is SQLite with another pragma on every connection, and little patience with other writers.
func sqliteWith(pragma string) *engine {
	return &engine{"sqlite", func(t *testing.T) (*sql.DB, console.Server) {
		usual := testdb.SQLiteDSN(filepath.Join(t.TempDir(), "test.db"))
		db, err := sql.Open("sqlite", strings.Replace(usual, "busy_timeout%2810000", "busy_timeout%2850", 1)+"&_pragma="+pragma)
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		return db, console.Server{}
	}}
}

// A database that cannot grow is the server's trouble, not the caller's.
func TestDiskFull(t *testing.T) {
	h := build(t, sqliteWith("max_page_count(300)"), console.Options{})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
	a := h.sql(507, map[string]any{"sql": "INSERT INTO t (s) VALUES (?)", "args": []any{strings.Repeat("x", 2<<20)}})
	require.Contains(t, a.Error, "make room")
	require.Equal(t, json.Number("0"), h.sql(200, map[string]any{"sql": "SELECT count(*) FROM t"}).Rows[0][0])
}

// A writer that holds the database for too long is told from a mistake, and the caller when to come again.
func TestBusy(t *testing.T) {
	h := build(t, sqliteWith("cache_size(100)"), console.Options{})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	other, err := h.db.Conn(testContext(t))
	require.NoError(t, err)
	defer other.Close()
	_, err = other.ExecContext(testContext(t), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	code, head, body := h.call("POST", "/api/sql", map[string]any{"sql": "INSERT INTO t VALUES (1)"})
	require.Equal(t, 503, code, "%s", body)
	require.Equal(t, "1", head.Get("Retry-After"))
	_, err = other.ExecContext(testContext(t), "ROLLBACK")
	require.NoError(t, err)
	h.sql(200, map[string]any{"sql": "INSERT INTO t VALUES (1)"})
}
