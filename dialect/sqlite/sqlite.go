// Package sqlite teaches ddb SQLite, by the driver modernc.org/sqlite. A program imports it for that:
//
//	import _ "github.com/ddb-project/ddb/dialect/sqlite"
//
// It registers the dialect with ddb and, as that driver does, the driver "sqlite" with database/sql.
package sqlite

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlite"
)

// Dialect returns the dialect, for Options.Dialect where the driver of the *sql.DB does not tell it.
func Dialect() dialect.Dialect { return sqlite.Dialect{} }

func init() { dialect.Register(sqlite.Dialect{}) }
