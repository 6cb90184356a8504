package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"reflect"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/server"
)

// Dialect is MariaDB and MySQL. The zero value is ready for use.
type Dialect struct{}

var _ interface {
	dialect.Driven
	dialect.Killer
	dialect.TransactionTeller
	dialect.ErrorCarrier
	dialect.SessionReader
} = Dialect{}

// Name returns "mysql".
func (Dialect) Name() string { return "mysql" }

// Drives tells the drivers by the names of their types: whatever is around one of them, Bind says what it cannot use.
func (Dialect) Drives(d sqldriver.Driver) bool {
	return strings.Contains(reflect.TypeOf(d).String(), "mysql")
}

// Language is that of the server.
func (Dialect) Language() dialect.Language { return dialect.MySQL }

// Connections of a pool.
const (
	minPool  = 3 // that a node needs at least: lock, pass, everything else
	goodPool = 8 // with which its own work and the program's do not wait for each other
)

// Bind checks the server's version, that a database is selected or named, and that
// the user has the privileges that ddb needs. Errors wrap dialect.ErrPrivilege where
// a GRANT or a server variable is missing; their words name it.
func (Dialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	if n := db.Stats().MaxOpenConnections; n > 0 && n < minPool {
		return nil, fmt.Errorf("the pool allows %d open connections, ddb needs at least %d, and %d or more to leave the program some: raise SetMaxOpenConns", n, minPool, goodPool)
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, server.ConnectError(err)
	}
	defer c.Close()
	s, err := server.Inspect(ctx, c, cfg.Databases)
	if err != nil {
		return nil, err
	}
	return newEngine(db, s, cfg.Guard), nil
}
