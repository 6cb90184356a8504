package sqlite

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// The driver starts a goroutine for each execution that a context may cut short, which costs as much as
// writing a row. A program of SQLite's virtual machine that goes through no loop of rows needs none:
// it writes the rows that its text names, and those that triggers and foreign keys find by a unique key.

// briefOps are the instructions of such programs. What is not here may take long: Next and its
// kin, Function (but for those of briefFunctions), Clear and whatever SQLite may come to have.
var briefOps = opcodes(`Init Trace Transaction Goto Halt HaltIfNull Noop Explain ReleaseReg Once
	Null SoftNull Integer Int64 Real String String8 Blob Variable Param Copy SCopy IntCopy Move
	If IfNot IsNull NotNull ZeroOrNull Eq Ne Lt Le Gt Ge ElseEq Not And Or
	Add Subtract Multiply Divide Remainder Cast Affinity RealAffinity MustBeInt CollSeq TypeCheck
	OpenRead OpenWrite ReopenIdx Close SeekRowid NotExists Found NotFound NoConflict NewRowid
	SeekGE SeekGT SeekLE SeekLT IdxGE IdxGT IdxLE IdxLT IdxRowid DeferredSeek FinishSeek Rowid Column
	MakeRecord Insert Delete IdxInsert IdxDelete Program ResetCount InitCoroutine Yield EndCoroutine
	FkCheck FkCounter FkIfZero`)

// briefFunctions tell the time, or whether something is NULL.
var briefFunctions = opcodes("date datetime julianday strftime time timediff unixepoch current_date current_time current_timestamp coalesce ifnull typeof")

func opcodes(list string) map[string]bool {
	m := make(map[string]bool)
	for _, s := range strings.Fields(list) {
		m[s] = true
	}
	return m
}

// Compile implements [dialect.Compiler].
func (e *engine) Compile(ctx context.Context, c *sql.Conn, query string, args []any) (dialect.Stmt, dialect.Program, error) {
	s, err := compile(ctx, c, query)
	if err != nil {
		return nil, dialect.Program{}, err
	}
	return s, e.program(ctx, c, query, args), nil
}

// ownProgram begins the first instruction of a trigger of ddb's own: those find rows by unique keys.
const ownProgram = "-- TRIGGER " + prefix

// program asks SQLite for the program of a statement, those of triggers included.
func (e *engine) program(ctx context.Context, c *sql.Conn, query string, args []any) dialect.Program {
	var at, root, db int64
	var op string
	var other sql.RawBytes
	var p4 sql.NullString
	p := dialect.Program{Brief: true, Known: true}
	ours := false
	roots := make(map[int64]bool)
	err := each(ctx, c, "EXPLAIN "+query, []any{&at, &op, &other, &root, &db, &p4, &other, &other}, func() error {
		switch op {
		case "Init":
			ours = strings.HasPrefix(p4.String, ownProgram)
		case "OpenWrite", "ReopenIdx":
			roots[root] = true
		case "VUpdate":
			p.Known = false // what a virtual table does inside does not show
		}
		switch {
		case ours || briefOps[op]:
		case op == "Function" || op == "PureFunc":
			name, _, _ := strings.Cut(p4.String, "(")
			p.Brief = p.Brief && briefFunctions[name]
		default:
			p.Brief = false
		}
		return nil
	}, args...)
	if err == nil {
		p.Outboxes, err = writtenOutboxes(ctx, c, roots)
	}
	if err != nil {
		return dialect.Program{}
	}
	return p
}

// writtenOutboxes returns the ids of the outboxes among the tables with these root pages.
func writtenOutboxes(ctx context.Context, c *sql.Conn, roots map[int64]bool) (ids []int64, err error) {
	var name string
	var root int64
	err = each(ctx, c, "SELECT name, rootpage FROM main.sqlite_schema WHERE type = 'table' AND name GLOB '"+prefix+"out_*'", []any{&name, &root}, func() error {
		if !roots[root] {
			return nil
		}
		id, err := strconv.ParseInt(strings.TrimPrefix(name, prefix+"out_"), 10, 64)
		ids = append(ids, id)
		return err
	})
	return ids, err
}
