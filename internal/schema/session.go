package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// RefuseOpen refuses with ErrNotReplicable, before the writer is touched, a schema statement on a program's connection on which a transaction is open:
// the writer, on which it would run, would be outside of that, and wait for it to end.
func RefuseOpen(ctx context.Context, n *store.Store, on *sql.Conn, query string) error {
	teller, ok := n.Dialect.(dialect.TransactionTeller)
	if !ok || !n.SingleWriter() {
		return nil
	}
	open, err := teller.InTransaction(ctx, on)
	if err != nil || !open {
		return err
	}
	return fmt.Errorf("%w: a transaction begun by a text takes no schema statements: end it first, or begin it with Cluster.Begin; nothing has been run: %s",
		fault.ErrNotReplicable, sqlclass.Brief(query))
}

// RefuseSettings refuses with ErrNotReplicable a schema statement on a program's connection whose settings the writer, on which it would run, does not have.
func RefuseSettings(ctx context.Context, n *store.Store, on, writer *sql.Conn, query string) error {
	engine, ok := n.Engine.(dialect.SettingComparer)
	if !ok || on == nil {
		return nil
	}
	setting, err := engine.DifferentSetting(ctx, on, writer, query)
	if err != nil || setting == "" {
		return err
	}
	return fmt.Errorf("%w: the connection has set %s, which a schema statement would not heed: set it back first, or run the statement on the Cluster; nothing has been run: %s",
		fault.ErrNotReplicable, setting, sqlclass.Brief(query))
}

// Hides reports whether the statement may be about a temporary table of the session: followers have none, so that the
// statement means another table there, or nothing.
func Hides(ctx context.Context, n *store.Store, on *sql.Conn, query string) (bool, error) {
	engine, ok := n.Engine.(dialect.Temporaries)
	info, err := sqlclass.ParseSchema(n.Dialect.Language(), query)
	if !ok || err != nil {
		return false, nil
	}
	has, err := engine.HasTemporary(ctx, on)
	if err != nil || !has {
		return false, err
	}
	names := append(slices.Clone(info.More), info.On)
	switch {
	case info.Verb != "CREATE":
		names = append(names, sqlclass.Name{Database: info.Database, Name: info.Name})
	case info.Object == "TABLE" && n.SingleWriter():
		if info.AsSelect {
			return false, fmt.Errorf("%w: the connection has temporary tables, which the query might mean; create table %s first and fill it by INSERT",
				fault.ErrNotReplicable, info.Name)
		}
		return false, nil
	case info.Object == "TABLE":
		return true, nil // its LIKE or SELECT may name one
	}
	for _, name := range names {
		if name.Name == "" {
			continue
		}
		if is, err := engine.IsTemporary(ctx, on, name.Database, name.Name); err != nil || is {
			return is, err
		}
	}
	return false, nil
}

type surroundingsKey struct{}

// WithSurroundings returns a context whose schema statements run in the surroundings that s gives; its SQL is not looked at.
func WithSurroundings(ctx context.Context, s dialect.Statement) context.Context {
	return context.WithValue(ctx, surroundingsKey{}, s)
}

// SurroundingsOf returns what WithSurroundings has given; ok is false if that is nothing.
func SurroundingsOf(ctx context.Context) (s dialect.Statement, ok bool) {
	s, ok = ctx.Value(surroundingsKey{}).(dialect.Statement)
	return s, ok
}
