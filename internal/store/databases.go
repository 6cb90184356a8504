package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// A server has several databases, of which a node replicates those it was told to and those
// that CREATE DATABASE has made through ddb since. The latter stand in the meta table. A name is
// added before its database is made and removed after it is gone: a name without a
// database does no harm, a database without its name would silently not be replicated.

// loadDatabases tells the engine of the databases that were added.
func (n *Store) loadDatabases(ctx context.Context) error {
	adder, ok := n.Engine.(dialect.DatabaseAdder)
	if !ok {
		return nil
	}
	more, _, err := Value[[]string](ctx, n, n.DB, metaDatabase)
	if err != nil {
		return err
	}
	if err := adder.Replicate(ctx, more); err != nil {
		return n.lockError(err)
	}
	n.More.Store(&more)
	return nil
}

// setDatabases changes the list of the databases that were added.
func (n *Store) setDatabases(ctx context.Context, q dialect.Querier, more []string) error {
	adder := n.Engine.(dialect.DatabaseAdder)
	if err := adder.Replicate(ctx, more); err != nil {
		return n.lockError(err)
	}
	if err := n.SetValue(ctx, q, metaDatabase, more); err != nil {
		return errors.Join(err, adder.Replicate(context.WithoutCancel(ctx), n.MoreDatabases()))
	}
	n.More.Store(&more)
	return nil
}

// MoreDatabases lists the databases that CREATE DATABASE has added.
func (n *Store) MoreDatabases() []string {
	if more := n.More.Load(); more != nil {
		return *more
	}
	return nil
}

// AddDatabase adds a name, if it is not there yet, and returns how to take it back.
func (n *Store) AddDatabase(ctx context.Context, q dialect.Querier, name string) (undo func() error, err error) {
	was := n.MoreDatabases()
	if n.Replicates(name) {
		return func() error { return nil }, nil
	}
	undo = func() error { return n.setDatabases(context.WithoutCancel(ctx), q, was) }
	return undo, n.setDatabases(ctx, q, append(slices.Clone(was), name))
}

// Replicates reports whether the database, by its own name here, is one of those that are replicated.
func (n *Store) Replicates(database string) bool {
	return database == n.Primary || slices.Contains(n.Config.Databases, database) || slices.Contains(n.MoreDatabases(), database)
}

// Run executes a schema statement, and follows what it does to databases.
func (n *Store) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	if _, ok := n.Engine.(dialect.DatabaseAdder); !ok {
		return n.Engine.Run(ctx, c, s)
	}
	info, err := sqlclass.ParseSchema(n.Dialect.Language(), s.SQL)
	if err != nil {
		return n.Engine.Run(ctx, c, s) // the database words it better
	}
	if err := n.RefuseDatabase(info); err != nil {
		return err
	}
	if info.Object != "DATABASE" {
		return n.Engine.Run(ctx, c, s)
	}
	switch info.Verb {
	case "CREATE":
		undo, err := n.AddDatabase(ctx, c, info.Name)
		if err != nil {
			return err
		}
		if err := n.Engine.Run(ctx, c, s); err != nil {
			if e := undo(); e != nil {
				return fmt.Errorf("%w (%w)", err, e)
			}
			return err
		}
		return nil
	case "DROP":
		if err := n.Engine.Run(ctx, c, s); err != nil {
			return err
		}
		return n.setDatabases(ctx, c, slices.DeleteFunc(slices.Clone(n.MoreDatabases()), func(m string) bool { return strings.EqualFold(m, info.Name) }))
	}
	return n.Engine.Run(ctx, c, s)
}

// RefuseDatabase refuses a schema statement for the database that it names, or is about.
func (n *Store) RefuseDatabase(info sqlclass.SchemaInfo) error {
	switch {
	case info.Object != "DATABASE" && info.Database != "" && !n.Replicates(info.Database):
		return fmt.Errorf("%w: database %s is not among those that are replicated; make it with CREATE DATABASE through ddb, or name it in Options.Databases", fault.ErrNotReplicable, info.Database)
	case info.Object != "DATABASE":
		return nil
	case info.Name == "":
		return fmt.Errorf("%w: ALTER DATABASE without a name means the current one: name the database", fault.ErrNotReplicable)
	case info.Name == n.Primary || info.Name == n.Engine.OwnDatabase(n.Primary):
		return fmt.Errorf("%w: database %s is the one that the node lives in, under a name that may differ from node to node", fault.ErrNotReplicable, info.Name)
	case info.Verb == "DROP" && !n.Replicates(info.Name):
		return fmt.Errorf("%w: database %s is not replicated; drop it on each server", fault.ErrNotReplicable, info.Name)
	}
	return nil
}
