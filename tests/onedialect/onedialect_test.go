// Package onedialect is a program that uses MariaDB only.
package onedialect

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect/mysql"
)

var errOther = errors.New("another driver's database")

// sqliteDriver is a driver of somebody else's by the name that the driver of ddb's dialect for SQLite has too. Were that
// linked, the program would panic before it starts.
type sqliteDriver struct{}

func (sqliteDriver) Open(string) (driver.Conn, error) { return nil, errOther }

// anyDriver tells nothing of its database by its name.
type anyDriver struct{}

func (anyDriver) Open(string) (driver.Conn, error) { return nil, errOther }

func init() {
	sql.Register("sqlite", sqliteDriver{})
	sql.Register("any", anyDriver{})
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// A dialect that was not imported is missed at once, and the error says what to import.
func TestMissingDialect(t *testing.T) {
	const sqlite, server = `import _ "github.com/ddb-project/ddb/dialect/sqlite"`, `import _ "github.com/ddb-project/ddb/dialect/mysql"`
	for _, c := range []struct {
		driver string
		says   []string
		never  string
	}{
		{"sqlite", []string{sqlite, "Options.Dialect"}, server},
		{"any", []string{sqlite, server, "Options.Dialect"}, "has not been imported"},
	} {
		db := open(t, c.driver, "name")
		_, err := ddb.Open(t.Context(), db, ddb.Options{})
		require.ErrorIs(t, err, ddb.ErrOptions)
		require.ErrorIs(t, ddb.Detach(t.Context(), db, ddb.Options{}), ddb.ErrOptions)
		for _, text := range c.says {
			require.ErrorContains(t, err, text)
		}
		require.NotContains(t, err.Error(), c.never)
	}
	_, err := ddb.Wrap(t.Context(), open(t, "sqlite", "name"), nil, ddb.PingChecker{}, ddb.Options{})
	require.ErrorIs(t, err, ddb.ErrOptions)
	require.ErrorContains(t, err, sqlite)
}

// The dialect that was imported is found by its driver, and one that Options name needs none.
func TestImportedDialect(t *testing.T) {
	_, err := ddb.Open(t.Context(), open(t, "mysql", "u:p@tcp(127.0.0.1:1)/d"), ddb.Options{})
	require.Error(t, err)
	require.NotErrorIs(t, err, ddb.ErrOptions, "the server is not there, and the dialect is")
	_, err = ddb.Open(t.Context(), open(t, "any", "name"), ddb.Options{Dialect: mysql.Dialect()})
	require.ErrorIs(t, err, errOther)
	// Where somebody else replicates, a driver that tells nothing is one of a server.
	for _, o := range []ddb.Options{{}, {Dialect: mysql.Dialect()}} {
		c, err := ddb.Wrap(t.Context(), open(t, "any", "name"), nil, ddb.PingChecker{}, o)
		require.NoError(t, err)
		require.Equal(t, "mysql", c.Dialect())
		require.NoError(t, c.Close())
	}
}
