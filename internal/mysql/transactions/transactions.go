package transactions

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/capture"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// Collector tells which transactions have made the notes of the mode Images.
type Collector struct {
	outboxes capture.Outboxes
	sessions *sessions.Sessions
	current  *catalog.Current
}

// New returns what collects the transactions of the tables of s.
func New(s *server.Server, on *sessions.Sessions, tables *catalog.Current) *Collector {
	return &Collector{outboxes: capture.NewOutboxes(s), sessions: on, current: tables}
}

// origin tells which transaction, or which statement of a client that bypasses ddb, made a note.
type origin struct{ conn, tx, at string }

func (o origin) bypasses() bool { return o.tx == "0" }

// unit is what one origin has done.
type unit struct {
	origin origin
	last   int64 // note
	areas  map[int]struct{}
	group  *group // nil: left for another collection
}

// group is a transaction.
type group struct {
	number int
	last   int64
	units  int
	areas  map[int]struct{}
}

// notedTable is one table of a collection.
type notedTable struct {
	table *catalog.Table
	dt    *dialect.Table
	area  int // the same for tables that foreign keys connect
	ids   []int64
	by    []*unit
}

// collection is what CollectTransactions works on.
type collection struct {
	outboxes capture.Outboxes
	q        dialect.Querier
	tables   []*notedTable
	units    map[origin]*unit
	later    map[origin]bool // have notes behind cut
	cut      int64           // later notes are left for another collection
	groups   int
}

// CollectTransactions emits what each transaction has done whose notes q sees, table by table: for each row that it has
// changed the row before and after it. tx counts the transactions from 0 in an order in which they could have run one after another.
// Of more than most notes, whole transactions are left for another call, and more is true. The row's slices are good
// until emit returns, and emit must not use q.
func (x *Collector) CollectTransactions(ctx context.Context, q dialect.Querier, tables []*dialect.Table, most int, emit func(tx int, t *dialect.Table, r dialect.Row) error) (notes []dialect.Notes, more bool, err error) {
	c := &collection{outboxes: x.outboxes}
	areas := x.current.Last().Areas()
	for _, dt := range tables {
		t, err := x.current.Table(ctx, q, dt)
		if err != nil {
			return nil, false, err
		}
		c.tables = append(c.tables, &notedTable{table: t, dt: dt, area: areas[catalog.NameOf(t.Table)]})
	}
	err = x.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		c.q = q
		for ; ; most *= 4 {
			if err := c.read(ctx, most); err != nil {
				return err
			}
			if more = c.cut != math.MaxInt64; !more || c.groups > 0 {
				break // else: one transaction has made more notes than that
			}
		}
		for _, t := range c.tables {
			n, err := c.emit(ctx, t, emit)
			if err != nil {
				return fmt.Errorf("%s: %w", t.table.SQLName(), err)
			}
			notes = append(notes, n)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("collect transactions: %w", lang.Wrap(err))
	}
	return notes, more, nil
}

// read finds out which transactions there are.
func (c *collection) read(ctx context.Context, most int) error {
	c.units, c.later, c.cut = map[origin]*unit{}, map[origin]bool{}, math.MaxInt64
	for _, t := range c.tables {
		t.ids, t.by = t.ids[:0], t.by[:0]
		err := c.origins(ctx, fmt.Sprintf("SELECT id, conn, tx, CAST(at AS CHAR) FROM %s ORDER BY id LIMIT %d", c.outboxes.Name(t.table.ID), most+1), func(id int64, o origin) {
			u := c.units[o]
			if u == nil {
				u = &unit{origin: o, areas: map[int]struct{}{}}
				c.units[o] = u
			}
			u.last, u.areas[t.area] = max(u.last, id), struct{}{}
			t.ids, t.by = append(t.ids, id), append(t.by, u)
		})
		if err != nil {
			return err
		}
		if len(t.ids) > most {
			c.cut = min(c.cut, t.ids[most-1])
		}
	}
	if c.cut < math.MaxInt64 {
		for _, t := range c.tables {
			err := c.origins(ctx, fmt.Sprintf("SELECT DISTINCT 0, conn, tx, CAST(at AS CHAR) FROM %s WHERE id > %d", c.outboxes.Name(t.table.ID), c.cut),
				func(_ int64, o origin) {
					if c.later[o] = true; o.bypasses() {
						c.later[origin{conn: o.conn}] = true
					}
				})
			if err != nil {
				return err
			}
		}
	}
	c.group()
	return nil
}

// group puts units together to transactions, and those in an order in which they could have run.
func (c *collection) group() {
	var order []*unit
	for o, u := range c.units {
		if !c.later[o] {
			order = append(order, u)
		}
	}
	slices.SortFunc(order, func(a, b *unit) int { return cmp.Compare(a.last, b.last) })
	open := map[string]*group{} // by connection: what its next statement may be part of
	var groups []*group
	for _, u := range order {
		g := open[u.origin.conn]
		if delete(open, u.origin.conn); g == nil || !u.origin.bypasses() {
			g = &group{areas: map[int]struct{}{}}
			groups = append(groups, g)
		}
		u.group, g.last, g.units = g, u.last, g.units+1
		for conn, o := range open {
			if meet(o.areas, u.areas) {
				delete(open, conn)
			}
		}
		if maps.Copy(g.areas, u.areas); u.origin.bypasses() {
			open[u.origin.conn] = g
		}
	}
	for conn, g := range open {
		if c.later[origin{conn: conn}] {
			groups = slices.DeleteFunc(groups, func(x *group) bool { return x == g })
			for _, u := range order {
				if u.group == g {
					u.group = nil
				}
			}
		}
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.last, b.last) })
	for i, g := range groups {
		g.number = i
	}
	c.groups = len(groups)
}

func meet(a, b map[int]struct{}) bool {
	for x := range a {
		if _, ok := b[x]; ok {
			return true
		}
	}
	return false
}

func (c *collection) origins(ctx context.Context, query string, f func(id int64, o origin)) error {
	rows, err := c.q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var o origin
		if err := rows.Scan(&id, &o.conn, &o.tx, &o.at); err != nil {
			return err
		}
		if o.tx[0] != '-' && o.tx != "0" {
			o.at = "" // ddb has named the transaction
		}
		f(id, o)
	}
	return rows.Err()
}

// grouped returns the notes that are not left for another collection.
func (t *notedTable) grouped() dialect.Notes {
	n := dialect.Notes{Table: t.dt}
	for i, id := range t.ids {
		if t.by[i].group == nil {
			continue
		}
		n.Count++
		if k := len(n.Ranges); k > 0 && n.Ranges[k-1][1] == id-1 {
			n.Ranges[k-1][1] = id
		} else {
			n.Ranges = append(n.Ranges, [2]int64{id, id})
		}
	}
	return n
}

// emit emits the rows of one table. What a row was after a transaction is what the next
// one that changed it has noted, and if there is none, what it is now.
func (c *collection) emit(ctx context.Context, t *notedTable, emit func(tx int, dt *dialect.Table, r dialect.Row) error) (n dialect.Notes, err error) {
	if n = t.grouped(); n.Count == 0 {
		return n, nil
	}
	r := &codec.Reader{}
	capture.AddKey(r, t.table, "o")
	r.Add("o.id", codec.Flag)
	r.Add("f.line", codec.Flag)
	r.Add(capture.Present(t.table), codec.Flag)
	now := r.AddColumns("t", t.table.StoredColumns)
	r.Add("n.existed", codec.Flag) // NULL: nobody has changed the row since
	next := capture.AddImages(r, t.table, "n")
	r.Add("o.existed", codec.Flag)
	base := capture.AddImages(r, t.table, "o")
	rows, err := c.q.QueryContext(ctx, "SELECT "+strings.Join(r.Exprs, ", ")+c.changes(t))
	if err != nil {
		return n, err
	}
	defer rows.Close()
	k, width := len(t.table.Key), len(t.table.StoredColumns)
	v := make([]any, len(r.Cells))
	var together joined
	for i := 0; rows.Next(); {
		if err := rows.Scan(r.Cells...); err != nil {
			return n, err
		}
		for j, x := range r.Cells {
			v[j] = x.(*codec.Cell).Value()
		}
		for t.ids[i] != v[k] {
			i++
		}
		g := t.by[i].group
		if g == nil {
			continue
		}
		row := dialect.Row{Key: v[:k]}
		switch existed := v[next-1]; {
		case existed == int64(1):
			row.Values = v[next : next+width]
		case existed == nil && v[now-1] == int64(1):
			row.Values = v[now : now+width]
		}
		if row.Values != nil {
			row.Key = t.table.OwnKey(row.Values)
		}
		if v[base-1] == int64(1) {
			row.Base = v[base:]
		}
		if g.units > 1 {
			together.add(g.number, v[k+1].(int64), row)
			continue
		}
		if err := emit(g.number, t.dt, row); err != nil {
			return n, err
		}
	}
	for _, l := range together.order {
		if err := emit(l.tx, t.dt, l.row); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// joined puts together what the statements of one transaction have done to the same row.
type joined struct {
	order []*joinedRow
	rows  map[[2]int64]*joinedRow // by transaction and line
}

type joinedRow struct {
	tx  int
	row dialect.Row
}

func (j *joined) add(tx int, line int64, r dialect.Row) {
	at := [2]int64{int64(tx), line}
	l := j.rows[at]
	if l == nil {
		l = &joinedRow{tx, dialect.Row{Base: cloneValues(r.Base)}}
		if j.rows == nil {
			j.rows = map[[2]int64]*joinedRow{}
		}
		j.rows[at], j.order = l, append(j.order, l)
	}
	l.row.Key, l.row.Values = cloneValues(r.Key), cloneValues(r.Values)
}

// cloneValues copies what the driver will use again.
func cloneValues(values []any) []any {
	values = slices.Clone(values)
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			values[i] = slices.Clone(b)
		}
	}
	return values
}

// changes selects, in the order of the notes: o, the first note of each origin about each row; n, the first note
// of the next origin about the same row; t, the row as it is now if there is no such note. Which keys are
// the same only the server knows, by their collations; f.line is the same for notes about one row.
func (c *collection) changes(t *notedTable) string {
	out, window := c.outboxes.Name(t.table.ID), " WINDOW w AS (PARTITION BY "+capture.KeyNames(t.table)+" ORDER BY id)"
	again := "LAG(conn) OVER w <=> conn AND LAG(tx) OVER w <=> tx AND (tx>0 OR LAG(at) OVER w <=> at) AS again"
	first := "SELECT id, " + capture.KeyNames(t.table) + ", FIRST_VALUE(id) OVER w AS line, " + again + " FROM " + out + window
	return " FROM (SELECT id, line, LEAD(id) OVER w AS next FROM (" + first + ") a WHERE NOT again" + window + ") f" +
		" STRAIGHT_JOIN " + out + " o ON o.id=f.id LEFT JOIN " + out + " n ON n.id=f.next" +
		" LEFT JOIN " + t.table.SQLName() + " t ON f.next IS NULL AND " + capture.MatchKey(t.table, "t", "o") +
		fmt.Sprintf(" WHERE f.id<=%d ORDER BY f.id", c.cut)
}
