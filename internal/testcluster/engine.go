package testcluster

import (
	"database/sql"
	"testing"

	"github.com/ddb-project/ddb/internal/testdb"
)

// Engine is a kind of database.
type Engine string

// What ddb promises holds on each of these.
const (
	SQLite  Engine = "sqlite"
	MariaDB Engine = "mariadb"
)

// AutoKey declares the column of a primary key that the database hands out.
func (e Engine) AutoKey() string {
	if e == SQLite {
		return "INTEGER PRIMARY KEY"
	}
	return "INT NOT NULL AUTO_INCREMENT PRIMARY KEY"
}

// OnEngines runs a test once on each kind of database.
func OnEngines(t *testing.T, test func(t *testing.T, e Engine)) {
	for _, e := range []Engine{SQLite, MariaDB} {
		t.Run(string(e), func(t *testing.T) { test(t, e) })
	}
}

// Database is a database that was empty when the test got it, and goes when the test ends.
type Database struct {
	*sql.DB
	Name   string         // of the file, or of the database on the server
	Server *testdb.Server // nil on SQLite
}

// Open makes a database, on MariaDB on the server that the tests of a package share. The parameters are for the data
// source name of MariaDB.
func (e Engine) Open(tb testing.TB, parameters ...string) Database {
	tb.Helper()
	if e == SQLite {
		return openSQLite(tb)
	}
	return openMariaDB(tb, testdb.SharedMariaDB(tb), parameters...)
}

// OpenAlone is [Engine.Open] with a server of its own for each database.
func (e Engine) OpenAlone(tb testing.TB, parameters ...string) Database {
	tb.Helper()
	if e == SQLite {
		return openSQLite(tb)
	}
	return openMariaDB(tb, testdb.MariaDB(tb), parameters...)
}

func openSQLite(tb testing.TB) Database {
	tb.Helper()
	name, db := testdb.SQLite(tb)
	return Database{DB: db, Name: name}
}

func openMariaDB(tb testing.TB, s *testdb.Server, parameters ...string) Database {
	tb.Helper()
	name := s.NewDatabase(tb)
	return Database{DB: s.Open(tb, name, parameters...), Name: name, Server: s}
}
