package lang

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	driver "github.com/go-sql-driver/mysql"
)

// ErrTrust says how to make the server let the user create triggers. It wraps dialect.ErrPrivilege.
var ErrTrust = fmt.Errorf("the server writes a binary log and then lets only users with SUPER create triggers: "+
	"SET GLOBAL log_bin_trust_function_creators=1 (and in the server's configuration): %w", dialect.ErrPrivilege)

// fitting are the numbers with which the server never refuses a row for one of its values by itself.
var fitting = []uint16{0, ErDupEntry, ErRowReferenced, ErNoReferenced, ErNoSuchTable, ErBadField, ErValueCount, erLockWait, erDeadlock}

// Unfit reports whether the server may have refused a row for one of its values by itself.
func Unfit(err error) bool { return unfit(Errno(err)) }

func unfit(number uint16) bool {
	return !slices.Contains(fitting, number) && !slices.Contains(unable, number)
}

// Numbers of server errors that mean something to ddb.
const (
	ErDupEntry        = 1062
	ErNoSuchTable     = 1146
	ErViewInvalid     = 1356
	ErBadDB           = 1049
	ErBadField        = 1054
	ErValueCount      = 1136
	erNoTrust         = 1419
	ErSpecific        = 1227
	ErRowReferenced   = 1451
	ErNoReferenced    = 1452
	ErCheckMaria      = 4025
	ErCheckMySQL      = 3819
	ErNoSuchThread    = 1094
	ErNoSuchSavepoint = 1305
	erLockWait        = 1205
	erDeadlock        = 1213
	erNeedReprepare   = 1615
	erUnknownStmt     = 1243
	erUnpreparable    = 1295
	ErNotLocked       = 1100
)

// Errno returns the number of a server's error, 0 for one that is not the server's.
func Errno(err error) uint16 {
	if me, ok := errors.AsType[*driver.MySQLError](err); ok {
		return me.Number
	}
	return 0
}

// InvalidConn is the driver's error for a connection that is lost.
var InvalidConn = driver.ErrInvalidConn

// Carry returns what makes a server's error anew in another process; ok is false for one that is not the server's.
func Carry(err error) (number uint16, state, message string, ok bool) {
	my, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return 0, "", "", false
	}
	if my.SQLState != [5]byte{} {
		state = string(my.SQLState[:])
	}
	return my.Number, state, my.Message, true
}

// Restore makes the error that Carry has taken apart.
func Restore(number uint16, state, message string) error {
	my := &driver.MySQLError{Number: number, Message: message}
	copy(my.SQLState[:], state)
	return my
}

// unable are the numbers of a server that lacks room, memory, time, or leave to write at all
// (https://mariadb.com/kb/en/mariadb-error-code-reference/).
var unable = []uint16{3, 1021, 1026, 1037, 1038, 1041, 1047, 1114, 1180, 1181, 1203, 1226, 1290, 1317, 1836}

// down are the numbers of a server that serves nobody, or has dropped the connection: too many connections, a shutdown, a network error,
// a KILL (https://mariadb.com/kb/en/mariadb-error-code-reference/).
var down = []uint16{1040, 1053, 1077, 1158, 1159, 1160, 1161, 1927}

// faults are what numbers mean beside that, or beside that the server has answered.
var faults = map[uint16]dialect.Fault{
	erLockWait:        dialect.Busy,
	erDeadlock:        dialect.Busy,
	1040:              dialect.Busy,
	1021:              dialect.Full,
	1114:              dialect.Full,
	ErBadDB:           dialect.NoTable,
	ErNoSuchTable:     dialect.NoTable,
	ErViewInvalid:     dialect.NoTable,
	1153:              dialect.TooLarge, // than max_allowed_packet
	ErDupEntry:        dialect.Constraint,
	1048:              dialect.Constraint, // NOT NULL
	1216:              dialect.Constraint, // FOREIGN KEY, to a user who may not know more
	1217:              dialect.Constraint,
	1586:              dialect.Constraint, // a duplicate entry, with the key's name
	ErRowReferenced:   dialect.Constraint,
	ErNoReferenced:    dialect.Constraint,
	ErCheckMaria:      dialect.Constraint,
	ErCheckMySQL:      dialect.Constraint,
	167:               dialect.KeysUsedUp,
	ErNoSuchSavepoint: dialect.NotInTx,
	ErNotLocked:       dialect.NotLocked,
	erUnpreparable:    dialect.Unpreparable,
	erNeedReprepare:   dialect.StatementLost,
	erUnknownStmt:     dialect.StatementLost,
}

// faultOf says what a number means.
func faultOf(number uint16) dialect.Fault {
	if slices.Contains(down, number) {
		return dialect.NodeDown | faults[number]
	}
	f := dialect.Answer | faults[number]
	if slices.Contains(unable, number) {
		f |= dialect.Unable
	}
	if unfit(number) {
		f |= dialect.Unfit
	}
	return f
}

// faultTexts are what the server says in the text of errors that have another number, or have lost it on the way.
var faultTexts = []struct {
	text  string
	means dialect.Fault
}{
	{"Error 1021", dialect.Full},
	{"Error 1114", dialect.Full},
	{"errno: 28", dialect.Full},
	{"No space left on device", dialect.Full},
	{"Error 167 ", dialect.KeysUsedUp},
}

// Fault says what an error of the server or of its driver means.
func Fault(err error) (f dialect.Fault) {
	if err == nil {
		return 0
	}
	if number := Errno(err); number != 0 {
		f = faultOf(number)
	} else if errors.Is(err, driver.ErrInvalidConn) {
		f = dialect.NodeDown
	}
	text := err.Error()
	for _, t := range faultTexts {
		if strings.Contains(text, t.text) {
			f |= t.means
		}
	}
	return f
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
