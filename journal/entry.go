package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
)

// Limits of what an entry is cut into, in bytes and rows. They bound memory, not what can be replicated.
const (
	PartBytes    = 1 << 20 // a part is closed when its rows exceed this
	PartOverhead = 128     // what a part costs beside its payload, for budgets
	ReadBytes    = 4 << 20 // of parts that are read at once
	ApplyRows    = 2000    // rows handed to Dialect.Apply at once
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

// Body is the payload of a part.
type Body struct {
	Changes []*Change           `cbor:"1,keyasint,omitempty"`
	Schema  []dialect.Statement `cbor:"2,keyasint,omitempty"` // run before the changes
	// Batches holds, per snap, the highest batch that the entry includes.
	Batches map[string]uint64 `cbor:"3,keyasint,omitempty"`
	// Mixed: rows of other parts may hold unique values that rows here are about to take.
	Mixed bool `cbor:"4,keyasint,omitempty"`
	// Rebuild: the entry brings whole tables; readers should not look meanwhile.
	Rebuild bool `cbor:"5,keyasint,omitempty"`
}

// Decode returns what a part holds. Its error wraps ErrDamaged.
func Decode(p *Part) (*Body, error) {
	b := new(Body)
	if err := wire.DecodeInto(p.Payload, b); err != nil {
		return nil, fmt.Errorf("entry %d part %d: %w", p.LSN, p.Index, err)
	}
	return b, nil
}

// Pick picks the key from stored values.
func Pick(values []any, key []int) []any {
	k := make([]any, len(key))
	for i, c := range key {
		k[i] = values[c]
	}
	return k
}

// Each calls f for every row state of the change: the absent ones first, so that
// a unique value is free before another row takes it. The row's slices are f's to keep.
func (c *Change) Each(f func(dialect.Row) error) error {
	rest := c.Keys
	for range c.Absent {
		k := make([]any, len(c.Key))
		var err error
		if rest, err = wire.DecodeRow(rest, len(k), k); err != nil {
			return fmt.Errorf("%w: keys of %s: %w", fault.ErrDamaged, c.Table, err)
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
			return fmt.Errorf("%w: rows of %s: %w", fault.ErrDamaged, c.Table, err)
		}
		if err := f(dialect.Row{Key: Pick(v, c.Key), Values: v}); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fault.Damaged("%d bytes too many in the rows of %s", len(rest), c.Table)
	}
	return nil
}

// Entry is an entry that is being made: it cuts itself into parts and passes each on as soon as
// it is full, so that its memory does not grow with what it holds.
type Entry struct {
	name    func(*dialect.Table) TableName // as entries name tables
	prev    Part                           // the part before the next one
	epoch   uint64
	lsn     LSN
	at      time.Time
	emit    func(Part) error
	Body    Body
	current *Change
	table   *dialect.Table
	size    int
	records int
	parts   int
	total   int
}

// Begin starts the entry that follows the position.
func Begin(name func(*dialect.Table) TableName, after Position, epoch uint64, at time.Time, emit func(Part) error) *Entry {
	return &Entry{name: name, prev: after.Anchor(), epoch: epoch, lsn: after.LSN + 1, at: at, emit: emit}
}

// Empty reports whether nothing has been added.
func (e *Entry) Empty() bool {
	return e.total == 0 && len(e.Body.Changes) == 0 && len(e.Body.Schema) == 0 && len(e.Body.Batches) == 0
}

// Change returns the change that holds what is added of a table.
func (e *Entry) Change(t *dialect.Table) *Change {
	if e.current == nil || e.table != t {
		e.table = t
		name := e.name(t)
		e.current = &Change{Database: name.Database, Table: name.Table, Columns: t.Stored, Key: t.Key}
		e.Body.Changes = append(e.Body.Changes, e.current)
	}
	return e.current
}

// Add appends the state of a row. It keeps none of the row's slices.
func (e *Entry) Add(t *dialect.Table, r dialect.Row) error {
	c := e.Change(t)
	if r.Values == nil {
		before := len(c.Keys)
		c.Keys = wire.AppendRow(c.Keys, r.Key)
		c.Absent++
		e.size += len(c.Keys) - before
	} else {
		before := len(c.Rows)
		c.Rows = wire.AppendRow(c.Rows, r.Values)
		c.Present++
		e.size += len(c.Rows) - before
	}
	e.records++
	e.total++
	if e.size >= PartBytes {
		e.Body.Mixed = true
		return e.flush(false)
	}
	return nil
}

func (e *Entry) flush(final bool) error {
	if e.parts > 0 {
		e.Body.Mixed = true
	}
	payload, err := wire.Marshal(&e.Body)
	if err != nil {
		return fmt.Errorf("encode entry %d: %w", e.lsn, err)
	}
	p := Part{Epoch: e.epoch, LSN: e.lsn, Index: e.parts, Final: final, At: e.at.UnixNano(), Records: e.records, Payload: payload}
	p.Hash = p.Chain(e.prev.Hash)
	if err := e.emit(p); err != nil {
		return err
	}
	e.prev = p
	e.parts++
	rebuild := e.Body.Rebuild
	e.Body, e.current, e.table, e.size, e.records = Body{Rebuild: rebuild}, nil, nil, 0, 0
	return nil
}

// Finish closes the entry and returns the position after it.
func (e *Entry) Finish() (Position, error) {
	if err := e.flush(true); err != nil {
		return Position{}, err
	}
	return e.prev.Position(), nil
}

// SameColumns checks that the change fits the table as it stands here.
func (c *Change) SameColumns(t *dialect.Table) error {
	if slices.Equal(c.Columns, t.Stored) && slices.Equal(c.Key, t.Key) {
		return nil
	}
	return fmt.Errorf("%w: table %s has columns %v key %v here, the entry has %v key %v",
		dialect.ErrSchemaMismatch, t.Name, t.Stored, t.Key, c.Columns, c.Key)
}

// CloneValues copies values that may not outlive a call.
func CloneValues(values []any) []any {
	if values == nil {
		return nil
	}
	c := make([]any, len(values))
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = append([]byte{}, b...)
		}
		c[i] = v
	}
	return c
}
