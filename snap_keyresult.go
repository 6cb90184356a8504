package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// What SQLite tells of a row that a trigger has moved to a key of this node (snap_keys.go) is the key before the move: in
// LastInsertId, in last_insert_rowid() and in RETURNING. Here that is put right, or refused where it cannot be told.

// keyNumber is the writer's hook of a snap.
func (s *snapSide) keyNumber() int64 { return s.numberOfNode.Load() }

// keyNumber is the writer's hook of a master.
func (m *master) keyNumber() int64 {
	if !m.sharesKeys() {
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
func (n *node) moved(ctx context.Context, q dialect.Querier, number int64, query string, r sql.Result) (sql.Result, error) {
	id, err := r.LastInsertId()
	if err != nil {
		return r, nil
	}
	now, is, err := n.movedTo(ctx, q, number, query, id)
	if err != nil || !is {
		return r, err
	}
	return movedResult{r, now}, nil
}

// movedTo returns the key that the last row of a statement was moved to, if it was. id is what SQLite tells.
func (n *node) movedTo(ctx context.Context, q dialect.Querier, number int64, query string, id int64) (now int64, is bool, err error) {
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
		err := scanOne(ctx, n.quick(q), []any{&now}, "SELECT last FROM main."+keyTable+" WHERE lower(tbl) = lower(?) AND was = ?", list[i].Table, id)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return now, err == nil, err
		}
	}
	return 0, false, nil
}

// moves counts the rows that were ever moved.
func (n *node) moves(ctx context.Context, q dialect.Querier) (count int64, err error) {
	return count, scanOne(ctx, n.quick(q), []any{&count}, "SELECT coalesce(sum(moves), 0) FROM main."+keyTable)
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

func (n *node) watchMoves(ctx context.Context, q dialect.Querier, number int64, query string) (w keyWatch, err error) {
	if number == 0 || !asksWithin(query) {
		return w, nil
	}
	if _, several, _ := sqlclass.Inserts(query); !several {
		return w, nil
	}
	w.on = true
	w.moves, err = n.moves(ctx, q)
	return w, err
}

// check is asked when the text has run. If it fails, what the text did must not stand.
func (w keyWatch) check(ctx context.Context, n *node, q dialect.Querier, query string) error {
	if !w.on {
		return nil
	}
	if now, err := n.moves(ctx, q); err != nil || now == w.moves {
		return err
	}
	return fmt.Errorf("%w: ddb has given a new row a key of this node, and another statement of the same text asks for the key that SQLite told: "+
		"run the statements one by one in a transaction, or give new rows keys of your own: %s", ErrNotReplicable, sqlclass.Brief(query))
}

// putLast makes last_insert_rowid() on a connection tell the key that a row was moved to, and leaves changes() as it is.
func (n *node) putLast(ctx context.Context, q dialect.Querier, key, changes int64) error {
	query, args := `INSERT INTO main."_ddb_last" (id) VALUES (?)`, []any{key}
	if changes > 1 {
		query, args = `INSERT INTO main."_ddb_last" (id) SELECT ?1 FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2) SELECT i FROM n)`, []any{key, changes}
	}
	_, err := n.quick(q).ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("ddb: put last_insert_rowid() right: %w", err)
	}
	return nil
}

// execKeyed runs a statement of a session, in which later ones may ask for the last key. It is called for nodes with a number.
func (n *node) execKeyed(ctx context.Context, c dialect.Querier, number int64, query string, args []any) (r sql.Result, err error) {
	watch, err := n.watchMoves(ctx, c, number, query)
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
		if r, err = n.moved(ctx, c, number, query, r); err != nil {
			return refusedKey{err}
		}
		m, is := r.(movedResult)
		if !is {
			return nil
		}
		changes, err := was.RowsAffected()
		if err == nil {
			err = n.putLast(ctx, c, m.id, changes)
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
		return c.execSpanning(ctx, conn, query, args)
	}
	if keyed {
		hidden, err := c.node.hidesInsert(ctx, conn, query)
		if err != nil {
			return nil, err
		}
		keyed = !hidden
	}
	if !keyed {
		return conn.ExecContext(ctx, query, args...)
	}
	err = pinnedRun(ctx, conn, query, func() error {
		r, err = c.node.execKeyed(ctx, conn, c.keyNumber(), query, args)
		return err
	})
	return r, err
}

// spansTx reports whether one of several statements in a text begins, marks or ends a transaction.
func (c *Cluster) spansTx(text string) bool {
	if !strings.Contains(text, ";") {
		return false
	}
	list, _ := sqlclass.Split(c.class, text)
	return slices.ContainsFunc(list, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.TxControl })
}

// execSpanning runs the statements of such a text one by one: it can be in no transaction of ddb's.
func (c *Cluster) execSpanning(ctx context.Context, conn dialect.Querier, query string, args []any) (r sql.Result, err error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("%w: several statements, one of which begins or ends a transaction, take no arguments on a node with keys of its own: run them one by one", ErrNotReplicable)
	}
	list, err := sqlclass.Split(c.class, query)
	if err != nil {
		return nil, err
	}
	for i, s := range list {
		if r, err = c.execPinned(ctx, conn, s.SQL, nil); err != nil {
			return nil, fmt.Errorf("statement %d of %d: %w", i+1, len(list), err)
		}
	}
	return r, nil
}

// rowsPinned is execPinned for a statement whose rows are asked for.
func (c *Cluster) rowsPinned(ctx context.Context, conn dialect.Querier, query string, args []any) (rows driver.Rows, err error) {
	hidden, err := c.node.hidesInsert(ctx, conn, query)
	if err != nil {
		return nil, err
	}
	if hidden {
		return bufferQuery(ctx, conn, query, args)
	}
	err = pinnedRun(ctx, conn, query, func() error {
		rows, err = c.node.rowsKeyed(ctx, conn, c.node.tables.Load().replicated(), c.keyNumber(), query, args, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// hidesInsert reports whether a statement inserts into a temporary table of its connection, whose rows nobody moves.
func (n *node) hidesInsert(ctx context.Context, c dialect.Querier, query string) (bool, error) {
	engine, ok := n.engine.(temporaries)
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
		rollback(c)
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

// keyedInsert is a statement of which rows are asked for.
type keyedInsert struct {
	sqlclass.Insert
	known   bool // it is one INSERT with RETURNING, of a table whose rows may be moved
	several bool
	tells   bool // its rows may tell a key
	table   *dialect.Table
	column  string
	number  int64

	// Before it has run: how many rows were moved, in all and in the table; the highest key that was given; whether
	// keys only ever rise.
	all, moves, base int64
	rising           bool
}

// returning reads the text of a statement that returns rows.
func returning(tables []*dialect.Table, number int64, query string) keyedInsert {
	in := keyedInsert{number: number}
	list, several, ok := sqlclass.Inserts(query)
	in.several = several || !ok
	in.tells = !ok || several && asksWithin(query)
	for _, i := range list {
		in.Insert = i
		in.tells = in.tells || i.Returning != ""
	}
	if len(list) != 1 || in.several || in.Returning == "" || !in.Main() {
		return in
	}
	for _, t := range tables {
		if in.column = handedOut(t); strings.EqualFold(t.Name, in.Table) && in.column != "" && !t.Own {
			in.table, in.known = t, true
			break
		}
	}
	return in
}

// look notes how things stand before the statement runs.
func (in *keyedInsert) look(ctx context.Context, n *node, q dialect.Querier) (err error) {
	if in.all, err = n.moves(ctx, q); err != nil || !in.known {
		return err
	}
	key, lo, hi := quoteName("", in.column), int64(0), int64(0)
	lo, hi = keyRange(in.number)
	return scanOne(ctx, n.quick(q), []any{&in.moves, &in.base, &in.rising}, fmt.Sprintf(
		"SELECT coalesce(max(k.moves), 0), max(coalesce(max(%s), 0), coalesce((SELECT max(%s) FROM main.%s WHERE %s >= %d AND %s < %d), %d)), "+
			"EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 AND sql LIKE '%%AUTOINCREMENT%%') "+
			"FROM main."+keyTable+" k WHERE k.tbl = ?1", lastOwn(lo, hi), key, quoteName("", in.table.Name), key, lo, key, hi, lo-1), in.table.Name)
}

// rowsKeyed runs a statement that may insert rows and returns some, all of which are read into memory, with the keys that they
// have in the end. tables are those whose definition has not changed since ddb looked. lasting says that later
// statements may ask for the last key.
func (n *node) rowsKeyed(ctx context.Context, c dialect.Querier, tables []*dialect.Table, number int64, query string, args []any, lasting bool) (rows driver.Rows, err error) {
	in := returning(tables, number, query)
	err = within.run(ctx, c, func() error {
		if err := in.look(ctx, n, c); err != nil {
			return err
		}
		text := query
		if in.known {
			text = query[:in.End] + ", " + quoteName("", in.column) + query[in.End:]
		}
		got, err := bufferQuery(ctx, c, text, args)
		if err != nil {
			return err
		}
		var id, changes int64
		if err := scanOne(ctx, n.quick(c), []any{&id, &changes}, "SELECT last_insert_rowid(), changes()"); err != nil {
			return refusedKey{err}
		}
		if rows, err = in.settle(ctx, n, c, got); err != nil {
			return refusedKey{fmt.Errorf("%w: %s", err, sqlclass.Brief(query))}
		}
		if !lasting {
			return nil
		}
		if err := in.keepLast(ctx, n, c, query, id, changes); err != nil {
			return refusedKey{err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// keepLast puts last_insert_rowid() right, which tells id, if rows were moved.
func (in *keyedInsert) keepLast(ctx context.Context, n *node, c dialect.Querier, query string, id, changes int64) error {
	if all, err := n.moves(ctx, c); err != nil || all == in.all {
		return err
	}
	now, is, err := n.movedTo(ctx, c, in.number, query, id)
	if err != nil || !is {
		return err
	}
	return n.putLast(ctx, c, now, changes)
}

func bufferQuery(ctx context.Context, q dialect.Querier, query string, args []any) (*bufferedRows, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	b, err := bufferRows(rows)
	if err != nil {
		return nil, err
	}
	return b.(*bufferedRows), nil
}

// settle returns the rows as they are to be told.
func (in *keyedInsert) settle(ctx context.Context, n *node, q dialect.Querier, got *bufferedRows) (driver.Rows, error) {
	all, err := n.moves(ctx, q)
	if err != nil {
		return nil, err
	}
	if !in.known {
		if all != in.all && in.tells {
			return nil, in.refuse("it stands beside other statements, in a text that ddb cannot read, or for a view or a table that the transaction has changed")
		}
		return got, nil
	}
	keys := got.cutLast()
	var moves, last int64
	var was sql.NullInt64
	if err := scanOne(ctx, n.quick(q), []any{&moves, &was, &last}, "SELECT coalesce(max(moves), 0), max(was), coalesce(max(last), 0) FROM main."+keyTable+" WHERE tbl = ?", in.table.Name); err != nil {
		return nil, err
	}
	count := moves - in.moves
	at := in.moved(keys, was, count)
	switch {
	case count == 0:
		return got, nil
	case at == nil || count > 1 && last-in.base != count:
		return nil, in.refuse("it cannot tell which of these they are: some have keys of their own or were changed, or triggers insert more")
	case !in.Repeatable:
		return nil, in.refuse("the RETURNING list has parameters, a subquery or last_insert_rowid()")
	}
	now, err := bufferQuery(ctx, q, fmt.Sprintf("SELECT %s FROM main.%s WHERE %s > ? AND %[3]s <= ? ORDER BY %[3]s",
		in.Returning, quoteName("", in.table.Name), "main."+quoteName("", in.table.Name)+"."+quoteName("", in.column)), []any{last - count, last})
	if err != nil {
		return nil, err
	}
	if len(now.list) != len(at) || len(now.columns) != len(got.columns) {
		return nil, in.refuse("triggers have changed the rows")
	}
	for i, row := range at {
		got.list[row] = now.list[i]
	}
	now.list, now.columns = got.list, got.columns
	return now, nil
}

// moved returns which of the rows told, in their order, are the count that were moved, was being the last key handed out to one;
// nil where that cannot be told. Each has that key, as its place was free again for the next, or, where keys only ever
// rise, they have those up to it and are all the rows. The first rows may be moved and others not: on a snap whose keys are the
// highest of all from then on.
func (in *keyedInsert) moved(keys []driver.Value, was sql.NullInt64, count int64) []int {
	if !was.Valid {
		return nil
	}
	var same, all []int
	rising := in.rising && count == int64(len(keys))
	for i, k := range keys {
		if k == was.Int64 {
			same = append(same, i)
		}
		rising = rising && k == was.Int64-(count-1-int64(i))
		all = append(all, i)
	}
	switch {
	case int64(len(same)) == count:
		return same
	case rising:
		return all
	}
	return nil
}

func (in *keyedInsert) refuse(why string) error {
	return fmt.Errorf("%w: table %s: SQLite has told keys that rows do not have any more, since ddb has given them keys of this node, and %s: "+
		"insert such rows by statements of their own with plain columns behind RETURNING, or give new rows keys of your own", ErrNotReplicable, in.Table, why)
}

// cutLast takes the last column away and returns its values.
func (b *bufferedRows) cutLast() []driver.Value {
	n := len(b.columns) - 1
	b.columns, b.types = b.columns[:n], b.types[:n]
	last := make([]driver.Value, len(b.list))
	for i, row := range b.list {
		b.list[i], last[i] = row[:n], row[n]
	}
	return last
}
