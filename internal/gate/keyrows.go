package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// keyedInsert is a statement of which rows are asked for.
type keyedInsert struct {
	sqlclass.Insert
	known  bool // it is one INSERT with RETURNING, of a table whose rows may be moved
	tells  bool // its rows may tell a key
	table  *dialect.Table
	column string
	number int64

	// Before it has run: how many rows were moved, in all and in the table; the highest key that was given; whether
	// keys only ever rise.
	all, moves, base int64
	rising           bool
}

// returning reads the text of a statement that returns rows.
func returning(tables []*dialect.Table, number int64, query string) keyedInsert {
	in := keyedInsert{number: number}
	list, several, ok := sqlclass.Inserts(query)
	in.tells = !ok || several && keys.AsksWithin(query)
	for _, i := range list {
		in.Insert = i
		in.tells = in.tells || i.Returning != ""
	}
	if len(list) != 1 || several || !ok || in.Returning == "" || !in.Main() {
		return in
	}
	for _, t := range tables {
		if in.column = t.HandedOutKey(); strings.EqualFold(t.Name, in.Table) && in.column != "" && !t.Own {
			in.table, in.known = t, true
			break
		}
	}
	return in
}

// look notes how things stand before the statement runs.
func (in *keyedInsert) look(ctx context.Context, n *store.Store, q dialect.Querier) (err error) {
	mover := keys.Mover(n)
	if in.all, err = mover.Moves(ctx, q); err != nil || !in.known {
		return err
	}
	if in.moves, _, _, err = mover.MovesOf(ctx, q, in.table); err != nil {
		return err
	}
	lo, hi := keys.Range(in.number)
	in.base, in.rising, err = mover.HighestKey(ctx, q, in.table, lo, hi)
	return err
}

// rowsKeyed runs a statement that may insert rows and returns some, all of which are read into memory, with the keys that they
// have in the end. tables are those whose definition has not changed since ddb looked. lasting says that later
// statements may ask for the last key.
func rowsKeyed(ctx context.Context, n *store.Store, c dialect.Querier, tables []*dialect.Table, number int64, query string, args []any, lasting bool) (rows driver.Rows, err error) {
	in, mover := returning(tables, number, query), keys.Mover(n)
	err = keys.Within.Run(ctx, n, c, func() error {
		if err := in.look(ctx, n, c); err != nil {
			return err
		}
		text := query
		if in.known {
			text = query[:in.End] + ", " + store.QuoteName("", in.column) + query[in.End:]
		}
		got, err := bufferQuery(ctx, c, text, args)
		if err != nil {
			return err
		}
		id, changes, err := mover.Told(ctx, c)
		if err != nil {
			return keys.Refused{Err: err}
		}
		all, err := mover.Moves(ctx, c)
		if err != nil {
			return keys.Refused{Err: err}
		}
		if rows, err = in.settle(ctx, n, c, got, all != in.all); err != nil {
			return keys.Refused{Err: fmt.Errorf("%w: %s", err, sqlclass.Brief(query))}
		}
		if !lasting || all == in.all {
			return nil
		}
		now, is, err := keys.MovedTo(ctx, n, c, number, query, id)
		if err == nil && is {
			err = mover.Tell(ctx, c, now, changes)
		}
		if err != nil {
			return keys.Refused{Err: err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func bufferQuery(ctx context.Context, q dialect.Querier, query string, args []any) (*bufferedRows, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return bufferRows(rows)
}

// settle returns the rows as they are to be told. moved says that rows were, in any table.
func (in *keyedInsert) settle(ctx context.Context, n *store.Store, q dialect.Querier, got *bufferedRows, moved bool) (driver.Rows, error) {
	if !in.known {
		if moved && in.tells {
			return nil, in.refuse("it stands beside other statements, in a text that ddb cannot read, or for a view or a table that the transaction has changed")
		}
		return got, nil
	}
	handed := got.cutLast()
	moves, was, last, err := keys.Mover(n).MovesOf(ctx, q, in.table)
	if err != nil {
		return nil, err
	}
	count := moves - in.moves
	at := in.moved(handed, was, count)
	switch {
	case count == 0:
		return got, nil
	case at == nil || count > 1 && last-in.base != count:
		return nil, in.refuse("it cannot tell which of these they are: some have keys of their own or were changed, or triggers insert more")
	case !in.Repeatable:
		return nil, in.refuse("the RETURNING list has parameters, a subquery or last_insert_rowid()")
	}
	now, err := bufferQuery(ctx, q, fmt.Sprintf("SELECT %s FROM main.%s WHERE %s > ? AND %[3]s <= ? ORDER BY %[3]s",
		in.Returning, store.QuoteName("", in.table.Name), "main."+store.QuoteName("", in.table.Name)+"."+store.QuoteName("", in.column)), []any{last - count, last})
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
		"insert such rows by statements of their own with plain columns behind RETURNING, or give new rows keys of your own", fault.ErrNotReplicable, in.Table, why)
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
