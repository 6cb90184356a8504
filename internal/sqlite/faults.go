package sqlite

import (
	"errors"
	"strings"

	lib "modernc.org/sqlite/lib"
)

// code returns the number of an error of SQLite's, also of one that has come from another node; 0 for any other.
func code(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return 0
}

// TooLong reports whether an error is SQLITE_TOOBIG.
func TooLong(err error) bool { return code(err) == lib.SQLITE_TOOBIG }

// Down reports whether an error says that the database's file does not work, rather than that the statement is wrong.
func Down(err error) bool {
	switch code(err) & 0xff {
	case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_CANTOPEN, lib.SQLITE_NOTADB:
		return true
	}
	return false
}

// Full reports whether the database's disk, or what it may take of that, is full.
func Full(err error) bool { return code(err)&0xff == lib.SQLITE_FULL }

// Unknown reports whether the database does not have a table, or one that a view is of.
func Unknown(err error) bool { return err != nil && strings.Contains(err.Error(), "no such table: ") }
