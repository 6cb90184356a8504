package mysql

// StatementLost reports whether the server did not run a compiled statement because it does not have it in a form
// that it can run: it is to be compiled anew.
func StatementLost(err error) bool {
	n := errno(err)
	return n == erNeedReprepare || n == erUnknownStmt
}

// NotLocked reports whether a session that has locked tables was asked for another.
func NotLocked(err error) bool { return errno(err) == erNotLocked }

// Unpreparable reports whether the server refuses to prepare a statement that it may run.
func Unpreparable(err error) bool { return errno(err) == erUnpreparable }
