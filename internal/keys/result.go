package keys

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// What SQLite tells of a row that a trigger has moved to a key of this node (keys.go) is the key before the move: in
// LastInsertId, in last_insert_rowid() and in RETURNING. Here that is put right, or refused where it cannot be told.

// movedResult is a Result whose LastInsertId is the key that the row was moved to.
type movedResult struct {
	sql.Result
	id int64
}

func (r movedResult) LastInsertId() (int64, error) { return r.id, nil }

// Moved corrects the result of a statement whose last row has been moved to another key.
func Moved(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string, r sql.Result) (sql.Result, error) {
	id, err := r.LastInsertId()
	if err != nil {
		return r, nil
	}
	now, is, err := MovedTo(ctx, n, q, number, query, id)
	if err != nil || !is {
		return r, err
	}
	return movedResult{r, now}, nil
}

// MovedTo returns the key that the last row of a statement was moved to, if it was. id is what SQLite tells.
func MovedTo(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string, id int64) (now int64, is bool, err error) {
	if lo, hi := Range(number); id >= lo && id < hi {
		return 0, false, nil
	}
	list, _, ok := sqlclass.Inserts(query)
	if !ok { // a text that ends within a comment: SQLite has read it
		return 0, false, nil
	}
	for i := len(list) - 1; i >= 0; i-- {
		if !list[i].Main() {
			continue
		}
		if now, is, err := Mover(n).MovedTo(ctx, q, list[i].Table, id); err != nil || is {
			return now, is, err
		}
	}
	return 0, false, nil
}

// AsksWithin reports whether one of several statements in a text may ask for the key that another was given.
func AsksWithin(query string) bool {
	return strings.Contains(query, ";") && sqlclass.AsksConnection(sqlclass.SQLite, query)
}

// Moves sees whether a text of several statements, some of which ask for the last key, moves rows: they were told wrong.
type Moves struct {
	on    bool
	moves int64
}

// WatchMoves looks how often rows were moved before a statement, so that Check can tell afterwards.
func WatchMoves(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string) (w Moves, err error) {
	if number == 0 || !AsksWithin(query) {
		return w, nil
	}
	if _, several, _ := sqlclass.Inserts(query); !several {
		return w, nil
	}
	w.on = true
	w.moves, err = Mover(n).Moves(ctx, q)
	return w, err
}

// Check is asked when the text has run. If it fails, what the text did must not stand.
func (w Moves) Check(ctx context.Context, n *store.Store, q dialect.Querier, query string) error {
	if !w.on {
		return nil
	}
	if now, err := Mover(n).Moves(ctx, q); err != nil || now == w.moves {
		return err
	}
	return fmt.Errorf("%w: ddb has given a new row a key of this node, and another statement of the same text asks for the key that SQLite told: "+
		"run the statements one by one in a transaction, or give new rows keys of your own: %s", fault.ErrNotReplicable, sqlclass.Brief(query))
}

// Exec runs a statement of a session, in which later ones may ask for the last key. It is called for nodes with a number.
func Exec(ctx context.Context, n *store.Store, c dialect.Querier, number int64, query string, args []any) (r sql.Result, err error) {
	watch, err := WatchMoves(ctx, n, c, number, query)
	if err != nil {
		return nil, err
	}
	run := func() error {
		if r, err = c.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		if err = watch.Check(ctx, n, c, query); err != nil {
			return Refused{Err: err}
		}
		was := r
		if r, err = Moved(ctx, n, c, number, query, r); err != nil {
			return Refused{Err: err}
		}
		m, is := r.(movedResult)
		if !is {
			return nil
		}
		changes, err := was.RowsAffected()
		if err == nil {
			err = Mover(n).Tell(ctx, c, m.id, changes)
		}
		if err != nil {
			return Refused{Err: err}
		}
		return nil
	}
	if watch.on {
		err = Within.Run(ctx, n, c, run)
	} else {
		err = run()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// AmongTx is why several statements with arguments are refused: a text that begins or ends a transaction can be in none of ddb's.
const AmongTx = "several statements, one of which begins or ends a transaction, take no arguments on a node with keys of its own: run them one by one"

// HidesInsert reports whether a statement inserts into a temporary table of its connection, whose rows nobody moves.
func HidesInsert(ctx context.Context, n *store.Store, c dialect.Querier, query string) (bool, error) {
	engine, ok := n.Engine.(dialect.Temporaries)
	if !ok {
		return false, nil
	}
	list, _, _ := sqlclass.Inserts(query)
	for _, in := range list {
		if is, err := engine.IsTemporary(ctx, c, in.Database, in.Table); err != nil || is {
			return is, err
		}
	}
	return false, nil
}

// Refused is the error of a statement that has run, but must not stand.
type Refused struct{ Err error }

// Error is that of the cause.
func (r Refused) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r Refused) Unwrap() error { return r.Err }

// scope is what can be undone as a whole: a savepoint, or a transaction.
type scope struct{ begin, undo, end string }

// Scopes of statements that may have to be undone: inside the transaction that the connection is in, or in one of their own.
var (
	Within    = scope{`SAVEPOINT "_ddb_keys"`, `ROLLBACK TO "_ddb_keys"`, `RELEASE "_ddb_keys"`}
	immediate = scope{undo: "ROLLBACK", end: "COMMIT"} // begun by dialect.KeyMover
)

// Run runs f and undoes what it did if it fails with a Refused. What a statement of the user's leaves behind when it fails stands.
func (s scope) Run(ctx context.Context, n *store.Store, c dialect.Querier, f func() error) error {
	if _, err := c.ExecContext(ctx, s.begin); err != nil {
		return err
	}
	return s.finish(ctx, n, c, f())
}

func (s scope) finish(ctx context.Context, n *store.Store, c dialect.Querier, err error) error {
	ctx = context.WithoutCancel(ctx)
	var refused Refused
	if errors.As(err, &refused) {
		if _, e := c.ExecContext(ctx, s.undo); e != nil {
			err = errors.Join(err, e)
		}
	}
	if _, e := c.ExecContext(ctx, s.end); e != nil && err == nil {
		n.Rollback(c)
		err = e
	}
	return err
}

// PinnedRun runs f on a connection of the program's own, so that nobody writes between what it reads and what it writes.
func PinnedRun(ctx context.Context, n *store.Store, c dialect.Querier, query string, f func() error) error {
	switch err := Mover(n).BeginMoves(ctx, c); {
	case err == nil:
		return immediate.finish(ctx, n, c, f())
	case !n.Fault(err).Is(dialect.InTx):
		return err
	}
	return Within.Run(ctx, n, c, func() error {
		if !sqlclass.AsksConnection(sqlclass.SQLite, query) { // it would ask for this statement's changes, and others have run before
			if err := Mover(n).LockMoves(ctx, c); err != nil {
				return err
			}
		}
		return f()
	})
}
