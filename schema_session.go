package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/write"
)

// A schema statement depends on the session that it is run in: on its database, sql_mode, time zone, character set and
// variables, and on the temporary tables that stand in front of others of their names. Where a database has many writers
// it runs in the program's own session, therefore: on the connection of a Conn or of a transaction, or on any of those
// that writes go through. Beside it, on a connection of its own, the sequencer ships what has become of the schema.

// RunSchema runs a schema statement on the master and ships it. While another transaction keeps it waiting, passes go on
// between one try and the next.
func (m *master) RunSchema(ctx context.Context, on *sql.Conn, query string, args []any) error {
	if err := m.PlainSchema(ctx, query, args); err != nil {
		return err
	}
	for start := time.Now(); ; {
		err := m.trySchema(ctx, on, query)
		if !errors.Is(err, sequence.ErrTableBusy) || time.Since(start) > sequence.SchemaPatience || watch.Sleep(ctx, sequence.MostRest) != nil {
			return err
		}
	}
}

func (m *master) trySchema(ctx context.Context, on *sql.Conn, query string) error {
	return m.seq.Do(ctx, func(turn *sequence.Turn) error {
		if err := turn.LookAgain(ctx); err != nil {
			return err
		}
		if m.writer != nil {
			if err := schema.RefuseSettings(ctx, m.node, on, turn.Conn, query); err != nil {
				return err
			}
			m.writer.ForgetStatements()
			return turn.ChangeSchema(ctx, turn.Conn, false, dialect.Statement{SQL: query})
		}
		if on == nil {
			own, err := m.writeConn(ctx)
			if err != nil {
				return err
			}
			defer own.Close()
			on = own.Conn
		}
		tuner, tunes := m.node.Engine.(dialect.SessionTuner)
		if tunes {
			if holds, err := tuner.HoldsTables(ctx, on); err != nil {
				return err
			} else if holds {
				return fmt.Errorf("%w: the session holds LOCK TABLES, which keeps triggers off them; run UNLOCK TABLES first", ErrNotReplicable)
			}
		}
		if err := m.InReplicated(ctx, on, query); err != nil {
			return err
		}
		return m.surround(ctx, on, query, func(s dialect.Statement) error {
			hidden, err := schema.Hides(ctx, m.node, on, query)
			if err != nil {
				return err
			}
			return turn.ChangeSchema(ctx, on, hidden, s)
		})
	})
}

// PlainSchema refuses what cannot be run and shipped whatever it does.
func (m *master) PlainSchema(ctx context.Context, query string, args []any) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: a schema statement takes no arguments", ErrNotReplicable)
	}
	if sqlclass.Temporary(m.node.Dialect.Language(), query) {
		return fmt.Errorf("%w: a temporary object belongs to one connection; create it on one got from Cluster.Conn", ErrNotReplicable)
	}
	if err := sequence.RefuseKind(m.node, query); err != nil {
		return err
	}
	return sequence.RefuseKeyless(ctx, m.node, query)
}

// surround runs f with the statement as it is to run in ctx; see WithSurroundings.
func (m *master) surround(ctx context.Context, on *sql.Conn, query string, f func(dialect.Statement) error) (failed error) {
	s, ok := schema.SurroundingsOf(ctx)
	s.SQL = query
	tuner, tunes := m.node.Engine.(dialect.SessionTuner)
	if !ok || !tunes {
		return f(s)
	}
	restore, err := tuner.Unchecked(ctx, on)
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, restore()) }()
	return f(s)
}

// InReplicated refuses a statement about what is in no replicated database because the session has gone to another.
// What the statement names itself is node.run's to judge.
func (m *master) InReplicated(ctx context.Context, on *sql.Conn, query string) error {
	info, err := sqlclass.ParseSchema(m.node.Dialect.Language(), query)
	inside := []string{"TABLE", "INDEX", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION"}
	if err != nil || info.Database != "" || info.On.Database != "" || !slices.Contains(inside, info.Object) {
		return nil
	}
	var database string
	if s, ok := schema.SurroundingsOf(ctx); ok {
		database = s.Database
	}
	if database == "" {
		if database, err = m.node.Engine.Database(ctx, on); err != nil {
			return err
		}
	}
	if database == "" || m.node.Replicates(database) {
		return nil
	}
	return fmt.Errorf("%w: the session is in database %s, which is not among those that are replicated; run %s without ddb, or name the database in Options.Databases",
		ErrNotReplicable, database, sqlclass.Brief(query))
}

// writeConn takes a connection for a user's write on a master with many writers.
func (m *master) writeConn(ctx context.Context) (write.Conn, error) {
	number := int64(0)
	if m.seq.SharesKeys() {
		number = keys.FirstSnap - 1
	}
	return m.own.Conn(ctx, m.node, number)
}
