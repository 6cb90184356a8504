// Package dialect says what ddb needs to know of a kind of SQL database, in the
// way that database/sql/driver says what database/sql needs of a driver. Programs
// import the dialects that ddb brings, dialect/sqlite and dialect/mysql, and use this package
// only to teach ddb another database, or to ask what an error means ([Fault]);
// [github.com/ddb-project/ddb/dialect/dialecttest] holds the suite that every implementation must pass.
//
// What ddb cannot do without stands in [Dialect] and [Engine]. What makes it faster, or lets it allow more, are
// abilities: small interfaces that either may implement besides (abilities.go). A dialect that is given to [Register] is found by
// the driver of a database; another one is named in Options.Dialect.
//
// A Dialect binds to one *sql.DB and yields an Engine. An Engine speaks plain SQL,
// needs no configuration of the server, starts no goroutine and keeps no state that
// it could not read from the database again, except prepared statements and the
// catalogue that Tables last returned.
//
// # Values
//
// A value of a row is one of nil, int64, uint64 (only beyond the range of int64),
// float64, string or []byte. What a dialect reads it must be able to write so that
// the stored bytes are the same again.
package dialect

import (
	"context"
	"database/sql"
	"errors"
)

// Errors that a dialect returns wrapped, with words that say what to do.
var (
	// ErrPrivilege: the database user or the server's settings do not allow what ddb needs.
	ErrPrivilege = errors.New("not permitted by the database")
	// ErrDiverged: a row or a table is not as an entry requires; the node must be given a new snapshot.
	ErrDiverged = errors.New("the node's data differ from the master's")
	// ErrSchemaMismatch: a table's columns are not those that an entry or chunk names.
	ErrSchemaMismatch = errors.New("the table's columns differ")
	// ErrLocked: another node is on the database.
	ErrLocked = errors.New("another ddb node uses database")
	// ErrLinked: the database's file has several names, under each of which another node could open it.
	ErrLinked = errors.New("the database's file has several names")
)

// Querier is what *sql.DB, *sql.Conn and *sql.Tx have in common.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Dialect recognises a database and binds to it.
type Dialect interface {
	// Name is "sqlite" or "mysql" for the two that ddb brings.
	Name() string
	// Language is what its databases are spoken to in.
	Language() Language
	// Bind checks that db is usable for ddb (settings, privileges, version) and
	// returns its engine. It changes nothing in the database.
	Bind(ctx context.Context, db *sql.DB, cfg Config) (Engine, error)
	// Fault says what an error of the database or its driver means. It knows those that are wrapped, and 0 for nil.
	Fault(err error) Fault
}

// Config says what part of the database is replicated.
type Config struct {
	// Databases names the databases to replicate where a server has several
	// (MariaDB). Empty means the connection's current database.
	Databases []string
	// Guard makes InstallCapture put a guard around the user's own triggers, so
	// that they stay still while ddb applies (needed on snaps, and on a master that has snaps).
	Guard bool
}

// Engine is a dialect bound to a database: five small interfaces.
type Engine interface {
	Sessions
	Schema
	Capture
	Apply
	Copy
}

// Purpose says what a connection or a transaction is for.
type Purpose int

const (
	// Write runs a user's statements: triggers and foreign keys act.
	Write Purpose = iota
	// Pass reads the noted keys and their rows in one consistent snapshot, appends
	// to the journal and clears the notes.
	Pass
	// Batch writes a snap's rows on the master: changes are noted in the outbox and
	// foreign keys act as for a user, but the user's guarded triggers stay still.
	Batch
	// Replay writes entries or snapshot chunks on a follower: nothing is noted, no
	// foreign key acts, no guarded trigger fires.
	Replay
)

// Sessions hands out connections that are set up for ddb's work.
type Sessions interface {
	// Conn takes a connection from the pool and sets it up (time zone, character
	// set, foreign keys, triggers). The caller gives it back with Release.
	Conn(ctx context.Context, p Purpose) (*sql.Conn, error)
	// Release ends the use of a connection got from Conn; it never returns a
	// connection with ddb's settings to the user's pool.
	Release(c *sql.Conn)
	// Begin starts a transaction of the purpose on a connection got from Conn.
	Begin(ctx context.Context, c *sql.Conn, p Purpose) error
	// SingleWriter reports whether the database has one writer at a time: then ddb is the one that writes, and passes are part of its
	// transactions. Else each writes on a connection of its own, and passes find what they have noted.
	SingleWriter() bool
	// Commit ends it; on an error it is rolled back. A canceled context rolls back.
	Commit(ctx context.Context, c *sql.Conn, p Purpose) error
}

// Stmt is a prepared statement, as *sql.Stmt is one.
type Stmt interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	Close() error
}

// Program is what is known of a prepared statement. It stands until the schema changes.
type Program struct {
	// Brief: whatever its arguments are it ends soon, so that nobody needs to be able to cut it short.
	Brief bool
	// Known: Outboxes are the ids of all outboxes that it may write notes to.
	Known    bool
	Outboxes []int64
}

// Compiler may be implemented by an Engine that can run statements again and again with less ado than
// an *sql.Stmt.
type Compiler interface {
	// Compile prepares a statement for a connection got from Conn, as it is about to be run with args. It is
	// closed before the connection is released.
	Compile(ctx context.Context, c *sql.Conn, query string, args []any) (Stmt, Program, error)
}

// Cascader may be implemented by an Engine whose foreign keys change rows besides those that a statement names.
type Cascader interface {
	// Cascaded returns a function that calls emit for each row that q's transaction has changed since Cascaded was called, or may
	// have, in those of tables that foreign keys may change so: with its key, and its values as they are then. nil if there is no such table.
	Cascaded(ctx context.Context, q Querier, tables []*Table) (changed func(emit func(*Table, Row) error) error, err error)
}

// Column is one column of a table.
type Column struct {
	Name          string
	Type          string // as declared
	Nullable      bool
	Default       string // SQL text of the default, "" where there is none
	Generated     bool   // computed by the database: never shipped, never written
	AutoIncrement bool   // handed out by the database
}

// Table is a user's table as the database describes it. It is immutable once returned.
type Table struct {
	ID       int64  // number of its outbox, 0 while it has none
	Database string // "" where a node has one database only (SQLite)
	Name     string
	Columns  []Column // in the table's order, generated ones included
	Stored   []string // names of the columns that are not generated: what Row.Values holds, in order
	Key      []int    // primary key, as indexes into Stored, in key order
	// ExactKey: two keys are the same row exactly if their values are equal in Go
	// (integers, binary text). False for case-insensitive text, floats and the like.
	ExactKey bool
	// Fingerprint changes whenever the table's definition does.
	Fingerprint string
	// Parts are what the definition consists of. Nil where nobody can change a table beside a schema statement (Transactional).
	Parts []Part
	// Incarnation changes when another table takes this one's place, or all its rows are removed
	// unseen by triggers, though the definition stays the same. "" where that can only be told by Bare.
	Incarnation string
	// Bare says that the table's capture has got lost, so that rows may have changed unseen.
	Bare bool
	// Follows are the tables, each by database and name, whose changed rows change rows of this one by a foreign key that
	// fires no trigger.
	Follows [][2]string
	// Refusal says why the table cannot be replicated, and the statement that would
	// change that; "" for a table that can.
	Refusal string
	// Own marks ddb's own replicated tables, see OwnReplicated.
	Own bool
}

// HandedOutKey returns the column that is the table's whole key and handed out by the database, or "".
func (t *Table) HandedOutKey() string {
	if len(t.Key) != 1 {
		return ""
	}
	name := t.Stored[t.Key[0]]
	for _, c := range t.Columns {
		if c.Name == name && c.AutoIncrement {
			return name
		}
	}
	return ""
}

// Part is one line of a table's definition.
type Part struct {
	Kind   string // "column", "index", "reference", "check", or "option" for what the table as a whole has
	Name   string // of an option its word: ENGINE, COLLATE, COMMENT ...
	Column string // of an index or a reference: the column that this line is about
	Text   string // changes with the definition
}

// Row is the state of one row: its key, and its stored values or nil for "absent".
// The slices are valid only during the call that passes them, unless said otherwise.
type Row struct {
	Key    []any
	Values []any
	// Base is the row before the transaction, nil if it did not exist. Only set by CollectImages.
	Base []any
	// Given tells Apply on a connection for Batch which of Values somebody has chosen: those must fit their columns and hold to
	// the table's CHECK constraints, as if a user wrote them. The others have been the row's before, and are written even
	// where a constraint or a mode that came later would refuse them. Nil: all are given.
	Given []bool
}

// Object is one thing of a schema and the statement that makes it.
type Object struct {
	Kind     string // "database", "table", "index", "view", "function", "procedure", "trigger", "counter", "pragma"
	Database string
	Name     string
	SQL      string
	Table    string // of an index or a trigger: the table or view that it is on; it goes when that does
}

// Statement is a schema statement with the surroundings that its meaning depends on.
type Statement struct {
	SQL       string `cbor:"1,keyasint"`
	Database  string `cbor:"2,keyasint,omitempty"` // default database when it ran
	SQLMode   string `cbor:"3,keyasint,omitempty"`
	Charset   string `cbor:"4,keyasint,omitempty"`
	Collation string `cbor:"5,keyasint,omitempty"`
	Timestamp int64  `cbor:"6,keyasint,omitempty"` // unix nanoseconds that NOW() gave
	TimeZone  string `cbor:"7,keyasint,omitempty"` // as the distance from UTC that it had then, such as +05:30
}

// Schema reads and changes table definitions.
type Schema interface {
	// Own returns the quoted, qualified name of ddb's own table of that short name
	// ("journal", "meta", "followers", "batches", "received", "conflicts", ...).
	Own(name string) string
	// OwnDatabase names the database that ddb's own tables stand in on a node whose first database is primary; "" if they stand in
	// that itself (SQLite).
	OwnDatabase(primary string) string
	// Database returns the connection's current database, which it may have left for another; "" if there is none, and where a
	// node has one database only (SQLite).
	Database(ctx context.Context, q Querier) (string, error)
	// CreateOwn creates ddb's own tables where they are missing (and, on MariaDB,
	// their database). See OwnTables for their columns.
	CreateOwn(ctx context.Context, q Querier) error
	// Tables lists the user's base tables in the replicated databases, and ddb's
	// own replicated ones, parents before children where foreign keys allow. Tables
	// that cannot be replicated are listed too, with Refusal set.
	Tables(ctx context.Context, q Querier) ([]*Table, error)
	// Objects lists the statements that make the user's whole schema on an empty
	// node, in the order in which they can run, without anything of ddb's.
	Objects(ctx context.Context, q Querier) ([]Object, error)
	// Version is cheap and changes when any table definition in the replicated
	// databases does, by whatever client.
	Version(ctx context.Context, q Querier) (string, error)
	// Run executes a schema statement in its surroundings. Before it runs, fields of s
	// that are empty are filled in from the session.
	Run(ctx context.Context, c *sql.Conn, s *Statement) error
	// Transactional reports whether schema statements roll back with the transaction.
	Transactional() bool
}

// CaptureMode says how much the triggers note.
type CaptureMode int

const (
	// Keys notes the key of each changed row (masters).
	Keys CaptureMode = iota
	// Images notes the row's previous image too (snaps).
	Images
)

// Notes remembers which rows of the outboxes a collection has read, for Clear.
type Notes struct {
	Table  *Table
	Ranges [][2]int64 // inclusive ranges of note ids that were seen, ascending
	Count  int64      // how many ids they hold at most
}

// Capture notes changed keys in outboxes and reads them back.
type Capture interface {
	// InstallCapture gives each table that has no Refusal an outbox and triggers, sets
	// Table.ID, and removes what tables that are gone left behind. Idempotent and cheap when nothing changed.
	InstallCapture(ctx context.Context, q Querier, tables []*Table, mode CaptureMode) error
	// RemoveCapture removes every outbox, trigger and guard (not the other own tables).
	RemoveCapture(ctx context.Context, q Querier) error
	// Noted returns those of tables whose outbox is not empty in q's view.
	Noted(ctx context.Context, q Querier, tables []*Table) ([]*Table, error)
	// Collect calls emit once for each distinct noted key of the table, with the row
	// as it stands in q's view, and returns which notes it has seen. Memory stays
	// bounded however many there are.
	Collect(ctx context.Context, q Querier, t *Table, emit func(Row) error) (Notes, error)
	// CollectImages is Collect in the mode Images: only notes written by this
	// connection's current transaction, with Base set.
	CollectImages(ctx context.Context, q Querier, t *Table, emit func(Row) error) (Notes, error)
	// Clear deletes exactly the notes seen, never waiting for another writer's.
	Clear(ctx context.Context, q Querier, n Notes) error
	// Touch notes keys, as if their rows had changed. A nil keys notes every row of the table.
	Touch(ctx context.Context, q Querier, t *Table, keys [][]any) error
}

// ApplyMode says what to do when a row that is written meets another one.
type ApplyMode int

const (
	// Strict: rows are written after all keys of the call are deleted or matched; a
	// clash with any other row is ErrDiverged.
	Strict ApplyMode = iota
	// Replace: a clash on a unique key removes the other row (snapshot chunks that are
	// read at different moments; the journal puts it right).
	Replace
)

// Apply writes and reads rows by key.
type Apply interface {
	// Apply makes the rows of the table be as stated, as one step: unique values may
	// be exchanged among the rows of one call. On a connection for Batch it refuses values that do not fit; see Row.Given.
	Apply(ctx context.Context, q Querier, t *Table, rows []Row, mode ApplyMode) error
	// Lookup calls emit for each key with the row as it is now (Values nil if absent),
	// locked against other writers until the transaction ends.
	Lookup(ctx context.Context, q Querier, t *Table, keys [][]any, emit func(Row) error) error
}

// Copy reads and empties whole tables, for snapshots.
type Copy interface {
	// Scan calls emit with at most limit rows in the order of the key, starting behind
	// the key after (nil for the start). It reports whether rows may remain.
	Scan(ctx context.Context, q Querier, t *Table, after []any, limit int, emit func(values []any) error) (more bool, err error)
	// Wipe drops the user's objects in the replicated databases; ddb's own tables stay.
	Wipe(ctx context.Context, c *sql.Conn) error
	// DropOwn removes all of ddb's own tables (for Detach).
	DropOwn(ctx context.Context, q Querier) error
	// Lock makes this process the only ddb node on the database until the release is
	// called or the process dies. It fails at once with ErrLocked if another holds it, naming it if known.
	Lock(ctx context.Context) (release func() error, err error)
}

// OwnTables describes ddb's own tables; CreateOwn of a dialect creates them with
// types that hold these. All are created empty. k or id columns are primary keys.
//
//	meta      (k text(190), v blob)                       settings and marks of this node
//	journal   (seq int64 primary key, epoch int64, at int64, final int64, records int64,
//	           bytes int64, hash blob(32), payload blob)  seq = LSN<<20 | part
//	journal_rest (seq int64, n int64, payload blob; primary key seq, n)   what of a part is too large for one row
//	followers (id text(190), role text, number int64, at int64)   every node that has followed the cluster; replicated
//	batches   (id int64 handed out ascending (AUTO_INCREMENT, INTEGER PRIMARY KEY), number int64 null, at int64, records int64, bytes int64, payload blob)
//	received  (snap text(190) primary key, number int64)  highest batch included of a snap's queue, on a master and its replicas
//	deferred  (id int64 handed out, kind text, db text, name text, body text) objects a replica keeps for the day it is promoted
//	conflicts (id text(64) primary key, at int64, db text, tbl text, rowkey text, base text, local text, remote text,
//	           origin text, batch int64, policy text, outcome text, reason text, state text)   replicated like a user's table
//	captured  (id int64 primary key, db text, name text, fingerprint text)   the dialect's own: which table has which outbox
var OwnTables = []string{"meta", "journal", "journal_rest", "followers", "batches", "received", "deferred", "conflicts", "captured"}

// OwnReplicated lists those of OwnTables that are replicated like a user's tables.
var OwnReplicated = []string{"conflicts", "followers"}
