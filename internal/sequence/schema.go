package sequence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/store"
)

// Schema statements are settled by comparison, never by trust in what was
// intended: the master records, in the transaction of the journal entry, the schema that its
// followers have been told of. What the database shows beyond that is shipped (package schema):
// as the statement that made it where ddb ran it and it certainly does the same everywhere, else as the whole
// table, definition and rows in one entry. So a crash between a statement and its entry, an ALTER by
// another client and a table that existed before ddb all end the same way.

// reconcile ships what the database's schema shows beyond the record.
func (turn *Turn) reconcile(ctx context.Context) error {
	turn.node.Log.Info("the schema has changed outside ddb; followers are brought level", "lsn", turn.s.State.Load().Pos.LSN)
	return turn.changeSchema(ctx, turn.Conn, false)
}

// changeSchema runs schema statements on the connection on, if there are any, and ships what has changed as an entry of
// its own. mixed is settleSchema's.
func (turn *Turn) changeSchema(ctx context.Context, on *sql.Conn, mixed bool, statements ...dialect.Statement) error {
	var done *Made
	covered := turn.s.Written.Load()
	var err error
	if turn.node.Engine.Transactional() {
		err = turn.node.TxOn(ctx, turn.Conn, dialect.Write, func() (err error) {
			done, err = turn.changeInTx(ctx, on, mixed, statements)
			return err
		})
	} else if err = turn.runAll(ctx, on, statements); err == nil {
		done, err = turn.settleSchema(ctx, statements, mixed)
	}
	if err != nil {
		if _, e := turn.node.LoadTables(context.WithoutCancel(ctx), turn.node.DB); e != nil {
			err = errors.Join(err, e)
		}
		turn.unsettle()
		return err
	}
	turn.Publish(done, covered)
	return nil
}

// changeInTx is changeSchema inside the transaction, where that holds schema statements. What has not changed since they began is not
// looked at again.
func (turn *Turn) changeInTx(ctx context.Context, on *sql.Conn, mixed bool, statements []dialect.Statement) (*Made, error) {
	var from basis
	known, err := turn.isKnown(ctx)
	if err != nil {
		return nil, err
	}
	level := false
	if known {
		if turn.known != nil && turn.known.Cat == turn.node.Tables.Load() {
			from.state = turn.known
		}
		noted, err := turn.noted(ctx)
		if err != nil {
			return nil, err
		}
		level = len(noted) == 0
	}
	before, err := turn.changes(ctx)
	if err != nil {
		return nil, err
	}
	if err := turn.runAll(ctx, on, statements); err != nil {
		return nil, err
	}
	after, err := turn.changes(ctx)
	if err != nil {
		return nil, err
	}
	from.quiet = level && before != "" && before == after
	done, err := turn.settle(ctx, statements, mixed || !level, from)
	if err == nil {
		done.quiet, err = turn.changes(ctx)
	}
	return done, err
}

// basis is what is known of the database before statements have run.
type basis struct {
	state *schema.State // nil if it has to be read
	quiet bool          // no row was noted, nor have the statements changed any
}

// errTableBusy: a schema statement was not run, because transactions that use its table have not ended.
var errTableBusy = errors.New("other transactions use the table")

// schemaPatience is how long a schema statement waits for other transactions, in tries of a second each.
const schemaPatience = 30 * time.Second

// runAll runs schema statements. One that would wait long for a lock gives up, since no pass is made meanwhile.
func (turn *Turn) runAll(ctx context.Context, on *sql.Conn, statements []dialect.Statement) (failed error) {
	if tuner, ok := turn.node.Engine.(dialect.SessionTuner); ok && len(statements) == 1 {
		restore, err := tuner.Impatient(ctx, on)
		if err != nil {
			return err
		}
		defer func() { failed = errors.Join(failed, restore()) }()
	}
	for i := range statements {
		if err := turn.node.Run(ctx, on, &statements[i]); !turn.node.SingleWriter() && turn.node.Fault(err).Is(dialect.Busy) {
			return fmt.Errorf("%w: %w", errTableBusy, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// isKnown reports whether the schema has not changed since it was last read, as seen in the transaction that the connection is in.
func (turn *Turn) isKnown(ctx context.Context) (bool, error) {
	version, err := turn.node.Engine.Version(ctx, turn.Conn)
	return err == nil && version == turn.node.Tables.Load().Version, err
}

// unsettle makes the next pass compare the schema with the record, whatever has been read of it
// meanwhile: a change that is in the database, but neither captured nor shipped, must not pass for known.
func (turn *Turn) unsettle() {
	turn.LookSoon()
	unknown := *turn.node.Tables.Load()
	unknown.Version = ""
	turn.node.Tables.Store(&unknown)
}

// settleSchema installs the capture for what the schema has become, and appends the
// entry that tells followers. mixed says that followers may not run the statements themselves, so that changed
// tables are shipped whole: the transaction changed rows as well, whose notes a changed table may have lost, or
// the statements name tables that only the program's session has.
func (turn *Turn) settleSchema(ctx context.Context, statements []dialect.Statement, mixed bool) (*Made, error) {
	return turn.settle(ctx, statements, mixed, basis{})
}

// settle is settleSchema for statements that were run on what the basis tells.
func (turn *Turn) settle(ctx context.Context, statements []dialect.Statement, mixed bool, from basis) (*Made, error) {
	before := turn.node.Tables.Load()
	rec, _, err := store.Value[schema.Record](ctx, turn.node, turn.Conn, store.MetaSchema)
	if err != nil {
		return nil, err
	}
	hints := slices.Clone(statements)
	for i := range hints {
		hints[i].Database = turn.node.Logical(hints[i].Database)
	}
	st, scope, err := turn.readSchema(ctx, from, rec, hints)
	if err != nil {
		return nil, err
	}
	if err := turn.refuse(ctx, before, st, statements); err != nil {
		return nil, err
	}
	if err := turn.install(ctx, st, scope); err != nil {
		return nil, err
	}
	if err := turn.renewVersion(ctx, st); err != nil {
		return nil, err
	}
	turn.node.Tables.Store(st.Cat)
	if !turn.node.Engine.Transactional() {
		return turn.shipBeside(ctx, rec, before, st, hints, mixed)
	}
	x := &extra{}
	if from.quiet && scope != nil {
		x.noted = st.Within(scope)
	}
	if mixed || !turn.repeatable(before, st.Cat, statements) || schema.ConcernsKept(before, st, rec, statements) {
		return turn.shipSchema(ctx, rec, st, schema.Told{}, x)
	}
	// Rows may have come between a table and its triggers.
	for _, t := range st.Cat.Replicated() {
		if before.ByName[turn.node.Name(t)] == nil {
			if err := turn.node.Engine.Touch(ctx, turn.Conn, t, nil); err != nil {
				return nil, fmt.Errorf("touch table %s: %w", t.Name, err)
			}
		}
	}
	return turn.shipSchema(ctx, rec, st, schema.Told{Statements: hints}, x)
}

// readSchema reads the schema as the statements have left it. The scope tells what else than that is as it was, and nil that anything
// may be another.
func (turn *Turn) readSchema(ctx context.Context, from basis, rec schema.Record, statements []dialect.Statement) (*schema.State, dialect.Scope, error) {
	if from.state != nil {
		return from.state.Follow(ctx, turn.Conn, statements)
	}
	st, err := schema.ReadFor(ctx, turn.node, turn.Conn, rec, statements)
	return st, nil, err
}

// install brings triggers and key ranges in line with the schema.
func (turn *Turn) install(ctx context.Context, st *schema.State, scope dialect.Scope) error {
	var err error
	if e, ok := turn.node.Engine.(dialect.ScopeReader); ok && scope != nil {
		err = e.InstallScope(ctx, turn.Conn, scope, st.Cat.List, dialect.Keys)
	} else {
		err = turn.node.Engine.InstallCapture(ctx, turn.Conn, st.Cat.Replicated(), dialect.Keys)
	}
	if err != nil {
		return fmt.Errorf("install triggers: %w", err)
	}
	if scope != nil && !turn.s.SharesKeys() {
		return nil // there were no triggers for keys, and there are none now
	}
	return turn.InstallKeys(ctx, st.Cat.Replicated())
}

// shipBeside appends the entry where it cannot be part of the transaction of the statements.
func (turn *Turn) shipBeside(ctx context.Context, rec schema.Record, before *store.Catalogue, st *schema.State, hints []dialect.Statement, mixed bool) (done *Made, err error) {
	err = turn.node.TxOn(ctx, turn.Conn, dialect.Pass, func() error {
		noted, err := turn.node.Engine.Noted(ctx, turn.Conn, st.Cat.Replicated())
		if err != nil {
			return fmt.Errorf("pass: look for notes: %w", err)
		}
		t := schema.Told{}
		if !mixed {
			t = schema.Tell(rec, before, st, hints, noted)
		}
		t.Counters = len(hints) == 0
		done, err = turn.shipSchema(ctx, rec, st, t, &extra{})
		return err
	})
	return done, err
}

// renewVersion reads the version again, since the triggers that were made may count in it, unless the schema has changed
// meanwhile: then the next pass looks at it.
func (turn *Turn) renewVersion(ctx context.Context, st *schema.State) error {
	version, err := turn.node.Engine.Version(ctx, turn.Conn)
	if err != nil {
		return fmt.Errorf("schema version: %w", err)
	}
	if version == st.Cat.Version {
		return nil
	}
	if !turn.node.Engine.Transactional() {
		again, err := schema.ReadFor(ctx, turn.node, turn.Conn, st.Record(0), nil) // which reads the version first
		if err != nil {
			return err
		}
		if !st.Same(again) {
			return nil
		}
		version = again.Cat.Version
	}
	st.Cat.Version = version
	return nil
}

// shipSchema appends the entry and the new record, in the transaction that the connection is in. It fills x in.
func (turn *Turn) shipSchema(ctx context.Context, rec schema.Record, st *schema.State, t schema.Told, x *extra) (*Made, error) {
	d := schema.Compare(rec, st, t)
	if all, err := st.Defined(ctx, turn.Conn, d.Rebuild); err != nil {
		return nil, err
	} else if all != st {
		st, d = all, schema.Compare(rec, all, t)
	}
	x.schema, x.rebuild, x.replaces, x.counters = d.Statements, d.Rebuild, d.Replaces, t.Counters
	res, err := turn.collect(ctx, x)
	if err != nil {
		return nil, err
	}
	res.schema = st
	lsn := rec.LSN
	if len(d.Statements) > 0 {
		lsn = res.pos.LSN
	}
	return res, turn.node.SetValue(ctx, turn.Conn, store.MetaSchema, st.Record(lsn))
}

// repeatable reports whether followers may run the statements themselves, where nothing else can have come between.
func (turn *Turn) repeatable(before, after *store.Catalogue, statements []dialect.Statement) bool {
	for _, st := range statements {
		if !schema.Portable(turn.node.Dialect.Language(), st.SQL) {
			return false
		}
	}
	for _, t := range after.Replicated() {
		was := before.ByName[turn.node.Name(t)]
		if was != nil && (was.Refusal != "" || !slices.Equal(schema.KeyNames(was), schema.KeyNames(t))) {
			return false // rows are named by other keys now, or were never shipped
		}
	}
	return len(statements) > 0
}
