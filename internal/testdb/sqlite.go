package testdb

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// SQLite creates a database file in a folder of tb and opens it with
// [SQLiteDSN]. Handle and file go when tb ends.
func SQLite(tb testing.TB) (path string, db *sql.DB) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "test.db")
	return path, OpenSQLite(tb, path)
}

// OpenSQLite opens a database file, creating it if needed, with [SQLiteDSN].
// The handle is closed when tb ends.
func OpenSQLite(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", SQLiteDSN(path))
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	if err := db.Ping(); err != nil {
		tb.Fatalf("testdb: open %s: %v", path, err)
	}
	return db
}

// SQLiteDSN returns the data source name of a file for modernc.org/sqlite: WAL,
// a disk sync at each commit, 10 s of patience with other writers, foreign keys
// enforced.
func SQLiteDSN(path string) string {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}
