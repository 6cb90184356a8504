package sqlite

import (
	"errors"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	lib "modernc.org/sqlite/lib"
)

// faults are what SQLite's primary result codes mean (https://sqlite.org/rescode.html).
var faults = map[int]dialect.Fault{
	lib.SQLITE_BUSY:       dialect.Busy,
	lib.SQLITE_LOCKED:     dialect.Busy,
	lib.SQLITE_PERM:       dialect.Unable,
	lib.SQLITE_NOMEM:      dialect.Unable,
	lib.SQLITE_READONLY:   dialect.Unable,
	lib.SQLITE_INTERRUPT:  dialect.Unable,
	lib.SQLITE_FULL:       dialect.Unable | dialect.Full,
	lib.SQLITE_IOERR:      dialect.NodeDown,
	lib.SQLITE_CORRUPT:    dialect.NodeDown,
	lib.SQLITE_CANTOPEN:   dialect.NodeDown,
	lib.SQLITE_NOTADB:     dialect.NodeDown,
	lib.SQLITE_TOOBIG:     dialect.TooLarge,
	lib.SQLITE_CONSTRAINT: dialect.Constraint,
}

// faultTexts are what SQLite says where its code, SQLITE_ERROR, tells nothing.
var faultTexts = []struct {
	text  string
	means dialect.Fault
}{
	{"no such table: ", dialect.NoTable},
	{"within a transaction", dialect.InTx},
	{"no transaction is active", dialect.NotInTx},
}

// code returns the number of an error of SQLite's, also of one that has come from another node; 0 for any other.
func code(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return 0
}

// Fault says what an error of SQLite means, also of one that has come over a stream.
func (Dialect) Fault(err error) (f dialect.Fault) {
	if err == nil {
		return 0
	}
	f = faults[code(err)&0xff]
	text := err.Error()
	for _, t := range faultTexts {
		if strings.Contains(text, t.text) {
			f |= t.means
		}
	}
	return f
}
