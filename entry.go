package ddb

import (
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
)

// Limits of what an entry is cut into. They bound memory, not what can be replicated.
const (
	partBytes    = 1 << 20 // a part is closed when its rows exceed this
	partOverhead = 128     // what a part costs beside its payload, for budgets
	applyRows    = 2000    // rows handed to Dialect.Apply at once
)

// Change holds the states of rows of one table: each row's full stored values,
// or for rows that are gone their key. Rows are CBOR items one after another, so
// that they are encoded once on the master and decoded once per follower.
type Change struct {
	Database string   `cbor:"1,keyasint,omitempty"`
	Table    string   `cbor:"2,keyasint"`
	Columns  []string `cbor:"3,keyasint"` // names of the stored columns, in the order of the values
	Key      []int    `cbor:"4,keyasint"` // which of the columns are the key
	Present  int      `cbor:"5,keyasint,omitempty"`
	Rows     []byte   `cbor:"6,keyasint,omitempty"`
	Absent   int      `cbor:"7,keyasint,omitempty"`
	Keys     []byte   `cbor:"8,keyasint,omitempty"`
	// Next is the value that the table's AUTO_INCREMENT column has next on the master, 0 where the keys tell of the last one.
	Next uint64 `cbor:"9,keyasint,omitempty"`
}

// body is the payload of a part.
type body struct {
	Changes []*Change           `cbor:"1,keyasint,omitempty"`
	Schema  []dialect.Statement `cbor:"2,keyasint,omitempty"` // run before the changes
	// Batches holds, per snap, the highest batch that the entry includes.
	Batches map[string]uint64 `cbor:"3,keyasint,omitempty"`
	// Mixed: rows of other parts may hold unique values that rows here are about to take.
	Mixed bool `cbor:"4,keyasint,omitempty"`
	// Rebuild: the entry brings whole tables; readers should not look meanwhile.
	Rebuild bool `cbor:"5,keyasint,omitempty"`
}

func decodeBody(p *Part) (*body, error) {
	b := new(body)
	if err := wire.DecodeInto(p.Payload, b); err != nil {
		return nil, fmt.Errorf("entry %d part %d: %w", p.LSN, p.Index, err)
	}
	return b, nil
}

// pick picks the key from stored values.
func pick(values []any, key []int) []any {
	k := make([]any, len(key))
	for i, c := range key {
		k[i] = values[c]
	}
	return k
}

// each calls f for every row state of the change: the absent ones first, so that
// a unique value is free before another row takes it. The row's slices are f's to keep.
func (c *Change) each(f func(dialect.Row) error) error {
	rest := c.Keys
	for range c.Absent {
		k := make([]any, len(c.Key))
		var err error
		if rest, err = wire.DecodeRow(rest, len(k), k); err != nil {
			return fmt.Errorf("%w: keys of %s: %w", ErrDamaged, c.Table, err)
		}
		if err := f(dialect.Row{Key: k}); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fault.Damaged("%d bytes too many in the keys of %s", len(rest), c.Table)
	}
	rest = c.Rows
	for range c.Present {
		v := make([]any, len(c.Columns))
		var err error
		if rest, err = wire.DecodeRow(rest, len(v), v); err != nil {
			return fmt.Errorf("%w: rows of %s: %w", ErrDamaged, c.Table, err)
		}
		if err := f(dialect.Row{Key: pick(v, c.Key), Values: v}); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fault.Damaged("%d bytes too many in the rows of %s", len(rest), c.Table)
	}
	return nil
}

// entryBuilder cuts one entry into parts and passes each on as soon as it is
// full, so that its memory does not grow with the entry.
type entryBuilder struct {
	name    func(*dialect.Table) tableName // as entries name tables
	prev    Part                           // the part before the next one
	epoch   uint64
	lsn     LSN
	at      time.Time
	emit    func(Part) error
	body    body
	current *Change
	table   *dialect.Table
	size    int
	records int
	parts   int
	total   int
}

// newEntryBuilder starts the entry that follows the position.
func newEntryBuilder(name func(*dialect.Table) tableName, after Position, epoch uint64, at time.Time, emit func(Part) error) *entryBuilder {
	return &entryBuilder{name: name, prev: after.anchor(), epoch: epoch, lsn: after.LSN + 1, at: at, emit: emit}
}

// empty reports whether nothing has been added.
func (b *entryBuilder) empty() bool {
	return b.total == 0 && len(b.body.Changes) == 0 && len(b.body.Schema) == 0 && len(b.body.Batches) == 0
}

// change returns the change that holds what is added of a table.
func (b *entryBuilder) change(t *dialect.Table) *Change {
	if b.current == nil || b.table != t {
		b.table = t
		name := b.name(t)
		b.current = &Change{Database: name.database, Table: name.table, Columns: t.Stored, Key: t.Key}
		b.body.Changes = append(b.body.Changes, b.current)
	}
	return b.current
}

// add appends the state of a row. It keeps none of the row's slices.
func (b *entryBuilder) add(t *dialect.Table, r dialect.Row) error {
	c := b.change(t)
	if r.Values == nil {
		before := len(c.Keys)
		c.Keys = wire.AppendRow(c.Keys, r.Key)
		c.Absent++
		b.size += len(c.Keys) - before
	} else {
		before := len(c.Rows)
		c.Rows = wire.AppendRow(c.Rows, r.Values)
		c.Present++
		b.size += len(c.Rows) - before
	}
	b.records++
	b.total++
	if b.size >= partBytes {
		b.body.Mixed = true
		return b.flush(false)
	}
	return nil
}

func (b *entryBuilder) flush(final bool) error {
	if b.parts > 0 {
		b.body.Mixed = true
	}
	payload, err := wire.Marshal(&b.body)
	if err != nil {
		return fmt.Errorf("ddb: encode entry %d: %w", b.lsn, err)
	}
	p := Part{Epoch: b.epoch, LSN: b.lsn, Index: b.parts, Final: final, At: b.at.UnixNano(), Records: b.records, Payload: payload}
	p.Hash = p.chain(b.prev.Hash)
	if err := b.emit(p); err != nil {
		return err
	}
	b.prev = p
	b.parts++
	rebuild := b.body.Rebuild
	b.body, b.current, b.table, b.size, b.records = body{Rebuild: rebuild}, nil, nil, 0, 0
	return nil
}

// finish closes the entry and returns the position after it.
func (b *entryBuilder) finish() (Position, error) {
	if err := b.flush(true); err != nil {
		return Position{}, err
	}
	return b.prev.Position(), nil
}

// sameColumns checks that the change fits the table as it stands here.
func (c *Change) sameColumns(t *dialect.Table) error {
	if slices.Equal(c.Columns, t.Stored) && slices.Equal(c.Key, t.Key) {
		return nil
	}
	return fmt.Errorf("%w: table %s has columns %v key %v here, the entry has %v key %v",
		dialect.ErrSchemaMismatch, t.Name, t.Stored, t.Key, c.Columns, c.Key)
}
