package apply

import (
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/wire"
)

// Coalescer gathers row states by table, the last one of each key. Where the
// database may find keys equal that differ in Go, it gathers one entry only.
type Coalescer struct {
	limit int
	order []*dialect.Table
	rows  map[*dialect.Table]*tableRows
	n     int
	exact bool
	key   []byte
}

type tableRows struct {
	list []dialect.Row
	at   map[string]int // nil where keys are not exact
}

// coalesceRows is how many rows are gathered before they are written.
const coalesceRows = 50_000

// NewCoalescer makes a coalescer of at most limit rows, of any number for 0.
func NewCoalescer(limit int) *Coalescer {
	return &Coalescer{limit: limit, rows: make(map[*dialect.Table]*tableRows), exact: true}
}

func (c *Coalescer) reset() {
	c.order, c.n, c.exact = nil, 0, true
	clear(c.rows)
}

// Each calls f with the rows of each table, in the order in which the tables came.
func (c *Coalescer) Each(f func(t *dialect.Table, rows []dialect.Row) error) error {
	for _, t := range c.order {
		if err := f(t, c.rows[t].list); err != nil {
			return err
		}
	}
	return nil
}

// Put adds a state, or reports that the coalescer is full.
func (c *Coalescer) Put(t *dialect.Table, r dialect.Row) bool {
	if c.limit > 0 && c.n >= c.limit {
		return false
	}
	rows := c.rows[t]
	if rows == nil {
		rows = new(tableRows)
		if t.ExactKey {
			rows.at = make(map[string]int)
		} else {
			c.exact = false
		}
		c.rows[t] = rows
		c.order = append(c.order, t)
	}
	if rows.at != nil {
		c.key = wire.AppendRow(c.key[:0], r.Key)
		if i, ok := rows.at[string(c.key)]; ok {
			rows.list[i] = r
			return true
		}
		rows.at[string(c.key)] = len(rows.list)
	}
	rows.list = append(rows.list, r)
	c.n++
	return true
}
