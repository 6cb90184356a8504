package sqlite_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	lib "modernc.org/sqlite/lib"

	"github.com/ddb-project/ddb/internal/sqlite"
)

// coded is an error as it comes from another node.
type coded int

func (c coded) Error() string { return fmt.Sprintf("code %d", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		err                          error
		down, full, tooLong, unknown bool
	}{
		{err: nil},
		{err: errors.New("anything")},
		{err: coded(lib.SQLITE_CONSTRAINT)},
		{err: coded(lib.SQLITE_BUSY)},
		{err: coded(lib.SQLITE_IOERR), down: true},
		{err: coded(lib.SQLITE_IOERR_READ), down: true},
		{err: coded(lib.SQLITE_CORRUPT), down: true},
		{err: coded(lib.SQLITE_CANTOPEN), down: true},
		{err: fmt.Errorf("query: %w", coded(lib.SQLITE_NOTADB)), down: true},
		{err: coded(lib.SQLITE_FULL), full: true},
		{err: coded(lib.SQLITE_TOOBIG), tooLong: true},
		{err: errors.New("SQL logic error: no such table: t (1)"), unknown: true},
	} {
		require.Equal(t, []bool{c.down, c.full, c.tooLong, c.unknown},
			[]bool{sqlite.Down(c.err), sqlite.Full(c.err), sqlite.TooLong(c.err), sqlite.Unknown(c.err)}, "%v", c.err)
	}
}
