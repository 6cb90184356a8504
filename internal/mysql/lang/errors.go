package lang

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	driver "github.com/go-sql-driver/mysql"
)

// ErrTrust says how to make the server let the user create triggers. It wraps dialect.ErrPrivilege.
var ErrTrust = fmt.Errorf("mysql: the server writes a binary log and then lets only users with SUPER create triggers: "+
	"SET GLOBAL log_bin_trust_function_creators=1 (and in the server's configuration): %w", dialect.ErrPrivilege)

// Unfit reports whether the server may have refused a row for one of its values by itself.
func Unfit(err error) bool {
	switch Errno(err) {
	case 0, ErDupEntry, ErRowReferenced, ErNoReferenced, ErNoSuchTable, ErBadField, ErValueCount:
		return false
	}
	return !LockLost(err) && !Unable(err)
}

// Numbers of server errors that mean something to ddb.
const (
	ErDupEntry      = 1062
	ErNoSuchTable   = 1146
	ErViewInvalid   = 1356
	ErBadDB         = 1049
	ErBadField      = 1054
	ErValueCount    = 1136
	erNoTrust       = 1419
	ErSpecific      = 1227
	ErRowReferenced = 1451
	ErNoReferenced  = 1452
	ErCheckMaria    = 4025
	ErCheckMySQL    = 3819
	ErNoSuchThread  = 1094
	erLockWait      = 1205
	erDeadlock      = 1213
	ErNeedReprepare = 1615
	ErUnknownStmt   = 1243
	ErUnpreparable  = 1295
	ErNotLocked     = 1100
)

// Errno returns the number of a server's error, 0 for one that is not the server's.
func Errno(err error) uint16 {
	if me, ok := errors.AsType[*driver.MySQLError](err); ok {
		return me.Number
	}
	return 0
}

// LockLost reports whether the server gave up on a lock: a deadlock, or too long a wait. The same may succeed another time.
func LockLost(err error) bool {
	n := Errno(err)
	return n == erDeadlock || n == erLockWait
}

// Unable reports whether the server could not do what was asked for want of something that has nothing to do with the
// statement: room, memory, time, or leave to write at all (https://mariadb.com/kb/en/mariadb-error-code-reference/).
func Unable(err error) bool {
	switch Errno(err) {
	case 3, 1021, 1026, 1037, 1038, 1041, 1047, 1114, 1180, 1181, 1203, 1226, 1290, 1317, 1836:
		return true
	}
	return false
}

// Down reports whether an error says that the server does not work, or that the connection to it is lost, rather than that the
// statement is wrong. said reports whether a server has said it, so that nothing else in the error counts.
func Down(err error) (down, said bool) {
	switch Errno(err) {
	case 0:
		return errors.Is(err, driver.ErrInvalidConn), false
	case 1040, 1053, 1077, 1158, 1159, 1160, 1161, 1927: // too many connections, shutdown, aborted, killed
		return true, true
	}
	return false, true
}

// Unknown reports whether the server does not have a database, a table, or one that a view is of. said is that of Down.
func Unknown(err error) (unknown, said bool) {
	switch Errno(err) {
	case 0:
		return false, false
	case ErBadDB, ErNoSuchTable, ErViewInvalid:
		return true, true
	}
	return false, true
}

// Full reports whether the server has no room to write to. The text tells, since an error may have come by another node.
func Full(err error) bool {
	for _, text := range []string{"Error 1021", "Error 1114", "errno: 28", "No space left on device"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// Wrap adds dialect.ErrPrivilege to errors of the server that say so.
func Wrap(err error) error {
	switch Errno(err) {
	case erNoTrust:
		return fmt.Errorf("%w (%w)", ErrTrust, err)
	case 1044, 1045, 1142, 1143, 1370, ErSpecific, 1698:
		return fmt.Errorf("%w: %w", dialect.ErrPrivilege, err)
	}
	return err
}
