package ddb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
)

// A schema statement depends on the session that it is run in: on its database, sql_mode, time zone, character set and
// variables, and on the temporary tables that stand in front of others of their names. Where a database has many writers
// it runs in the program's own session, therefore: on the connection of a Conn or of a transaction, or on any of those
// that writes go through. Beside it, on a connection of its own, the sequencer ships what has become of the schema.

// temporaries is what an engine tells of the temporary tables of a session.
type temporaries interface {
	// HasTemporary reports whether the session has any; it may have had some.
	HasTemporary(ctx context.Context, q dialect.Querier) (bool, error)
	// IsTemporary reports whether the name stands for one.
	IsTemporary(ctx context.Context, q dialect.Querier, database, name string) (bool, error)
}

// sessions is what an engine with one writer tells of a connection that is not the writer's.
type sessions interface {
	// InTransaction reports whether a transaction is open on the connection.
	InTransaction(ctx context.Context, q dialect.Querier) (bool, error)
	// DifferentSetting names a setting which has other values on the two connections and may change what a schema
	// statement does; "" if there is none.
	DifferentSetting(ctx context.Context, a, b dialect.Querier, statement string) (string, error)
}

// refuseOpen refuses, before the writer is touched, a schema statement on a program's connection on which a transaction is open:
// the writer, on which it would run, would be outside of that, and wait for it to end.
func refuseOpen(ctx context.Context, n *store.Store, on *sql.Conn, query string) error {
	engine, ok := n.Engine.(sessions)
	if !ok {
		return nil
	}
	open, err := engine.InTransaction(ctx, on)
	if err != nil || !open {
		return err
	}
	return fmt.Errorf("%w: a transaction begun by a text takes no schema statements: end it first, or begin it with Cluster.Begin; nothing has been run: %s",
		ErrNotReplicable, sqlclass.Brief(query))
}

// refuseSettings refuses a schema statement on a program's connection whose settings the writer, on which it would run, does not have.
func refuseSettings(ctx context.Context, n *store.Store, on, writer *sql.Conn, query string) error {
	engine, ok := n.Engine.(sessions)
	if !ok || on == nil {
		return nil
	}
	setting, err := engine.DifferentSetting(ctx, on, writer, query)
	if err != nil || setting == "" {
		return err
	}
	return fmt.Errorf("%w: the connection has set %s, which a schema statement would not heed: set it back first, or run the statement on the Cluster; nothing has been run: %s",
		ErrNotReplicable, setting, sqlclass.Brief(query))
}

// changeSchema runs a schema statement on the master: on the program's connection on, or if that is nil on any. Like a
// write it is seen by this Cluster's reads from then on, and waits for as many replicas as were asked for.
func (c *Cluster) changeSchema(ctx context.Context, on *sql.Conn, query string, args []any) error {
	err := c.m.runSchema(ctx, on, query, args)
	pos := c.m.seq.state.Load().pos
	c.session.sees(uint64(pos.LSN)) // part of it may stand even after an error
	if err != nil || c.opts.WaitReplicas == 0 {
		return err
	}
	return c.m.confirmed(ctx, pos.LSN, c.opts.WaitReplicas)
}

// runSchema runs a schema statement on the master and ships it. While another transaction keeps it waiting, passes go on
// between one try and the next.
func (m *master) runSchema(ctx context.Context, on *sql.Conn, query string, args []any) error {
	if err := m.plainSchema(ctx, query, args); err != nil {
		return err
	}
	for start := time.Now(); ; {
		err := m.trySchema(ctx, on, query)
		if !errors.Is(err, errTableBusy) || time.Since(start) > schemaPatience || watch.Sleep(ctx, mostRest) != nil {
			return err
		}
	}
}

func (m *master) trySchema(ctx context.Context, on *sql.Conn, query string) error {
	return m.seq.exclusive(ctx, func(c *sql.Conn) error {
		if err := m.seq.lookAgainOn(ctx, c); err != nil {
			return err
		}
		if m.writer != nil {
			if err := refuseSettings(ctx, m.seq.node, on, c, query); err != nil {
				return err
			}
			m.writer.ForgetStatements()
			return m.seq.changeSchema(ctx, c, c, false, dialect.Statement{SQL: query})
		}
		if on == nil {
			own, err := m.writeConn(ctx)
			if err != nil {
				return err
			}
			defer own.Close()
			on = own.Conn
		}
		if _, err := on.ExecContext(ctx, "DO (SELECT 1 FROM "+m.seq.node.Engine.Own("meta")+" LIMIT 1)"); mysql.NotLocked(err) {
			return fmt.Errorf("%w: the session holds LOCK TABLES, which keeps triggers off them; run UNLOCK TABLES first", ErrNotReplicable)
		}
		if err := m.inReplicated(ctx, on, query); err != nil {
			return err
		}
		return m.surround(ctx, on, query, func(s dialect.Statement) error {
			hidden, err := hides(ctx, m.seq.node, on, query)
			if err != nil {
				return err
			}
			return m.seq.changeSchema(ctx, c, on, hidden, s)
		})
	})
}

// plainSchema refuses what cannot be run and shipped whatever it does.
func (m *master) plainSchema(ctx context.Context, query string, args []any) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: a schema statement takes no arguments", ErrNotReplicable)
	}
	if temporary(store.ClassOf(m.seq.node.Dialect.Name()), query) {
		return fmt.Errorf("%w: a temporary object belongs to one connection; create it on one got from Cluster.Conn", ErrNotReplicable)
	}
	if err := refuseKind(m.seq.node, query); err != nil {
		return err
	}
	return m.refuseKeyless(ctx, query)
}

// surround runs f with the statement as it is to run in ctx; see WithSurroundings.
func (m *master) surround(ctx context.Context, on *sql.Conn, query string, f func(dialect.Statement) error) (err error) {
	s, ok := ctx.Value(surroundingsKey{}).(dialect.Statement)
	s.SQL = query
	if !ok {
		return f(s)
	}
	var was int
	if err := on.QueryRowContext(ctx, "SELECT @@foreign_key_checks").Scan(&was); err != nil {
		return err
	}
	if _, err := on.ExecContext(ctx, "SET foreign_key_checks=0"); err != nil {
		return err
	}
	defer func() {
		_, back := on.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("SET foreign_key_checks=%d", was))
		err = errors.Join(err, back)
	}()
	return f(s)
}

// inReplicated refuses a statement about what is in no replicated database because the session has gone to another.
// What the statement names itself is node.run's to judge.
func (m *master) inReplicated(ctx context.Context, on *sql.Conn, query string) error {
	info, err := sqlclass.ParseSchema(store.ClassOf(m.seq.node.Dialect.Name()), query)
	inside := []string{"TABLE", "INDEX", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION"}
	if err != nil || info.Database != "" || info.On.Database != "" || !slices.Contains(inside, info.Object) {
		return nil
	}
	var database sql.NullString
	if s, ok := ctx.Value(surroundingsKey{}).(dialect.Statement); ok {
		database = sql.NullString{String: s.Database, Valid: s.Database != ""}
	}
	if !database.Valid {
		if err := on.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&database); err != nil {
			return err
		}
	}
	if !database.Valid || m.seq.node.Replicates(database.String) {
		return nil
	}
	return fmt.Errorf("%w: the session is in database %s, which is not among those that are replicated; run %s without ddb, or name the database in Options.Databases",
		ErrNotReplicable, database.String, sqlclass.Brief(query))
}

// hides reports whether the statement may be about a temporary table of the session: followers have none, so that the
// statement means another table there, or nothing.
func hides(ctx context.Context, n *store.Store, on *sql.Conn, query string) (bool, error) {
	engine, ok := n.Engine.(temporaries)
	info, err := sqlclass.ParseSchema(store.ClassOf(n.Dialect.Name()), query)
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
				ErrNotReplicable, info.Name)
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

// schema runs a schema statement on a transaction's connection as the server would: what it can read it commits the
// transaction for, before and after; what it cannot read leaves the transaction open.
func (t *poolTx) schema(ctx context.Context, query string, args []any) (sql.Result, error) {
	m := t.p.m
	if temporary(t.p.c.class, query) {
		return t.inPlace(ctx, query, args)
	}
	if err := m.plainSchema(ctx, query, args); err != nil {
		return nil, err
	}
	if err := m.inReplicated(ctx, t.conn, query); err != nil {
		return nil, err
	}
	if info, err := sqlclass.ParseSchema(t.p.c.class, query); err == nil {
		if err := m.seq.node.RefuseDatabase(info); err != nil {
			return nil, err
		}
	}
	stmt, err := t.conn.PrepareContext(ctx, query)
	if err != nil && !mysql.Unpreparable(err) {
		return t.inPlace(ctx, query, nil)
	}
	if err == nil {
		stmt.Close()
	}
	if err := t.tx.Commit(); err != nil {
		t.p.c.noted() // it may stand all the same
		return nil, err
	}
	if err = t.p.c.wrote(context.WithoutCancel(t.ctx)); err == nil {
		err = t.p.c.changeSchema(ctx, t.conn, query, nil)
		if errors.Is(err, ErrNotReplicable) {
			err = fmt.Errorf("%w; what the transaction had done before it stands, as the server commits at a schema statement", err)
		}
	}
	return noResult{}, errors.Join(err, t.again())
}

// inPlace runs a statement of which only the server can tell whether it commits the transaction: a savepoint is gone then.
func (t *poolTx) inPlace(ctx context.Context, query string, args []any) (sql.Result, error) {
	const savepoint = "SAVEPOINT ddb_schema"
	if _, err := t.tx.ExecContext(ctx, savepoint); err != nil {
		return nil, err
	}
	t.left = true
	res, err := t.tx.ExecContext(ctx, query, args...)
	if _, gone := t.tx.ExecContext(context.WithoutCancel(ctx), "RELEASE "+savepoint); gone == nil {
		return res, err
	}
	if e := t.tx.Commit(); e != nil {
		t.p.c.noted()
		return res, errors.Join(err, e)
	}
	err = errors.Join(err, t.p.c.wrote(context.WithoutCancel(t.ctx)))
	if err == nil {
		err = t.p.m.seq.lookAgain(ctx) // it may have changed what it seemed not to be able to
	}
	return res, errors.Join(err, t.again())
}

// again begins the transaction that follows one that a schema statement has committed.
func (t *poolTx) again() error {
	tx, err := t.conn.BeginTx(t.ctx, t.opts)
	if err == nil {
		t.tx = tx
	}
	return err
}
