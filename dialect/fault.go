package dialect

// Fault says what an error means to ddb, whatever the database calls it: several things at once, or 0 for one that means nothing but
// that the statement is wrong. An error may have come from another node of the same dialect: its number and text are those that the
// driver gave there.
type Fault uint32

// What an error may mean.
const (
	// Busy: somebody else held a lock for too long. The same may succeed another time.
	Busy Fault = 1 << iota
	// Unable: the database could not do what was asked for want of something that has nothing to do with the statement: room, memory,
	// time, or leave to write at all.
	Unable
	// Full: there is no room for what was to be written.
	Full
	// NodeDown: the database, its file or the connection to it does not work; another node may do the same.
	NodeDown
	// Answer: a server gave the error by itself, so that it works, whatever has happened to the caller's connection since. Not with NodeDown.
	Answer
	// NoTable: there is no such table or database, or a view's tables are missing.
	NoTable
	// TooLarge: a value, a row or a statement is larger than the database takes.
	TooLarge
	// Constraint: a row breaks a constraint of its table: a key, a reference, a CHECK, NOT NULL.
	Constraint
	// Unfit: the database may have refused a row for one of its values by itself, and may store it if it does not judge; see Rewriter.
	Unfit
	// KeysUsedUp: the column that hands out keys has no further one.
	KeysUsedUp
	// InTx: a transaction is open on the connection, and should not be.
	InTx
	// NotInTx: no transaction is open on the connection, and one should be.
	NotInTx
	// NotLocked: the session has locked tables, and the statement needs one that is not among them.
	NotLocked
	// Unpreparable: the database runs the statement, but does not prepare it.
	Unpreparable
	// StatementLost: the database has not run a prepared statement, because it does not have it in a form that it can run: it is to be prepared anew.
	StatementLost
)

// Is reports whether the error means any of these.
func (f Fault) Is(any Fault) bool { return f&any != 0 }
