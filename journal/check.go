package journal

import (
	"math"
	"slices"

	"github.com/ddb-project/ddb/internal/fault"
)

// Check refuses a position that no journal can name.
func (p Position) Check() error {
	if p.LSN > MaxLSN || p.Epoch > math.MaxInt64 {
		return fault.Damaged("position %v", p)
	}
	return nil
}

// Check refuses a part that no journal can hold. An anchor is made by a node itself, and comes from nobody.
func (p *Part) Check() error {
	if p.LSN == 0 || p.LSN > MaxLSN || p.Epoch > math.MaxInt64 || p.Index < 0 || p.Index >= LastPart || p.Records < 0 {
		return fault.Damaged("entry %d of epoch %d, part %d, with %d records", p.LSN, p.Epoch, p.Index, p.Records)
	}
	return nil
}

// Check refuses what no master makes.
func (b *Body) Check() error {
	for queue, number := range b.Batches {
		if queue == "" || number > MaxBatch {
			return fault.Damaged("batch %d of snap %q", number, queue)
		}
	}
	return checkChanges(b.Changes)
}

func checkChanges(list []*Change) error {
	for _, c := range list {
		if c == nil {
			return fault.Damaged("changes of no table")
		}
		if err := c.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check leaves the rows to Each, but sees to it that they end: every row takes a byte at least.
func (c *Change) Check() error {
	if c.Present < 0 || c.Present > len(c.Rows) || c.Absent < 0 || c.Absent > len(c.Keys) {
		return fault.Damaged("table %s: %d rows in %d bytes, %d keys in %d bytes", c.Table, c.Present, len(c.Rows), c.Absent, len(c.Keys))
	}
	return CheckKey(c.Table, c.Key, c.Columns)
}

// CheckKey checks which columns of a table are its key.
func CheckKey(table string, key []int, columns []string) error {
	if len(key) == 0 || len(key) > len(columns) || slices.ContainsFunc(key, func(k int) bool { return k < 0 || k >= len(columns) }) {
		return fault.Damaged("table %s with the key %v of %d columns", table, key, len(columns))
	}
	return nil
}
