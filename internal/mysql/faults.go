package mysql

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Fault says what an error of the server or of its driver means.
func (Dialect) Fault(err error) dialect.Fault { return lang.Fault(err) }

// CarryError returns what makes a *mysql.MySQLError of the driver anew.
func (Dialect) CarryError(err error) (number uint16, state, message string, ok bool) {
	return lang.Carry(err)
}

// RestoreError makes a *mysql.MySQLError of the driver.
func (Dialect) RestoreError(number uint16, state, message string) error {
	return lang.Restore(number, state, message)
}

// Sentinels are the driver's.
func (Dialect) Sentinels() map[string]error {
	return map[string]error{"mysql.invalid_conn": lang.InvalidConn}
}
