package sqlite

import (
	"context"
	"database/sql"
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
func (e *engine) Compile(ctx context.Context, c *sql.Conn, query string, args []any) (s dialect.Stmt, brief bool, err error) {
	compiled, err := compile(ctx, c, query)
	if err != nil {
		return nil, false, err
	}
	return compiled, isBrief(ctx, c, query, args), nil
}

// isBrief asks SQLite for the program of a statement, those of triggers included.
func isBrief(ctx context.Context, c *sql.Conn, query string, args []any) bool {
	var at, p1, p2, p3, p5 sql.RawBytes
	var op string
	var p4, comment sql.NullString
	brief := true
	err := each(ctx, c, "EXPLAIN "+query, []any{&at, &op, &p1, &p2, &p3, &p4, &p5, &comment}, func() error {
		switch {
		case briefOps[op]:
		case op == "Function" || op == "PureFunc":
			name, _, _ := strings.Cut(p4.String, "(")
			brief = brief && briefFunctions[name]
		default:
			brief = false
		}
		return nil
	}, args...)
	return err == nil && brief
}
