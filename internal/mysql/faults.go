package mysql

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Fault says what an error of the server or of its driver means.
func (Dialect) Fault(err error) dialect.Fault { return lang.Fault(err) }
