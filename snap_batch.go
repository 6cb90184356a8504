package ddb

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/wire"
)

// batch is a local transaction of a snap: for each row its key, the row before and the row after.
type batch struct {
	Clock   int64          `cbor:"1,keyasint"` // hybrid logical clock, nanoseconds
	Seen    LSN            `cbor:"2,keyasint"` // the snap's position when it was made
	Changes []*batchChange `cbor:"3,keyasint"`
}

// batchChange holds a batch's rows of one table, one after another: the key, which of the two
// images follow, and the images.
type batchChange struct {
	Database string   `cbor:"1,keyasint,omitempty"`
	Table    string   `cbor:"2,keyasint"`
	Columns  []string `cbor:"3,keyasint"`
	Key      []int    `cbor:"4,keyasint"`
	Count    int      `cbor:"5,keyasint"`
	Rows     []byte   `cbor:"6,keyasint"`
}

// maxBatchBytes limits one transaction of a snap: a batch travels in one message.
const maxBatchBytes = frameBytes / 2

const (
	hasBase = 1 << iota
	hasNew
)

// add appends a row.
func (c *batchChange) add(r dialect.Row) {
	c.Count++
	flags := int64(0)
	if r.Base != nil {
		flags |= hasBase
	}
	if r.Values != nil {
		flags |= hasNew
	}
	c.Rows = wire.AppendRow(c.Rows, r.Key)
	c.Rows = wire.AppendRow(c.Rows, []any{flags})
	c.Rows = wire.AppendRow(c.Rows, r.Base)
	c.Rows = wire.AppendRow(c.Rows, r.Values)
}

// each calls f for every row. The row's slices are f's to keep.
func (c *batchChange) each(f func(dialect.Row) error) error {
	rest := c.Rows
	read := func(n int) (values []any, err error) {
		values = make([]any, n)
		rest, err = wire.DecodeRow(rest, n, values)
		return values, err
	}
	for range c.Count {
		var r dialect.Row
		var flags []any
		var err error
		if r.Key, err = read(len(c.Key)); err == nil {
			flags, err = read(1)
		}
		if err == nil {
			bits, _ := flags[0].(int64)
			if bits&hasBase != 0 {
				r.Base, err = read(len(c.Columns))
			}
			if bits&hasNew != 0 && err == nil {
				r.Values, err = read(len(c.Columns))
			}
		}
		if err != nil {
			return fmt.Errorf("%w: batch: rows of %s: %w", ErrDamaged, c.Table, err)
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// gather reads what the connection's transaction has noted into a batch, and clears the notes.
// It returns nil if nothing has changed.
func (n *node) gather(ctx context.Context, q dialect.Querier) (*batch, int, error) {
	noted, err := n.engine.Noted(ctx, q, n.tables.Load().replicated())
	if err != nil || len(noted) == 0 {
		return nil, 0, err
	}
	b, records, size := new(batch), 0, 0
	for _, t := range noted {
		name := n.name(t)
		c := &batchChange{Database: name.database, Table: name.table, Columns: t.Stored, Key: t.Key}
		notes, err := n.engine.CollectImages(ctx, q, t, func(r dialect.Row) error {
			if equalRows(r.Base, r.Values) {
				return nil // changed and changed back
			}
			c.add(r)
			if size+len(c.Rows) > maxBatchBytes {
				return fmt.Errorf("%w: one transaction of a snap may change at most %d MiB of rows; split it", ErrNotReplicable, maxBatchBytes>>20)
			}
			return nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("ddb: read changes of table %s: %w", name, err)
		}
		if err := n.engine.Clear(ctx, q, notes); err != nil {
			return nil, 0, fmt.Errorf("ddb: clear notes of table %s: %w", name, err)
		}
		if c.Count > 0 {
			b.Changes = append(b.Changes, c)
			records, size = records+c.Count, size+len(c.Rows)
		}
	}
	if records == 0 {
		return nil, 0, nil
	}
	return b, records, nil
}

// equalRows compares two rows exactly; nil is a row that does not exist.
func equalRows(a, b []any) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equalValues(a[i], b[i]) {
			return false
		}
	}
	return true
}

// equalValues compares two values exactly: 1 is not 1.0, and NaN is itself.
func equalValues(a, b any) bool {
	switch x := a.(type) {
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	case float64:
		y, ok := b.(float64)
		return ok && math.Float64bits(x) == math.Float64bits(y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

// hybrid is a hybrid logical clock: wall time that never goes back and never falls
// behind what was heard from others (Kulkarni et al., "Logical Physical Clocks", 2014).
type hybrid struct{ last int64 }

func (h *hybrid) next(now time.Time) int64 {
	h.last = max(h.last+1, now.UnixNano())
	return h.last
}

func (h *hybrid) heard(at int64) { h.last = max(h.last, at) }

// preparedQuerier prepares each text once: what a snap runs with every local write is always the same.
type preparedQuerier struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func (p *preparedQuerier) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := p.stmts[query]; ok {
		return s, nil
	}
	if len(p.stmts) >= stmtCache {
		for text, s := range p.stmts {
			s.Close()
			delete(p.stmts, text)
		}
	}
	s, err := p.conn.PrepareContext(ctx, query)
	if err == nil {
		p.stmts[query] = s
	}
	return s, err
}

func (p *preparedQuerier) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (p *preparedQuerier) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// close gives the statements up with the connection that they belong to.
func (p *preparedQuerier) close() {
	for _, s := range p.stmts {
		s.Close()
	}
	*p = preparedQuerier{}
}
