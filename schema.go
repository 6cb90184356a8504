package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// Schema statements are settled by comparison, never by trust in what was
// intended: the master records, in the transaction of the journal entry, the schema that its
// followers have been told of. What the database shows beyond that is shipped (schema_diff.go):
// as the statement that made it where ddb ran it and it certainly does the same everywhere, else as the whole
// table, definition and rows in one entry. So a crash between a statement and its entry, an ALTER by
// another client and a table that existed before ddb all end the same way.

// reconcile ships what the database's schema shows beyond the record. The caller is inside exclusive.
func (s *sequencer) reconcile(ctx context.Context, c *sql.Conn) error {
	s.node.Log.Info("the schema has changed outside ddb; followers are brought level", "lsn", s.state.Load().pos.LSN)
	return s.changeSchema(ctx, c, c, false)
}

// changeSchema runs schema statements on the connection on, if there are any, and ships what has changed as an entry of
// its own. mixed is settleSchema's. The caller is inside exclusive.
func (s *sequencer) changeSchema(ctx context.Context, c, on *sql.Conn, mixed bool, statements ...dialect.Statement) error {
	var done *passResult
	covered := s.written.Load()
	var err error
	if s.node.Engine.Transactional() {
		err = s.node.TxOn(ctx, c, dialect.Write, func() error {
			level, err := s.isLevel(ctx, c)
			if err != nil {
				return err
			}
			if err := s.runAll(ctx, on, statements); err != nil {
				return err
			}
			done, err = s.settleSchema(ctx, c, statements, mixed || !level)
			return err
		})
	} else if err = s.runAll(ctx, on, statements); err == nil {
		done, err = s.settleSchema(ctx, c, statements, mixed)
	}
	if err != nil {
		if _, e := s.node.LoadTables(context.WithoutCancel(ctx), s.node.DB); e != nil {
			err = errors.Join(err, e)
		}
		s.unsettle()
		return err
	}
	s.publish(done, covered)
	return nil
}

// errTableBusy: a schema statement was not run, because transactions that use its table have not ended.
var errTableBusy = errors.New("other transactions use the table")

// schemaPatience is how long a schema statement waits for other transactions, in tries of a second each.
const schemaPatience = 30 * time.Second

// runAll runs schema statements. One that would wait long for a lock gives up, since no pass is made meanwhile.
func (s *sequencer) runAll(ctx context.Context, on *sql.Conn, statements []dialect.Statement) (err error) {
	if len(statements) == 1 && s.node.Dialect.Name() == sqlclass.MySQL.String() {
		if _, err := on.ExecContext(ctx, "SET @ddb_wait=@@lock_wait_timeout, lock_wait_timeout=1"); err != nil {
			return err
		}
		defer func() {
			_, back := on.ExecContext(context.WithoutCancel(ctx), "SET lock_wait_timeout=@ddb_wait")
			err = errors.Join(err, back)
		}()
	}
	for i := range statements {
		if err := s.node.Run(ctx, on, &statements[i]); !s.node.SingleWriter() && s.node.Fault(err).Is(dialect.Busy) {
			return fmt.Errorf("%w: %w", errTableBusy, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// isLevel reports whether neither rows nor the schema have changed since the last pass, as seen in the transaction that c is in.
func (s *sequencer) isLevel(ctx context.Context, c *sql.Conn) (bool, error) {
	cat := s.node.Tables.Load()
	version, err := s.node.Engine.Version(ctx, c)
	if err != nil || version != cat.Version {
		return false, err
	}
	noted, err := s.node.Engine.Noted(ctx, c, cat.Replicated())
	return len(noted) == 0, err
}

// unsettle makes the next pass compare the schema with the record, whatever has been read of it
// meanwhile: a change that is in the database, but neither captured nor shipped, must not pass for known.
func (s *sequencer) unsettle() {
	s.looked = time.Time{}
	unknown := *s.node.Tables.Load()
	unknown.Version = ""
	s.node.Tables.Store(&unknown)
}

// settleSchema installs the capture for what the schema has become, and appends the
// entry that tells followers. mixed says that followers may not run the statements themselves, so that changed
// tables are shipped whole: the transaction changed rows as well, whose notes a changed table may have lost, or
// the statements name tables that only the program's session has.
func (s *sequencer) settleSchema(ctx context.Context, c *sql.Conn, statements []dialect.Statement, mixed bool) (done *passResult, err error) {
	before := s.node.Tables.Load()
	st, err := schema.Read(ctx, s.node, c)
	if err != nil {
		return nil, err
	}
	if err := s.refuse(ctx, c, before, st, statements); err != nil {
		return nil, err
	}
	if err := s.node.Engine.InstallCapture(ctx, c, st.Cat.Replicated(), dialect.Keys); err != nil {
		return nil, fmt.Errorf("ddb: capture: %w", err)
	}
	if err := s.installKeys(ctx, c, st.Cat.Replicated()); err != nil {
		return nil, err
	}
	if err := s.renewVersion(ctx, c, st); err != nil {
		return nil, err
	}
	s.node.Tables.Store(st.Cat)
	rec, _, err := store.Value[schema.Record](ctx, s.node, c, store.MetaSchema)
	if err != nil {
		return nil, err
	}
	hints := slices.Clone(statements)
	for i := range hints {
		hints[i].Database = s.node.Logical(hints[i].Database)
	}
	if !s.node.Engine.Transactional() {
		err = s.node.TxOn(ctx, c, dialect.Pass, func() error {
			noted, err := s.node.Engine.Noted(ctx, c, st.Cat.Replicated())
			if err != nil {
				return fmt.Errorf("ddb: pass: look for notes: %w", err)
			}
			t := schema.Told{}
			if !mixed {
				t = schema.Tell(rec, before, st, hints, noted)
			}
			t.Counters = len(statements) == 0
			done, err = s.shipSchema(ctx, c, rec, st, t)
			return err
		})
		return done, err
	}
	if mixed || !s.repeatable(before, st.Cat, statements) || schema.ConcernsKept(before, st, rec, statements) {
		return s.shipSchema(ctx, c, rec, st, schema.Told{})
	}
	// Rows may have come between a table and its triggers.
	for _, t := range st.Cat.Replicated() {
		if before.ByName[s.node.Name(t)] == nil {
			if err := s.node.Engine.Touch(ctx, c, t, nil); err != nil {
				return nil, fmt.Errorf("ddb: touch table %s: %w", t.Name, err)
			}
		}
	}
	return s.shipSchema(ctx, c, rec, st, schema.Told{Statements: hints})
}

// renewVersion reads the version again, since the triggers that were made may count in it, unless the schema has changed
// meanwhile: then the next pass looks at it.
func (s *sequencer) renewVersion(ctx context.Context, c *sql.Conn, st *schema.State) error {
	version, err := s.node.Engine.Version(ctx, c)
	if err != nil {
		return fmt.Errorf("ddb: schema version: %w", err)
	}
	if version == st.Cat.Version {
		return nil
	}
	if !s.node.Engine.Transactional() {
		again, err := schema.Read(ctx, s.node, c) // which reads the version first
		if err != nil {
			return err
		}
		was, is := st.Record(0), again.Record(0)
		if !maps.Equal(was.Tables, is.Tables) || !maps.Equal(was.Objects, is.Objects) {
			return nil
		}
		version = again.Cat.Version
	}
	st.Cat.Version = version
	return nil
}

// shipSchema appends the entry and the new record, in the transaction that c is in.
func (s *sequencer) shipSchema(ctx context.Context, c *sql.Conn, rec schema.Record, st *schema.State, t schema.Told) (*passResult, error) {
	d := schema.Compare(rec, st, t)
	res, err := s.collect(ctx, c, &extra{schema: d.Statements, rebuild: d.Rebuild, replaces: d.Replaces, counters: t.Counters})
	if err != nil {
		return nil, err
	}
	lsn := rec.LSN
	if len(d.Statements) > 0 {
		lsn = res.pos.LSN
	}
	return res, s.node.SetValue(ctx, c, store.MetaSchema, st.Record(lsn))
}

// repeatable reports whether followers may run the statements themselves, where nothing else can have come between.
func (s *sequencer) repeatable(before, after *store.Catalogue, statements []dialect.Statement) bool {
	for _, st := range statements {
		if !schema.Portable(s.node.Dialect.Name(), st.SQL) {
			return false
		}
	}
	for _, t := range after.Replicated() {
		was := before.ByName[s.node.Name(t)]
		if was != nil && (was.Refusal != "" || !slices.Equal(schema.KeyNames(was), schema.KeyNames(t))) {
			return false // rows are named by other keys now, or were never shipped
		}
	}
	return len(statements) > 0
}
