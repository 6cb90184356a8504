package lang_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/mysql/lang"
)

func TestFaultsOfServer(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("query: %w", &mysql.MySQLError{Number: n, Message: "m"}) }
	for _, c := range []struct {
		err                       error
		down, unknown, full, said bool
	}{
		{err: errors.New("anything")},
		{err: mysql.ErrInvalidConn, down: true},
		{err: server(1062), said: true},
		{err: errors.Join(server(1062), mysql.ErrInvalidConn), said: true},
		{err: server(1040), said: true, down: true},
		{err: server(1053), said: true, down: true},
		{err: server(1927), said: true, down: true},
		{err: server(1049), said: true, unknown: true},
		{err: server(1146), said: true, unknown: true},
		{err: server(1356), said: true, unknown: true},
		{err: server(1021), said: true, full: true},
		{err: server(1114), said: true, full: true},
		{err: errors.New("ddb: remote: Error 1114 (HY000): The table 't' is full"), full: true},
		{err: errors.New("Got error 1 (errno: 28 \"No space left on device\")"), full: true},
	} {
		down, said := lang.Down(c.err)
		unknown, also := lang.Unknown(c.err)
		require.Equal(t, []bool{c.down, c.unknown, c.full, c.said, c.said}, []bool{down, unknown, lang.Full(c.err), said, also}, "%v", c.err)
	}
}
