package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
)

// coded is an error as it comes over a stream.
type coded int

func (c coded) Error() string { return fmt.Sprintf("sqlite: %d", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestFault(t *testing.T) {
	for _, c := range []struct {
		err  error
		want dialect.Fault
	}{
		{nil, 0},
		{errors.New("anything"), 0},
		{coded(1), 0},
		{coded(5), dialect.Busy},
		{coded(517), dialect.Busy}, // SQLITE_BUSY_SNAPSHOT
		{coded(6), dialect.Busy},
		{coded(3), dialect.Unable},
		{coded(7), dialect.Unable},
		{coded(8), dialect.Unable},
		{coded(9), dialect.Unable},
		{coded(13), dialect.Unable | dialect.Full},
		{coded(10), dialect.NodeDown},
		{coded(266), dialect.NodeDown}, // SQLITE_IOERR_READ
		{coded(11), dialect.NodeDown},
		{coded(14), dialect.NodeDown},
		{coded(26), dialect.NodeDown},
		{coded(18), dialect.TooLarge},
		{coded(19), dialect.Constraint},
		{coded(1555), dialect.Constraint}, // SQLITE_CONSTRAINT_PRIMARYKEY
		{fmt.Errorf("wrapped: %w", coded(19)), dialect.Constraint},
		{errors.New("SQL logic error: no such table: t (1)"), dialect.NoTable},
	} {
		require.Equal(t, c.want, Dialect{}.Fault(c.err), "%v", c.err)
	}
}

// What only the text tells is the text of the SQLite that is linked.
func TestFaultTexts(t *testing.T) {
	db := openFile(t, "")
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer c.Close()
	for _, s := range []struct {
		statement string
		want      dialect.Fault
	}{
		{"SELECT * FROM missing", dialect.NoTable},
		{"ROLLBACK", dialect.NotInTx},
		{"BEGIN", 0},
		{"BEGIN", dialect.InTx},
		{"ROLLBACK", 0},
		{"CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER CHECK (v > 0))", 0},
		{"INSERT INTO t VALUES (1, 0)", dialect.Constraint},
		{"SELECT zeroblob(2000000000)", dialect.TooLarge},
		{"nonsense", 0},
	} {
		_, err := c.ExecContext(t.Context(), s.statement)
		require.Equal(t, s.want, Dialect{}.Fault(err), "%s: %v", s.statement, err)
	}
}
