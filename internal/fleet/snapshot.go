package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// shipped is what a snapshot brings: the schema, and the entry after which it is.
type shipped struct {
	head link.SnapshotHead
	rec  schema.Record
	cat  *store.Catalogue
}

// beginSnapshot finds what a snapshot is to bring, or whether it can go on at from.
func (f *Sender) beginSnapshot(ctx context.Context, from *link.Cursor) (sh shipped, err error) {
	fl := f.fleet
	err = fl.seq.Do(ctx, func(turn *sequence.Turn) error {
		c := turn.Conn
		// Make known what another client has just done to tables, or it would be sent twice.
		turn.LookSoon()
		if err := turn.Look(ctx); err != nil {
			return err
		}
		var err error
		sh.cat = fl.node.Tables.Load() // no schema statement runs between this and the objects
		if sh.rec, _, err = store.Value[schema.Record](ctx, fl.node, c, store.MetaSchema); err != nil {
			return err
		}
		sh.head.Base = fl.seq.State.Load().Pos
		if from != nil && fl.Resumable(ctx, from, sh.rec, sh.cat) {
			sh.head.Base, sh.head.Resume = from.Base, true
		} else if sh.head.Objects, err = fl.node.Engine.Objects(ctx, c); err != nil {
			return fmt.Errorf("snapshot: read schema: %w", err)
		}
		sh.head.Objects, _ = schema.Shippable(fl.node, sh.cat, sh.head.Objects)
		if e, ok := fl.node.Engine.(dialect.CounterLister); ok && !sh.head.Resume { // higher ones follow with the entries after base
			list, err := e.Counters(ctx, c)
			if err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
			sh.head.Objects = append(sh.head.Objects, list...)
		}
		f.mu.Lock()
		f.base = max(sh.head.Base.LSN, 1)
		f.mu.Unlock()
		return nil
	})
	return sh, err
}

// sendSnapshot copies every table, chunk by chunk in the order of the keys, while the
// master goes on: each chunk is as of its own moment, and the entries after base,
// which follow, make the copy consistent, since they state what rows are. So no
// transaction stays open, and a follower that was cut off goes on where it was.
func (f *Sender) sendSnapshot(ctx context.Context, l *Connection, from *link.Cursor) (journal.LSN, error) {
	fl := f.fleet
	sh, err := f.beginSnapshot(ctx, from)
	if err != nil {
		return 0, err
	}
	head := sh.head
	var file string
	if !head.Resume {
		from = &link.Cursor{}
		if file, err = f.snapshotFile(ctx, sh.cat); err != nil {
			return 0, err
		}
	}
	if file != "" {
		defer os.RemoveAll(filepath.Dir(file))
		head.File = true
	}
	if !head.File {
		head.Total = estimateRows(ctx, fl.node, sh.cat.Replicated())
	}
	if err := l.Write(link.MsgSnapshot, &head); err != nil {
		return 0, err
	}
	if head.File {
		err = f.sendFile(ctx, l, file)
	} else {
		err = f.sendTables(ctx, l, sh.cat, from)
	}
	if err != nil {
		return 0, err
	}
	if err := fl.relistAll(ctx); err != nil {
		return 0, err
	}
	// What has committed by now is in an entry no later than through.
	if err := fl.seq.Pass(ctx); err != nil {
		return 0, err
	}
	through := fl.seq.State.Load().Pos.LSN
	// The copy is of one schema, which the record tells: ddb's own triggers count in the database's version.
	now, _, err := store.Value[schema.Record](ctx, fl.node, fl.node.DB, store.MetaSchema)
	if err != nil {
		return 0, err
	}
	if now.LSN != sh.rec.LSN {
		return 0, errors.New("the schema changed while a snapshot was taken; it starts again")
	}
	if err := f.note(ctx, l); err != nil {
		return 0, err
	}
	f.through.Store(uint64(through))
	return head.Base.LSN, l.Write(link.MsgSnapshotEnd, link.SnapshotEnd{Through: through})
}

// sendTables copies every table, from the cursor on.
func (f *Sender) sendTables(ctx context.Context, l *Connection, cat *store.Catalogue, from *link.Cursor) error {
	fl := f.fleet
	skip := from.Table != ""
	for _, t := range cat.Replicated() {
		name := fl.node.Name(t).Key()
		var after []any
		if skip {
			if name != from.Table {
				continue
			}
			skip, after = false, from.After
		}
		if err := f.sendTable(ctx, l, t, after); err != nil {
			return err
		}
	}
	return nil
}

// Resumable reports whether a snapshot can go on: the journal still reaches back to
// where it began, no schema statement came since, and the cursor, which comes from the follower, is at a row of a table.
func (fl *Fleet) Resumable(ctx context.Context, from *link.Cursor, rec schema.Record, cat *store.Catalogue) bool {
	if rec.LSN > from.Base.LSN || from.Base.LSN > fl.seq.State.Load().Pos.LSN {
		return false
	}
	at := func(t *dialect.Table) bool {
		return fl.node.Name(t).Key() == from.Table && len(from.After) == len(t.Key)
	}
	if from.Table != "" && !slices.ContainsFunc(cat.Replicated(), at) {
		return false
	}
	if from.Base.LSN == 0 {
		first, _, err := fl.node.Journal.Bounds(ctx)
		return err == nil && first.LSN <= 1
	}
	stood, err := fl.at(ctx, from.Base.LSN)
	return err == nil && stood == from.Base
}

// sendTable copies one table from behind the key.
func (f *Sender) sendTable(ctx context.Context, l *Connection, t *dialect.Table, after []any) error {
	chunk := newChunk(f.fleet.node, t)
	last := make([]any, len(t.Key)) // the key of the row read last
	flush := func() error {
		if chunk.Present == 0 {
			return nil
		}
		err := l.Write(link.MsgRows, link.SnapshotRows{Change: chunk, After: after})
		if chunk.Rows, chunk.Present = chunk.Rows[:0], 0; cap(chunk.Rows) > 2*journal.PartBytes {
			chunk.Rows = nil // a huge row's memory
		}
		return err
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		read := 0
		more, err = f.fleet.node.Engine.Scan(ctx, f.fleet.node.DB, t, after, link.ChunkRows, func(values []any) error {
			chunk.Rows = wire.AppendRow(chunk.Rows, values)
			chunk.Present++
			for i, c := range t.Key {
				last[i] = values[c]
			}
			read++
			if len(chunk.Rows) >= journal.PartBytes || chunk.Present >= link.ChunkRows {
				after = journal.CloneValues(last)
				return flush()
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("snapshot: table %s: %w", t.Name, err)
		}
		if read > 0 {
			after = journal.CloneValues(last)
		}
	}
	return flush()
}

func newChunk(n *store.Store, t *dialect.Table) *journal.Change {
	name := n.Name(t)
	return &journal.Change{Database: name.Database, Table: name.Table, Columns: t.Stored, Key: t.Key}
}

// relistAll makes the next entry list how far every snap's batches have come, for a follower that knows none of it.
func (fl *Fleet) relistAll(ctx context.Context) error {
	return fl.seq.Do(ctx, func(turn *sequence.Turn) error {
		turn.Relist()
		return nil
	})
}
