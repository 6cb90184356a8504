package snap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/internal/write"
)

// Statements that share a commit are transactions of their own all the same, so each makes a
// batch. To read the notes after every one of them would cost more than the statements; so
// it is only noted how far the outboxes have come, and the notes are read once, before the commit. What
// a row was between two statements is the previous image that the later one has noted.

// manyNotes is how many notes a statement may leave for later: the rows of those that are read together are in memory.
const manyNotes = 4096

// errAlone makes the writer run a statement again in a transaction of its own.
var errAlone = errors.New("the statement changes too many rows to share a commit")

// marks says which notes are which statement's.
type marks struct {
	cat    *store.Catalogue
	tables []*dialect.Table
	ends   [][]int64 // for each statement that has changed something, the last note of each table after it
	partly bool      // after the last of them not all tables have been looked at

	few map[*int64][]int // by the outboxes that a statement may write to: which of the tables have them
}

// of returns the tables whose outboxes the program may write to, as indexes; all is true for any.
func (m *marks) of(p dialect.Program) (few []int, all bool) {
	if !p.Known || len(m.ends) == 0 { // the first look is at all, as other clients may have written before
		return nil, true
	}
	if len(p.Outboxes) == 0 {
		return nil, false
	}
	few, known := m.few[&p.Outboxes[0]]
	if !known {
		for i, t := range m.tables {
			if slices.Contains(p.Outboxes, t.ID) {
				few = append(few, i)
			}
		}
		if m.few == nil || len(m.few) > write.StmtCache {
			m.few = make(map[*int64][]int)
		}
		m.few[&p.Outboxes[0]] = few
	}
	return few, false
}

// look reads how far the outboxes have come that the program may have written to.
func (s *Snap) look(ctx context.Context, q dialect.Querier, p dialect.Program) ([]int64, error) {
	m := &s.marks
	few, all := m.of(p)
	if all {
		m.partly = false
		return s.notes.Ends(ctx, q, m.tables)
	}
	m.partly = true
	ends := slices.Clone(m.ends[len(m.ends)-1])
	for _, i := range few {
		end, err := s.notes.Ends(ctx, q, m.tables[i:i+1])
		if err != nil {
			return nil, err
		}
		ends[i] = end[0]
	}
	return ends, nil
}

// each makes a batch of what the statement, or the transaction, has changed (N1), now or before the commit.
func (s *Snap) each(ctx context.Context, c *sql.Conn, p dialect.Program) error {
	q := s.node.Quick(c)
	if s.notes == nil {
		made, err := s.make(ctx, q, false)
		s.queue.stage(made)
		return err
	}
	m := &s.marks
	if cat := s.node.Tables.Load(); m.cat != cat {
		*m = marks{cat: cat, tables: cat.Replicated()}
	}
	ends, err := s.look(ctx, q, p)
	if err != nil {
		return err
	}
	grown, exact := int64(0), true
	for i, end := range ends {
		before := int64(0)
		if len(m.ends) > 0 {
			before = m.ends[len(m.ends)-1][i]
		}
		if end > before {
			grown += end - before
			exact = exact && m.tables[i].ExactKey
		}
	}
	if grown == 0 {
		return nil
	}
	m.ends = append(m.ends, ends)
	switch {
	case grown > manyNotes && len(m.ends) > 1:
		return errAlone
	case grown > manyNotes || !exact: // only the database knows which notes are about the same row
		return s.gatherMarks(ctx, q)
	}
	return nil
}

// gatherMarks makes the batches of the statements that wait.
func (s *Snap) gatherMarks(ctx context.Context, q dialect.Querier) error {
	m := &s.marks
	if len(m.ends) == 0 {
		return nil
	}
	last := len(m.ends) - 1
	if m.partly { // what nobody could know of is the last one's
		var err error
		if m.ends[last], err = s.look(ctx, q, dialect.Program{}); err != nil {
			return err
		}
	}
	list := make([]*batch.Batch, len(m.ends))
	for i := range list {
		list[i] = new(batch.Batch)
	}
	for i, t := range m.tables {
		if m.ends[last][i] == 0 {
			continue
		}
		var err error
		if last == 0 && m.ends[last][i] > manyNotes || !t.ExactKey { // all of them are the last one's
			err = batch.GatherTable(ctx, s.node, q, t, func(t *dialect.Table, r dialect.Row) error { return list[last].Add(s.node, t, r) })
		} else {
			err = s.gatherNotes(ctx, q, i, list)
		}
		if err != nil {
			return err
		}
	}
	m.ends = m.ends[:0]
	made, err := s.store(ctx, q, list)
	s.queue.stage(made)
	return err
}

// rowImages is a row as one statement found it and left it.
type rowImages struct {
	at int // which statement
	dialect.Row
}

// gatherNotes distributes the notes of a table over the batches of the statements that made them.
func (s *Snap) gatherNotes(ctx context.Context, q dialect.Querier, table int, list []*batch.Batch) error {
	t := s.marks.tables[table]
	latest := make(map[string]*rowImages)
	var rows []*rowImages
	var buf []byte
	at := 0
	notes, err := s.notes.CollectNotes(ctx, q, t, func(id int64, known bool, r dialect.Row) error {
		for at < len(list)-1 && id > s.marks.ends[at][table] {
			at++
		}
		if !known {
			return nil
		}
		buf = wire.AppendRow(buf[:0], r.Key)
		base := slices.Clone(r.Base)
		if was := latest[string(buf)]; was != nil {
			if was.at == at {
				return nil // the first note of a statement has the image before it
			}
			was.Values = base
		}
		row := &rowImages{at, dialect.Row{Key: slices.Clone(r.Key), Base: base, Values: slices.Clone(r.Values)}}
		latest[string(buf)], rows = row, append(rows, row)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read changes of table %s: %w", s.node.Name(t), err)
	}
	for _, r := range rows {
		if err := list[r.at].Add(s.node, t, r.Row); err != nil {
			return err
		}
	}
	return batch.ClearNotes(ctx, s.node, q, notes)
}

// make stores a batch of what q's transaction has changed; none if nothing has. What has been committed by clients
// that bypass ddb cannot be refused any more: what is too large for one batch makes several.
func (s *Snap) make(ctx context.Context, q dialect.Querier, committed bool) ([]*madeBatch, error) {
	list := []*batch.Batch{new(batch.Batch)}
	most := math.MaxInt
	if committed {
		most = batch.MaxBytes
	}
	err := batch.Gather(ctx, s.node, q, func(t *dialect.Table, r dialect.Row) error { return s.addPart(&list, t, r, most) })
	if err != nil {
		return nil, err
	}
	return s.store(ctx, q, list)
}

// addPart adds a row to the last of the batches of a transaction, or to another if that would be larger than most.
func (s *Snap) addPart(list *[]*batch.Batch, t *dialect.Table, r dialect.Row, most int) error {
	b := (*list)[len(*list)-1]
	if b.Records() > 0 && b.Outgrows(r, most) {
		s.node.Log.Warn("a local transaction that bypassed ddb is too large for one batch; it is exchanged in parts", "bytes", b.Size())
		b = new(batch.Batch)
		*list = append(*list, b)
	}
	return b.Add(s.node, t, r)
}

// store puts the batches that hold anything into the queue.
// Those before stand in the same transaction.
func (s *Snap) store(ctx context.Context, q dialect.Querier, list []*batch.Batch, before ...*madeBatch) ([]*madeBatch, error) {
	pos, applied := s.f.Stands()
	heard := s.heard
	if !applied.IsZero() {
		heard = applied.UnixNano()
	}
	now := time.Now()
	made := s.queue.draft(list, before, now)
	for _, m := range made {
		m.batch.Clock, m.batch.Wall, m.batch.Seen, m.batch.Heard = m.at, now.UnixNano(), pos.LSN, heard
	}
	if err := s.queue.insert(ctx, q, made); err != nil {
		return nil, err
	}
	return made, nil
}
