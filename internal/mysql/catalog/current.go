package catalog

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// Current is the catalogue as it was read last.
type Current struct {
	fresh func(context.Context, dialect.Querier) (*Catalog, error) // reads it
	last  atomic.Pointer[Catalog]
}

// NewCurrent returns a catalogue that fresh reads.
func NewCurrent(fresh func(context.Context, dialect.Querier) (*Catalog, error)) *Current {
	return &Current{fresh: fresh}
}

// Last returns what was read or set last, nil if nothing was yet.
func (k *Current) Last() *Catalog { return k.last.Load() }

// Set makes c the current one.
func (k *Current) Set(c *Catalog) { k.last.Store(c) }

// Read reads the catalogue anew.
func (k *Current) Read(ctx context.Context, q dialect.Querier) (*Catalog, error) {
	c, err := k.fresh(ctx, q)
	if err != nil {
		return nil, err
	}
	k.last.Store(c)
	return c, nil
}

// Table returns what the catalogue knows of t, which must not have changed since. It reads the catalogue if nobody has yet.
func (k *Current) Table(ctx context.Context, q dialect.Querier, t *dialect.Table) (*Table, error) {
	c := k.last.Load()
	if c == nil {
		var err error
		if c, err = k.Read(ctx, q); err != nil {
			return nil, err
		}
	}
	i := c.Tables[NameOf(t)]
	if i == nil || i.Fingerprint != t.Fingerprint {
		return nil, fmt.Errorf("table %s.%s was changed: %w", t.Database, t.Name, dialect.ErrSchemaMismatch)
	}
	return i, nil
}
