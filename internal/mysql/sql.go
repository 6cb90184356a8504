package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/ddb-project/ddb/dialect"
)

// ident quotes an identifier.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func qualified(db, name string) string { return ident(db) + "." + ident(name) }

// text is a string constant that means the same in every sql_mode.
func text(s string) string {
	if strings.ContainsAny(s, "'\\") {
		return "_utf8mb4 0x" + hex.EncodeToString([]byte(s))
	}
	return "'" + s + "'"
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

// texts runs a query of the catalogue and returns all its rows as text.
func texts(ctx context.Context, q dialect.Querier, query string) ([][]sql.NullString, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]sql.NullString
	for rows.Next() {
		r := make([]sql.NullString, len(cols))
		dest := make([]any, len(cols))
		for i := range r {
			dest[i] = &r[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// exec runs statements one after the other.
func exec(ctx context.Context, q dialect.Querier, statements ...string) error {
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return wrap(err)
		}
	}
	return nil
}

// Numbers of server errors that mean something to ddb.
const (
	erDupEntry      = 1062
	erNoSuchTable   = 1146
	erViewInvalid   = 1356
	erBadDB         = 1049
	erBadField      = 1054
	erValueCount    = 1136
	erNoTrust       = 1419
	erSpecific      = 1227
	erRowReferenced = 1451
	erNoReferenced  = 1452
	erCheckMaria    = 4025
	erCheckMySQL    = 3819
	erNoSuchThread  = 1094
	erLockWait      = 1205
	erDeadlock      = 1213
	erNeedReprepare = 1615
	erUnknownStmt   = 1243
	erUnpreparable  = 1295
	erNotLocked     = 1100
)

func errno(err error) uint16 {
	if me, ok := errors.AsType[*driver.MySQLError](err); ok {
		return me.Number
	}
	return 0
}

// LockLost reports whether the server gave up on a lock: a deadlock, or too long a wait. The same may succeed another time.
func LockLost(err error) bool {
	n := errno(err)
	return n == erDeadlock || n == erLockWait
}

// Unable reports whether the server could not do what was asked for want of something that has nothing to do with the
// statement: room, memory, time, or leave to write at all (https://mariadb.com/kb/en/mariadb-error-code-reference/).
func Unable(err error) bool {
	switch errno(err) {
	case 3, 1021, 1026, 1037, 1038, 1041, 1047, 1114, 1180, 1181, 1203, 1226, 1290, 1317, 1836:
		return true
	}
	return false
}

// StatementLost reports whether the server did not run a compiled statement because it does not have it in a form
// that it can run: it is to be compiled anew.
func StatementLost(err error) bool {
	n := errno(err)
	return n == erNeedReprepare || n == erUnknownStmt
}

// connectError says what to check when the first connection does not come about.
func connectError(err error) error {
	var network *net.OpError
	switch {
	case errno(err) == 1045:
		return fmt.Errorf("mysql: connect: %w; check the user and the password in the DSN", wrap(err))
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("mysql: connect: %w; is the server up, and are host and port in the DSN right?", err)
	}
	return fmt.Errorf("mysql: connect: %w", wrap(err))
}

// wrap adds dialect.ErrPrivilege to errors of the server that say so.
func wrap(err error) error {
	switch errno(err) {
	case erNoTrust:
		return fmt.Errorf("%w (%w)", errTrust, err)
	case 1044, 1045, 1142, 1143, 1370, erSpecific, 1698:
		return fmt.Errorf("%w: %w", dialect.ErrPrivilege, err)
	}
	return err
}
