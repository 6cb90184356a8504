package gate

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// What a statement leaves on its connection must meet nobody else. Invariants:
//
//	C1  No text that the Cluster's own verbs run changes a connection that others use: what is there to change it is refused
//	    (refuseState), and what may change it in passing, a CALL for example, has a connection of its own that ends with it.
//	C2  On a connection that one caller holds, a Conn or a transaction, it is allowed, and ends with that: the connection of
//	    the database is dropped instead of given back (routedConn.giveUp, leaves).
//	C3  database/sql does not tell a driver whether Cluster.DB runs a statement on a Conn or on any connection. The first
//	    one since the connection was taken from its pool may be either, so a setting is refused there as in C1: on a pool it
//	    would have no effect. Later ones, and those on a connection got from Cluster.Conn, are on a Conn for certain
//	    (routedConn.held). A replica that forwards those sends another one before them.

// pooledKey marks the context of a statement that may run on any connection.
type pooledKey struct{}

// refuseState refuses a text on a pool that sets the state of a connection.
func (g *Gate) refuseState(stmt *route.Statement) error {
	if stmt.State&sqlclass.Sets == 0 {
		return nil
	}
	return fmt.Errorf("%w: on a pool it changes one connection, which others use: run it on a connection got from Cluster.Conn, "+
		"on one of Cluster.DB behind any other statement, or set it in the data source name: %s", fault.ErrNotReplicable, stmt)
}

// leftOpen is the error for a text that has left a transaction open on a connection which is about to be dropped.
func (g *Gate) leftOpen(ctx context.Context, conn *sql.Conn, stmt *route.Statement) error {
	teller, ok := g.dialect.(dialect.TransactionTeller)
	if !ok || g.texts.Class != sqlclass.MySQL || stmt.State&(sqlclass.Hides|sqlclass.Spans) == 0 {
		return nil
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	open, err := teller.InTransaction(limit, conn)
	if err != nil {
		return fmt.Errorf("whether %s has left a transaction open: %w", stmt, err)
	}
	if !open {
		return nil
	}
	return fmt.Errorf("%w: it has left a transaction open, which was rolled back: end it in the same text or procedure, "+
		"or run it on a connection got from Cluster.Conn: %s", fault.ErrNotReplicable, stmt)
}

// refuseDoubt refuses a text of which nobody knows what it is before the server reads it. ask runs a query where the text is to run.
func (g *Gate) refuseDoubt(ctx context.Context, stmt *route.Statement, ask func(ctx context.Context, text string, args ...any) (*sql.Rows, error)) error {
	state := stmt.State
	if state&sqlclass.Versioned != 0 {
		return fmt.Errorf("%w: servers of different versions run different statements of it: write it without executable comments: %s",
			fault.ErrNotReplicable, stmt)
	}
	if state&sqlclass.Modal == 0 {
		return nil
	}
	if reader, ok := g.dialect.(dialect.SessionReader); ok {
		if otherwise, err := reader.ReadsOtherwise(ctx, ask, stmt.SQL); err != nil || !otherwise {
			return err
		}
	}
	return fmt.Errorf("%w: under the session's sql_mode and character set it may be other statements than it seems: give values as arguments, or write them without backslashes and no-break spaces: %s",
		fault.ErrNotReplicable, stmt)
}

// held reports whether the connection is certainly held by one caller: see C3.
func (rc *routedConn) held() bool { return rc.own || rc.uses > 1 || rc.tx != nil }

// pins reports whether a statement needs a connection of its own for this one and those that follow.
func (rc *routedConn) pins(stmt *route.Statement) bool {
	state := stmt.State
	if state&(sqlclass.Sets|sqlclass.Asks) != 0 {
		return true
	}
	return rc.held() && (state&(sqlclass.Hides|sqlclass.Spans) != 0 || stmt.Kind == sqlclass.TxControl)
}

// ask runs a query where the next statement will run.
func (rc *routedConn) ask(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	switch {
	case rc.tx != nil:
		return rc.tx.query(ctx, rc.gate.texts.Read(text), args)
	case rc.pinned != nil:
		return rc.pinned.QueryContext(ctx, text, args...)
	}
	return rc.gate.main.QueryContext(ctx, text, args...)
}

// giveUp ends what one caller has left on the connection, when that goes back to its pool or is closed (C2).
func (rc *routedConn) giveUp() {
	if rc.pinned != nil {
		store.Drop(rc.pinned) // locks, settings and an open transaction end here
		rc.pinned = nil
	}
	rc.uses, rc.own, rc.last, rc.bound = 0, false, lastWrite{}, bound{}
}
