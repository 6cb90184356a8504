package mysql

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/apply"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// StatementLost reports whether the server did not run a compiled statement because it does not have it in a form
// that it can run: it is to be compiled anew.
func StatementLost(err error) bool {
	n := lang.Errno(err)
	return n == lang.ErNeedReprepare || n == lang.ErUnknownStmt
}

// NotLocked reports whether a session that has locked tables was asked for another.
func NotLocked(err error) bool { return lang.Errno(err) == lang.ErNotLocked }

// Unpreparable reports whether the server refuses to prepare a statement that it may run.
func Unpreparable(err error) bool { return lang.Errno(err) == lang.ErUnpreparable }

// LockLost reports whether the server gave up on a lock: a deadlock, or too long a wait. The same may succeed another time.
func LockLost(err error) bool { return lang.LockLost(err) }

// Unable reports whether the server could not do what was asked for want of something that has nothing to do with the
// statement: room, memory, time, or leave to write at all.
func Unable(err error) bool { return lang.Unable(err) }

// Down reports whether an error says that the server does not work, or that the connection to it is lost, rather than that the
// statement is wrong. said reports whether a server has said it, so that nothing else in the error counts.
func Down(err error) (down, said bool) { return lang.Down(err) }

// Unknown reports whether the server does not have a database, a table, or one that a view is of. said is that of Down.
func Unknown(err error) (unknown, said bool) { return lang.Unknown(err) }

// Full reports whether the server has no room to write to, as far as the text of the error, which is not nil, tells.
func Full(err error) bool { return lang.Full(err) }

// Unfit reports whether the server may have refused a row for one of its values by itself.
func Unfit(err error) bool { return lang.Unfit(err) }

// Unjudged is the beginning of a statement that stores what it can, on MariaDB.
const Unjudged = apply.Unjudged

// Checks returns a condition that is true for a row of the table, in the database of that name, "" for the current one, that breaks a CHECK
// on one of the columns, or on a generated column made of them; "" if there is no such CHECK. A text that looks like a column's name counts as one.
func Checks(ctx context.Context, q dialect.Querier, database, table string, columns []string) (string, error) {
	return apply.Checks(ctx, q, database, table, columns)
}
