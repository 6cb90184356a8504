package mysql

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	driver "github.com/go-sql-driver/mysql"
)

func TestFault(t *testing.T) {
	number := func(n uint16) error { return fmt.Errorf("wrapped: %w", &driver.MySQLError{Number: n, Message: "x"}) }
	const answer, unfit = dialect.Answer, dialect.Unfit
	for _, c := range []struct {
		err  error
		want dialect.Fault
	}{
		{nil, 0},
		{errors.New("anything"), 0},
		{driver.ErrInvalidConn, dialect.NodeDown},
		{number(1040), dialect.NodeDown | dialect.Busy},
		{number(1053), dialect.NodeDown},
		{number(1077), dialect.NodeDown},
		{number(1158), dialect.NodeDown},
		{number(1159), dialect.NodeDown},
		{number(1160), dialect.NodeDown},
		{number(1161), dialect.NodeDown},
		{number(1927), dialect.NodeDown},
		{number(1064), answer | unfit}, // a syntax error, which only Unfit's callers could take for more
		{number(1205), answer | dialect.Busy},
		{number(1213), answer | dialect.Busy},
		{number(3), answer | dialect.Unable},
		{number(1021), answer | dialect.Unable | dialect.Full},
		{number(1114), answer | dialect.Unable | dialect.Full},
		{number(1290), answer | dialect.Unable},
		{number(1317), answer | dialect.Unable},
		{number(1836), answer | dialect.Unable},
		{number(1049), answer | unfit | dialect.NoTable},
		{number(1146), answer | dialect.NoTable},
		{number(1356), answer | unfit | dialect.NoTable},
		{number(1153), answer | unfit | dialect.TooLarge},
		{number(1062), answer | dialect.Constraint},
		{number(1451), answer | dialect.Constraint},
		{number(1452), answer | dialect.Constraint},
		{number(4025), answer | unfit | dialect.Constraint},
		{number(3819), answer | unfit | dialect.Constraint},
		{number(1048), answer | unfit | dialect.Constraint},
		{number(1264), answer | unfit}, // out of range
		{number(1406), answer | unfit}, // too long for its column
		{number(1054), answer},
		{number(1136), answer},
		{number(167), answer | unfit | dialect.KeysUsedUp},
		{number(1305), answer | unfit | dialect.NotInTx},
		{number(1100), answer | unfit | dialect.NotLocked},
		{number(1295), answer | unfit | dialect.Unpreparable},
		{number(1615), answer | unfit | dialect.StatementLost},
		{number(1243), answer | unfit | dialect.StatementLost},
		{errors.Join(number(1062), driver.ErrInvalidConn), answer | dialect.Constraint},
		{errors.New("ddb: remote: Error 1114 (HY000): The table 't' is full"), dialect.Full},
		{errors.New("Error 167 (22003): Out of range value for column 'id' at row 1"), dialect.KeysUsedUp},
		{errors.New("Error 1114 (HY000): The table 't' is full"), dialect.Full},
		{fmt.Errorf("wrapped: %w", &driver.MySQLError{Number: 1030, Message: "Got error 28 (errno: 28 \"No space left on device\")"}), answer | unfit | dialect.Full},
	} {
		require.Equal(t, c.want, Dialect{}.Fault(c.err), "%v", c.err)
	}
}
