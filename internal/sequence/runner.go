package sequence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/write"
)

// A schema statement depends on the session that it is run in: on its database, sql_mode, time zone, character set and
// variables, and on the temporary tables that stand in front of others of their names. Where a database has many writers
// it runs in the program's own session, therefore: on the connection of a Conn or of a transaction, or on any of those
// that writes go through. Beside it, on a connection of its own, the sequencer ships what has become of the schema.

// Runner runs schema statements for programs, and ships what has become of the schema.
type Runner struct {
	seq    *Sequencer
	writer *write.Group // nil where the database has many writers
	conn   func(ctx context.Context) (write.Conn, error)
}

// NewRunner returns a Runner. With many writers writer is nil, and conn takes one of the connections that writes go through.
func NewRunner(s *Sequencer, writer *write.Group, conn func(ctx context.Context) (write.Conn, error)) *Runner {
	return &Runner{s, writer, conn}
}

// RunSchema runs a schema statement on the master and ships it. While another transaction keeps it waiting, passes go on
// between one try and the next.
func (r *Runner) RunSchema(ctx context.Context, on *sql.Conn, query string, args []any) error {
	if err := r.PlainSchema(ctx, query, args); err != nil {
		return err
	}
	for start := time.Now(); ; {
		err := r.trySchema(ctx, on, query)
		if !errors.Is(err, errTableBusy) || time.Since(start) > schemaPatience || watch.Sleep(ctx, mostRest) != nil {
			return err
		}
	}
}

func (r *Runner) trySchema(ctx context.Context, on *sql.Conn, query string) error {
	return r.seq.Do(ctx, func(turn *Turn) error {
		if err := turn.LookAgain(ctx); err != nil {
			return err
		}
		if r.writer != nil {
			if err := schema.RefuseSettings(ctx, r.seq.node, on, turn.Conn, query); err != nil {
				return err
			}
			r.writer.ForgetStatements()
			return turn.changeSchema(ctx, turn.Conn, false, dialect.Statement{SQL: query})
		}
		if on == nil {
			own, err := r.conn(ctx)
			if err != nil {
				return err
			}
			defer own.Close()
			on = own.Conn
		}
		tuner, tunes := r.seq.node.Engine.(dialect.SessionTuner)
		if tunes {
			if holds, err := tuner.HoldsTables(ctx, on); err != nil {
				return err
			} else if holds {
				return fmt.Errorf("%w: the session holds LOCK TABLES, which keeps triggers off them; run UNLOCK TABLES first", fault.ErrNotReplicable)
			}
		}
		if err := r.InReplicated(ctx, on, query); err != nil {
			return err
		}
		return r.surround(ctx, on, query, func(s dialect.Statement) error {
			hidden, err := schema.Hides(ctx, r.seq.node, on, query)
			if err != nil {
				return err
			}
			return turn.changeSchema(ctx, on, hidden, s)
		})
	})
}

// PlainSchema refuses what cannot be run and shipped whatever it does.
func (r *Runner) PlainSchema(ctx context.Context, query string, args []any) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: a schema statement takes no arguments", fault.ErrNotReplicable)
	}
	if sqlclass.Temporary(r.seq.node.Dialect.Language(), query) {
		return fmt.Errorf("%w: a temporary object belongs to one connection; create it on one got from Cluster.Conn", fault.ErrNotReplicable)
	}
	if err := refuseKind(r.seq.node, query); err != nil {
		return err
	}
	return refuseKeyless(ctx, r.seq.node, query)
}

// surround runs f with the statement as it is to run in ctx; see WithSurroundings.
func (r *Runner) surround(ctx context.Context, on *sql.Conn, query string, f func(dialect.Statement) error) (failed error) {
	s, ok := schema.SurroundingsOf(ctx)
	s.SQL = query
	tuner, tunes := r.seq.node.Engine.(dialect.SessionTuner)
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

// InReplicated refuses a statement that names no database where the session has gone to one that is not replicated.
// A database that the statement itself names is judged by [store.Store.RefuseDatabase].
func (r *Runner) InReplicated(ctx context.Context, on *sql.Conn, query string) error {
	info, err := sqlclass.ParseSchema(r.seq.node.Dialect.Language(), query)
	inside := []string{"TABLE", "INDEX", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION"}
	if err != nil || info.Database != "" || info.On.Database != "" || !slices.Contains(inside, info.Object) {
		return nil
	}
	var database string
	if s, ok := schema.SurroundingsOf(ctx); ok {
		database = s.Database
	}
	if database == "" {
		if database, err = r.seq.node.Engine.Database(ctx, on); err != nil {
			return err
		}
	}
	if database == "" || r.seq.node.Replicates(database) {
		return nil
	}
	return fmt.Errorf("%w: the session is in database %s, which is not among those that are replicated; run %s without ddb, or name the database in Options.Databases",
		fault.ErrNotReplicable, database, sqlclass.Brief(query))
}
