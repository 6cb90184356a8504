// Package testfuzz has what fuzz targets of decoders share: what a decoder may answer to bytes that come from another node, or from a disk.
package testfuzz

import (
	"errors"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
)

// Seed encodes a value for a corpus.
func Seed(f *testing.F, v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// RefusedWell fails the test if a decoder's error does not say that the peer or the disk has damaged something.
func RefusedWell(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, fault.ErrDamaged) {
		t.Errorf("%v does not wrap ErrDamaged", err)
	}
	return err != nil
}

// RowsOf returns the rows that each emits, which cannot be more than there are bytes.
func RowsOf(t *testing.T, bytes int, each func(func(dialect.Row) error) error, columns, key int) (list []dialect.Row) {
	t.Helper()
	err := each(func(r dialect.Row) error {
		for _, image := range [][]any{r.Base, r.Values} {
			if image != nil && len(image) != columns {
				t.Fatalf("a row of %d values for %d columns", len(image), columns)
			}
		}
		if len(r.Key) != key || len(list) >= bytes {
			t.Fatalf("a key of %d values for %d, or row %d in %d bytes", len(r.Key), key, len(list), bytes)
		}
		list = append(list, r)
		return nil
	})
	RefusedWell(t, err)
	return list
}
