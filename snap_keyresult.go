package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// What SQLite tells of a row that a trigger has moved to a key of this node (snap_keys.go) is the key before the move: in
// LastInsertId, in last_insert_rowid() and in RETURNING. Here that is put right, or refused where it cannot be told.

// keyNumber is the writer's hook of a snap.
func (s *snapSide) keyNumber() int64 { return s.numberOfNode.Load() }

// keyNumber is the writer's hook of a master.
func (m *master) keyNumber() int64 {
	if !m.seq.sharesKeys() {
		return 0
	}
	return firstSnapNode - 1
}

// keyNumber returns the number of this node if its triggers move rows, or 0.
func (c *Cluster) keyNumber() int64 {
	switch {
	case c.class != sqlclass.SQLite || c.node == nil:
		return 0
	case c.m != nil:
		return c.m.keyNumber()
	case c.f.snap != nil:
		return c.f.snap.keyNumber()
	}
	return 0
}

// keyed reports whether a statement may insert rows that this node's triggers move.
func (c *Cluster) keyed(query string) bool {
	return c.keyNumber() != 0 && c.kindOf(query) == sqlclass.Write && sqlclass.HasInsert(query)
}

// movedResult is a Result whose LastInsertId is the key that the row was moved to.
type movedResult struct {
	sql.Result
	id int64
}

func (r movedResult) LastInsertId() (int64, error) { return r.id, nil }

// moved corrects the result of a statement whose last row has been moved to another key.
func movedKey(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string, r sql.Result) (sql.Result, error) {
	id, err := r.LastInsertId()
	if err != nil {
		return r, nil
	}
	now, is, err := movedTo(ctx, n, q, number, query, id)
	if err != nil || !is {
		return r, err
	}
	return movedResult{r, now}, nil
}

// movedTo returns the key that the last row of a statement was moved to, if it was. id is what SQLite tells.
func movedTo(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string, id int64) (now int64, is bool, err error) {
	if lo, hi := keyRange(number); id >= lo && id < hi {
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
		err := dialect.ScanOne(ctx, n.Quick(q), []any{&now}, "SELECT last FROM main."+keyTable+" WHERE lower(tbl) = lower(?) AND was = ?", list[i].Table, id)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return now, err == nil, err
		}
	}
	return 0, false, nil
}

// moves counts the rows that were ever moved.
func countMoves(ctx context.Context, n *store.Store, q dialect.Querier) (count int64, err error) {
	return count, dialect.ScanOne(ctx, n.Quick(q), []any{&count}, "SELECT coalesce(sum(moves), 0) FROM main."+keyTable)
}

// asksWithin reports whether one of several statements in a text may ask for the key that another was given.
func asksWithin(query string) bool {
	return strings.Contains(query, ";") && sqlclass.AsksConnection(sqlclass.SQLite, query)
}

// keyWatch sees whether a text of several statements, some of which ask for the last key, moves rows: they were told wrong.
type keyWatch struct {
	on    bool
	moves int64
}

func watchMoves(ctx context.Context, n *store.Store, q dialect.Querier, number int64, query string) (w keyWatch, err error) {
	if number == 0 || !asksWithin(query) {
		return w, nil
	}
	if _, several, _ := sqlclass.Inserts(query); !several {
		return w, nil
	}
	w.on = true
	w.moves, err = countMoves(ctx, n, q)
	return w, err
}

// check is asked when the text has run. If it fails, what the text did must not stand.
func (w keyWatch) check(ctx context.Context, n *store.Store, q dialect.Querier, query string) error {
	if !w.on {
		return nil
	}
	if now, err := countMoves(ctx, n, q); err != nil || now == w.moves {
		return err
	}
	return fmt.Errorf("%w: ddb has given a new row a key of this node, and another statement of the same text asks for the key that SQLite told: "+
		"run the statements one by one in a transaction, or give new rows keys of your own: %s", ErrNotReplicable, sqlclass.Brief(query))
}

// putLast makes last_insert_rowid() on a connection tell the key that a row was moved to, and leaves changes() as it is.
func putLast(ctx context.Context, n *store.Store, q dialect.Querier, key, changes int64) error {
	query, args := `INSERT INTO main."_ddb_last" (id) VALUES (?)`, []any{key}
	if changes > 1 {
		query, args = `INSERT INTO main."_ddb_last" (id) SELECT ?1 FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2) SELECT i FROM n)`, []any{key, changes}
	}
	_, err := n.Quick(q).ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("ddb: put last_insert_rowid() right: %w", err)
	}
	return nil
}

// execKeyed runs a statement of a session, in which later ones may ask for the last key. It is called for nodes with a number.
func execKeyed(ctx context.Context, n *store.Store, c dialect.Querier, number int64, query string, args []any) (r sql.Result, err error) {
	watch, err := watchMoves(ctx, n, c, number, query)
	if err != nil {
		return nil, err
	}
	run := func() error {
		if r, err = c.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		if err = watch.check(ctx, n, c, query); err != nil {
			return refusedKey{err}
		}
		was := r
		if r, err = movedKey(ctx, n, c, number, query, r); err != nil {
			return refusedKey{err}
		}
		m, is := r.(movedResult)
		if !is {
			return nil
		}
		changes, err := was.RowsAffected()
		if err == nil {
			err = putLast(ctx, n, c, m.id, changes)
		}
		if err != nil {
			return refusedKey{err}
		}
		return nil
	}
	if watch.on {
		err = within.run(ctx, c, run)
	} else {
		err = run()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// keyedTx is a transaction that puts the keys right that rows tell.
type keyedTx interface {
	keyedRows(ctx context.Context, query string, args []any, lasting bool) (driver.Rows, error)
}

// execPinned runs a statement on a connection of the program's own, or in a transaction there, which conn is then: once that
// is over, what the connection is given would commit by itself.
func (c *Cluster) execPinned(ctx context.Context, conn dialect.Querier, query string, args []any) (r sql.Result, err error) {
	keyed := c.keyed(query)
	if keyed && c.spansTx(query) {
		return c.oneByOne(query, args, amongTx, func(s string) (sql.Result, error) { return c.execPinned(ctx, conn, s, nil) })
	}
	if keyed {
		hidden, err := hidesInsert(ctx, c.node, conn, query)
		if err != nil {
			return nil, err
		}
		keyed = !hidden
	}
	if !keyed {
		return conn.ExecContext(ctx, query, args...)
	}
	err = pinnedRun(ctx, conn, query, func() error {
		r, err = execKeyed(ctx, c.node, conn, c.keyNumber(), query, args)
		return err
	})
	return r, err
}

// amongTx is why several statements with arguments are refused: a text that begins or ends a transaction can be in none of ddb's.
const amongTx = "several statements, one of which begins or ends a transaction, take no arguments on a node with keys of its own: run them one by one"

// spansTx reports whether one of several statements in a text begins, marks or ends a transaction.
func (c *Cluster) spansTx(text string) bool {
	return c.anyOf(text, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.TxControl })
}

// rowsPinned is execPinned for a statement whose rows are asked for.
func (c *Cluster) rowsPinned(ctx context.Context, conn dialect.Querier, query string, args []any) (rows driver.Rows, err error) {
	hidden, err := hidesInsert(ctx, c.node, conn, query)
	if err != nil {
		return nil, err
	}
	if hidden {
		return bufferQuery(ctx, conn, query, args)
	}
	err = pinnedRun(ctx, conn, query, func() error {
		rows, err = rowsKeyed(ctx, c.node, conn, c.node.Tables.Load().Replicated(), c.keyNumber(), query, args, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// hidesInsert reports whether a statement inserts into a temporary table of its connection, whose rows nobody moves.
func hidesInsert(ctx context.Context, n *store.Store, c dialect.Querier, query string) (bool, error) {
	engine, ok := n.Engine.(temporaries)
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

// refusedKey is the error of a statement that has run, but must not stand.
type refusedKey struct{ error }

func (r refusedKey) Unwrap() error { return r.error }

// scope is what can be undone as a whole: a savepoint, or a transaction.
type scope struct{ begin, undo, end string }

var (
	within    = scope{`SAVEPOINT "_ddb_keys"`, `ROLLBACK TO "_ddb_keys"`, `RELEASE "_ddb_keys"`}
	immediate = scope{"BEGIN IMMEDIATE", "ROLLBACK", "COMMIT"}
)

// run runs f and undoes what it did if it fails with a refusedKey. What a statement of the user's leaves behind when it fails stands.
func (s scope) run(ctx context.Context, c dialect.Querier, f func() error) error {
	if _, err := c.ExecContext(ctx, s.begin); err != nil {
		return err
	}
	return s.finish(ctx, c, f())
}

func (s scope) finish(ctx context.Context, c dialect.Querier, err error) error {
	ctx = context.WithoutCancel(ctx)
	var refused refusedKey
	if errors.As(err, &refused) {
		if _, e := c.ExecContext(ctx, s.undo); e != nil {
			err = errors.Join(err, e)
		}
	}
	if _, e := c.ExecContext(ctx, s.end); e != nil && err == nil {
		store.Rollback(c)
		err = e
	}
	return err
}

// pinnedRun runs f on a connection of the program's own, so that nobody writes between what it reads and what it writes.
func pinnedRun(ctx context.Context, c dialect.Querier, query string, f func() error) error {
	switch _, err := c.ExecContext(ctx, immediate.begin); {
	case err == nil:
		return immediate.finish(ctx, c, f())
	case !strings.Contains(err.Error(), "within a transaction"):
		return err
	}
	return within.run(ctx, c, func() error {
		if !sqlclass.AsksConnection(sqlclass.SQLite, query) { // it would ask for this statement's changes, and others have run before
			if _, err := c.ExecContext(ctx, `DELETE FROM main."_ddb_last"`); err != nil { // for the lock: it is empty
				return err
			}
		}
		return f()
	})
}
