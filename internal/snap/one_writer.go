package snap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// Statements that share a commit are transactions of their own all the same, so each makes a
// batch. To read the notes after every one of them would cost more than the statements; so
// it is only noted how far the outboxes have come, and the notes are read once, before the commit. What
// a row was between two statements is the previous image that the later one has noted.

// manyNotes is how many notes a statement may leave for later: the rows of those that are read together are in memory.
const manyNotes = 4096

// errAlone makes the writer run a statement again in a transaction of its own.
var errAlone = errors.New("the statement changes too many rows to share a commit")

// oneWriter is the recorder of a database with one writer: what a statement has changed becomes a batch in its own
// transaction. Its goroutine is the writer's.
type oneWriter struct {
	s     *Snap
	group *write.Group
	notes dialect.NoteReader // nil where the notes are read after each statement
	marks marks
}

func newOneWriter(s *Snap) *oneWriter {
	o := &oneWriter{s: s}
	o.notes, _ = s.node.Engine.(dialect.NoteReader)
	o.group = write.NewGroup(s.node, s.cfg.BusyTimeout, write.Hooks{Admit: o.admit, Each: o.each, Commit: o.beforeCommit, Number: s.KeyNumber})
	return o
}

func (o *oneWriter) run(ctx context.Context) {
	var poll sync.WaitGroup
	poll.Go(func() { o.poll(ctx) })
	o.group.Run(ctx)
	poll.Wait()
}

func (o *oneWriter) alone(ctx context.Context) (release func(), err error) {
	for {
		ready, end, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var task sync.WaitGroup
		task.Go(func() {
			finished <- o.group.With(ctx, func(*sql.Conn) error {
				close(ready)
				<-end
				return nil
			})
		})
		select {
		case <-ready:
			return func() { close(end); task.Wait() }, nil
		case err := <-finished:
			task.Wait()
			if !errors.Is(err, fault.ErrBusy) || ctx.Err() != nil {
				return nil, err
			}
			// A local transaction is open for long: entries wait for it.
		}
	}
}

func (o *oneWriter) catchUp(ctx context.Context, c *sql.Conn) ([]*madeBatch, error) {
	return o.s.make(ctx, o.s.node.Quick(c), true)
}

// differing leaves out none: the writer finds out by writing.
func (o *oneWriter) differing(_ context.Context, _ []pendingKeys, _ dialect.Querier, _ *dialect.Table, rows []dialect.Row) ([]dialect.Row, error) {
	return rows, nil
}

// overtaken has nothing to show: nobody writes while another transaction does.
func (o *oneWriter) overtaken(context.Context, *change, *sql.Conn, *dialect.Table, []dialect.Row, []dialect.Row) error {
	return nil
}

func (o *oneWriter) drop(ctx context.Context, q dialect.Querier, list []*madeBatch) error {
	_, err := q.ExecContext(ctx, "DELETE FROM "+o.s.queue.table+" WHERE id <= ?", list[len(list)-1].id)
	return err
}

func (o *oneWriter) tablesChanged() {
	o.group.ForgetStatements() // its goroutine waits for us (N6)
}

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
func (o *oneWriter) look(ctx context.Context, q dialect.Querier, p dialect.Program) ([]int64, error) {
	m := &o.marks
	few, all := m.of(p)
	if all {
		m.partly = false
		return o.notes.Ends(ctx, q, m.tables)
	}
	m.partly = true
	ends := slices.Clone(m.ends[len(m.ends)-1])
	for _, i := range few {
		end, err := o.notes.Ends(ctx, q, m.tables[i:i+1])
		if err != nil {
			return nil, err
		}
		ends[i] = end[0]
	}
	return ends, nil
}

// each makes a batch of what the statement, or the transaction, has changed (N1), now or before the commit.
func (o *oneWriter) each(ctx context.Context, c *sql.Conn, p dialect.Program) error {
	q := o.s.node.Quick(c)
	if o.notes == nil {
		made, err := o.s.make(ctx, q, false)
		o.s.queue.stage(made)
		return err
	}
	m := &o.marks
	if cat := o.s.node.Tables.Load(); m.cat != cat {
		*m = marks{cat: cat, tables: cat.Replicated()}
	}
	ends, err := o.look(ctx, q, p)
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
		return o.gatherMarks(ctx, q)
	}
	return nil
}

// gatherMarks makes the batches of the statements that wait.
func (o *oneWriter) gatherMarks(ctx context.Context, q dialect.Querier) error {
	m := &o.marks
	if len(m.ends) == 0 {
		return nil
	}
	last := len(m.ends) - 1
	if m.partly { // what nobody could know of is the last one's
		var err error
		if m.ends[last], err = o.look(ctx, q, dialect.Program{}); err != nil {
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
			err = batch.GatherTable(ctx, o.s.node, q, t, func(t *dialect.Table, r dialect.Row) error { return list[last].Add(o.s.node, t, r) })
		} else {
			err = o.gatherNotes(ctx, q, i, list)
		}
		if err != nil {
			return err
		}
	}
	m.ends = m.ends[:0]
	made, err := o.s.store(ctx, q, list)
	o.s.queue.stage(made)
	return err
}

// rowImages is a row as one statement found it and left it.
type rowImages struct {
	at int // which statement
	dialect.Row
}

// gatherNotes distributes the notes of a table over the batches of the statements that made them.
func (o *oneWriter) gatherNotes(ctx context.Context, q dialect.Querier, table int, list []*batch.Batch) error {
	t := o.marks.tables[table]
	latest := make(map[string]*rowImages)
	var rows []*rowImages
	var buf []byte
	at := 0
	notes, err := o.notes.CollectNotes(ctx, q, t, func(id int64, known bool, r dialect.Row) error {
		for at < len(list)-1 && id > o.marks.ends[at][table] {
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
		return fmt.Errorf("read changes of table %s: %w", o.s.node.Name(t), err)
	}
	for _, r := range rows {
		if err := list[r.at].Add(o.s.node, t, r.Row); err != nil {
			return err
		}
	}
	return batch.ClearNotes(ctx, o.s.node, q, notes)
}

// admit begins a transaction of the writer's, of which nothing is marked yet, unless the snap takes no writes.
func (o *oneWriter) admit() error {
	o.marks.ends = o.marks.ends[:0]
	return o.s.admit()
}

// beforeCommit makes the batches that are not made yet, and returns what makes them count once they are committed (N5).
func (o *oneWriter) beforeCommit(ctx context.Context, c *sql.Conn) (func() journal.Position, error) {
	if err := o.gatherMarks(ctx, o.s.node.Quick(c)); err != nil {
		return nil, err
	}
	return func() journal.Position {
		o.s.queue.commitStaged()
		watch.Signal(o.s.more)
		return journal.Position{}
	}, nil
}
