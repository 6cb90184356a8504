// Package mysql teaches ddb MariaDB and MySQL, by the driver github.com/go-sql-driver/mysql. A program imports it for that:
//
//	import _ "github.com/ddb-project/ddb/dialect/mysql"
//
// It registers the dialect with ddb and, as that driver does, the driver "mysql" with database/sql.
package mysql

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
)

// Dialect returns the dialect, for Options.Dialect where the driver of the *sql.DB does not tell it.
func Dialect() dialect.Dialect { return mysql.Dialect{} }

func init() { dialect.Register(mysql.Dialect{}) }
