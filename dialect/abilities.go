package dialect

import (
	"context"
	"database/sql"
)

// What follows are abilities: interfaces that a Dialect or an Engine may implement besides. Without one ddb works all the same, more
// slowly or with fewer things allowed, as the ability says; [github.com/ddb-project/ddb/dialect/dialecttest] tries those that it finds.
// [Compiler], [Cascader], [FileCopier], [ScopeReader], [DefinitionReader] and [ChangeCounter] are abilities of an Engine too.

// Abilities of a Dialect, which work on any *sql.DB of its kind, bound or not.

// Killer ends statements inside the server. Without it [github.com/ddb-project/ddb.WithKill] drops the connection, as without that.
type Killer interface {
	// ConnectionID asks for the server's number of a connection. It may forget what the statement before has left for
	// functions that ask for it.
	ConnectionID(ctx context.Context, q Querier) (uint64, error)
	// Kill lets the end of ctx end the statement that is to run on the connection of db with that number in the server too. The
	// caller calls release when the statement is done and its rows are closed: it waits for a KILL under way, and
	// reports whether there was one: the connection then serves nobody else.
	Kill(ctx context.Context, db *sql.DB, id uint64) (release func() (killed bool))
}

// ValueLimiter keeps statements from making large values. Without it an answer is limited once its rows are there.
type ValueLimiter interface {
	// LimitValues keeps a query that is to run on the connection from making values whose sum is much more than row, in bytes.
	// A greater one is an error with the Fault TooLarge. restore gives the connection back the limit that it
	// had; the rows must be closed by then. A connection that knows no limits gets none.
	LimitValues(c *sql.Conn, query string, row int64) (restore func())
}

// TransactionTeller tells of a connection what database/sql does not. Without it a text that leaves a transaction open has that rolled
// back, and its caller is not told.
type TransactionTeller interface {
	// InTransaction reports whether a transaction is open on the connection, and changes nothing about it.
	InTransaction(ctx context.Context, q Querier) (bool, error)
}

// SessionReader tells how a session reads the text of a statement. Without it a text that sessions may read in several ways is refused.
type SessionReader interface {
	// ReadsOtherwise reports whether the session that query asks reads the text otherwise than one with the server's own settings.
	ReadsOtherwise(ctx context.Context, query func(ctx context.Context, query string, args ...any) (*sql.Rows, error), text string) (bool, error)
}

// ErrorCarrier is a dialect whose driver has a type of errors that programs look for: they cross the wire between nodes as that. Without it an
// error arrives with its text, and its number if it has a method Code() int.
type ErrorCarrier interface {
	// CarryError returns what makes the error anew in another process, of the first in err's tree that is of the type; ok is false if there is none.
	CarryError(err error) (number uint16, state, message string, ok bool)
	// RestoreError makes it. The number is not 0.
	RestoreError(number uint16, state, message string) error
	// Sentinels are errors of the driver that [errors.Is] finds after the wire too, each under a name that all nodes know it by.
	Sentinels() map[string]error
}

// LastKeySetter is a dialect whose connections tell the key of their last new row. Without it one that is taken for a program's session tells none
// of what the program has inserted before.
type LastKeySetter interface {
	// SetLastKey makes the connection tell the key.
	SetLastKey(ctx context.Context, q Querier, key int64) error
}

// Abilities of an Engine.

// Dropper knows objects that DROP does not take away. Without it each is dropped by DROP and its kind.
type Dropper interface {
	// DropStatement returns the statement that takes an object away; "" where DROP does.
	DropStatement(kind, name string) string
}

// Quickener runs the same statements faster when they come again.
type Quickener interface {
	// Quick returns q, or something on the same connection that keeps what it runs compiled.
	Quick(q Querier) Querier
}

// LockKeeper is an engine whose Lock can get lost while the process lives. Without it, Lock holds until it is released.
type LockKeeper interface {
	// KeepLock takes the lock anew if it was lost, and reports whether it was: another node may have been here meanwhile. Its
	// error says why it cannot be had.
	KeepLock(ctx context.Context) (lost bool, err error)
}

// DatabaseAdder can replicate further databases of its server. Without it a node has those that it was bound to.
type DatabaseAdder interface {
	// Replicate makes the engine replicate these databases beside those it was bound to, unless another node does. It takes the
	// place of what an earlier call has named.
	Replicate(ctx context.Context, more []string) error
}

// Temporaries tells of temporary tables, which followers do not have. Without it a connection is thought to have none.
type Temporaries interface {
	// HasTemporary reports whether the connection has any; it may have had some.
	HasTemporary(ctx context.Context, q Querier) (bool, error)
	// IsTemporary reports whether the name stands for one on the connection. database is "" if the statement names none.
	IsTemporary(ctx context.Context, q Querier, database, name string) (bool, error)
}

// SettingComparer compares two connections. An engine with one writer has it, if connections have settings: schema statements of a
// program's connection run on the writer's.
type SettingComparer interface {
	// DifferentSetting names a setting which has other values on the two connections and may change what the schema
	// statement does; "" if there is none.
	DifferentSetting(ctx context.Context, a, b Querier, statement string) (string, error)
}

// SessionTuner prepares a program's own session for a schema statement, as an engine with many writers can. Without it such a
// statement waits for others as long as the session says, and the import of a dump names tables before those that refer to them.
type SessionTuner interface {
	// HoldsTables reports whether the session has locked tables, so that it reaches no others.
	HoldsTables(ctx context.Context, c *sql.Conn) (bool, error)
	// Impatient makes the session give up within about a second on a lock that others hold, until restore is called.
	Impatient(ctx context.Context, c *sql.Conn) (restore func() error, err error)
	// Unchecked keeps the session from checking foreign keys, until restore is called.
	Unchecked(ctx context.Context, c *sql.Conn) (restore func() error, err error)
}

// KeySharer is an engine with many writers on which several nodes can hand out keys beside each other. Without it keys come as without ddb.
type KeySharer interface {
	// ShareKeys makes the connection hand out, of step keys that follow each other, only the one with the number, from 1 to step.
	ShareKeys(ctx context.Context, c *sql.Conn, step, number int64) error
}

// KeyMover is an engine with one writer whose database hands out the highest key of a table plus one, whichever node's that is, and
// that can move a new row to another key. Without it keys come as without ddb.
type KeyMover interface {
	// InstallKeys makes the tables hand out keys from lo up to but without hi: a row that is handed another one is moved to the next of
	// these. noted says that what the outboxes note is to tell of rows as they are after that (a snap). With a hi of 0 keys come as without ddb.
	InstallKeys(ctx context.Context, q Querier, tables []*Table, lo, hi int64, noted bool) error
	// Moves returns how many rows were ever moved.
	Moves(ctx context.Context, q Querier) (int64, error)
	// MovedTo returns the key that the last row of the table of that name was moved to. ok is false if that row was not moved, or not handed was before.
	MovedTo(ctx context.Context, q Querier, table string, was int64) (key int64, ok bool, err error)
	// MovesOf tells of the table's rows: how many were ever moved, and of the last of them, if it is known, what it was handed and what it was moved to.
	MovesOf(ctx context.Context, q Querier, t *Table) (moves int64, was sql.NullInt64, last int64, err error)
	// HighestKey returns the highest key of the range that the table has or has had, lo-1 for none, and whether the
	// database itself never hands out a lower key than before.
	HighestKey(ctx context.Context, q Querier, t *Table, lo, hi int64) (highest int64, rising bool, err error)
	// Told returns the key that the connection tells as that of its last new row, and how many rows its last statement has changed.
	Told(ctx context.Context, q Querier) (key, changes int64, err error)
	// Tell makes the connection tell the key, and the number of rows, 1 for one below that.
	Tell(ctx context.Context, q Querier, key, changes int64) error
	// BeginMoves begins a transaction that has the database's lock for writing from the start. Inside another it is an error with the Fault InTx.
	BeginMoves(ctx context.Context, q Querier) error
	// LockMoves takes the database's lock for writing in the transaction that is open, and changes nothing.
	LockMoves(ctx context.Context, q Querier) error
}

// KeyGauge tells whether the keys that a database hands out are running out. Without it nobody is warned of that.
type KeyGauge interface {
	// UsedKeys returns the table's column whose values are handed out, "" if there is none, and the share of them that
	// is used up, from 0 to 1: of those from lo up to but without hi where a KeyMover has been given these.
	UsedKeys(ctx context.Context, q Querier, t *Table, lo, hi int64) (column string, used float64, err error)
	// NarrowKeys returns the column of a table whose type has fewer than least keys for each of step nodes, how many, and the
	// statement that cures that; "" for other tables.
	NarrowKeys(t *Table, step, least int64) (column string, keys int64, cure string)
}

// KeyGiver tells about tables whose text declares no primary key, where a schema statement commits the transaction that it is in. Without
// it such a statement is refused only once it has run, and undone.
type KeyGiver interface {
	// GivesKeys reports whether the server gives such a table a key that no query shows.
	GivesKeys(ctx context.Context, q Querier) (bool, error)
	// HasTable reports whether any database of the server has a table of the name.
	HasTable(ctx context.Context, q Querier, name string) (bool, error)
}

// NameFolder tells how the names of tables are compared. Without it those that differ in letter case are different.
type NameFolder interface {
	// FoldsNames reports whether names that differ in letter case are the same table.
	FoldsNames(ctx context.Context, q Querier) (bool, error)
}

// RowEstimator knows about how many rows a table has without counting them, as the progress of a snapshot is told by.
type RowEstimator interface {
	// EstimateRows returns about how many rows the table has.
	EstimateRows(ctx context.Context, q Querier, t *Table) (int64, error)
}

// CounterKeeper is an engine whose tables have counters of their own for handed-out keys, which rows that are gone have raised. Without
// it a key may be handed out again after a promotion, if no row shows it.
type CounterKeeper interface {
	// NextKey returns the value that the table's column with AutoIncrement has next.
	NextKey(ctx context.Context, q Querier, t *Table) (uint64, error)
	// Remember notes, in q's transaction, that the values up to highest have been handed out.
	Remember(ctx context.Context, q Querier, t *Table, highest uint64) error
	// RaiseCounters makes the tables' counters know what was noted. It ends a transaction that q is in.
	RaiseCounters(ctx context.Context, q Querier) error
}

// CounterLister is an engine whose counters for handed-out keys are objects: a snapshot takes them along.
type CounterLister interface {
	// Counters lists them as statements that set them, of the kind "counter".
	Counters(ctx context.Context, q Querier) ([]Object, error)
}

// FunctionLister is an engine whose database has functions of the user's, which may write. Without it a call of a function that is not
// the database's own is no read.
type FunctionLister interface {
	// Functions returns their names.
	Functions(ctx context.Context, q Querier) ([]string, error)
}

// ViewLister is an engine whose views can write when they are read, by functions, or show what is ddb's own.
type ViewLister interface {
	// Views returns their definitions by name, empty ones where the server does not tell.
	Views(ctx context.Context, q Querier) (map[string]string, error)
}

// ValueBound is an engine that stores values up to a size. Without it any is stored.
type ValueBound interface {
	// MostBytes is the size of the largest value that is certain to be stored, in bytes.
	MostBytes() int
}

// Warner has something to say that does not forbid its use.
type Warner interface {
	// Warning is said once when a node that writes is opened; "" if there is nothing to say.
	Warning() string
}

// Rewriter stores rows that the database refuses for values that nobody has chosen now. Without it they are refused.
type Rewriter interface {
	// Unjudged returns the INSERT or UPDATE so that it stores what it can.
	Unjudged(statement string) string
	// Checks returns a condition that is true for a row of the table, in the database of that name, "" for the current
	// one, that breaks a CHECK on one of the columns, or on what is computed of them; "" if there is no such CHECK.
	Checks(ctx context.Context, q Querier, database, table string, columns []string) (string, error)
}

// NoteReader reads notes one by one, as an engine with one writer can. Without it a snap reads the rows of each statement after it.
type NoteReader interface {
	// Ends returns, for each of the tables, the id of the last note in its outbox, 0 if there is none.
	Ends(ctx context.Context, q Querier, tables []*Table) ([]int64, error)
	// CollectNotes emits every note of a table in the order in which they were made; Base is the row before
	// the change noted, unless known is false. The row's slices are good until emit returns.
	CollectNotes(ctx context.Context, q Querier, t *Table, emit func(id int64, known bool, r Row) error) (Notes, error)
}

// TransactionReader is an engine with many writers whose notes tell whose they are. Without it a node on such an engine cannot be a snap.
type TransactionReader interface {
	ValueBound
	// Mark is the statement that a connection runs before a transaction, or before statements
	// that are transactions by themselves, so that CollectTransactions tells them apart; "" if there is no need.
	Mark(transaction bool) string
	// DropBatches deletes the batches with those ids, which exist, and locks nothing else.
	DropBatches(ctx context.Context, q Querier, ids []int64) error
	// CollectTransactions emits, table by table, what each transaction has done whose notes q sees: for each row that it has
	// changed the row before and after it. tx counts the transactions from 0 in an order in which they could have run
	// one after another. Of more than most notes, whole transactions are left for another call, and more is true.
	CollectTransactions(ctx context.Context, q Querier, tables []*Table, most int, emit func(tx int, t *Table, r Row) error) (notes []Notes, more bool, err error)
}
