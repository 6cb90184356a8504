package snap

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// notePasses make the batches of a snap whose database has many writers. A pass sees whole transactions only, and runs
// alone: beside writers, but beside no other pass and no entry (N6).
type notePasses struct {
	transactions dialect.TransactionReader

	passes write.PassConn // held before turns
	aside  write.PassConn // of who has the turn alone

	wake chan struct{} // capacity 1
}

const (
	// passNotes is how many notes a pass reads at a time.
	passNotes = 20_000
	// mostRest is the longest pause between two passes while the link is up and writes go on.
	mostRest = 10 * time.Millisecond
	// lastPatience is how long what must be done before the node closes, or goes on, may take.
	lastPatience = 5 * time.Second
	// offlineRest is the pause between two passes while the link is down and writes go on: nobody waits for the batches.
	offlineRest = 400 * time.Millisecond
)

// Noted counts a local write that may have been committed, and asks for a pass.
func (s *Snap) Noted() {
	s.queue.written.Add(1)
	watch.Signal(s.batcher.wake)
}

// runPasses makes passes until ctx ends: when woken, and now and then for the sake of clients that bypass
// ddb. The last one is for what was written before the node closed.
func (s *Snap) runPasses(ctx context.Context) {
	tick := time.NewTicker(pollPause * s.cfg.PollInterval)
	defer tick.Stop()
	var failed string
	for open := true; open; {
		select {
		case <-s.batcher.wake:
		case <-tick.C:
		case <-ctx.Done():
			open = false
			continue
		}
		start := time.Now()
		err := s.pass(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			failed = ""
		case err.Error() != failed:
			failed = err.Error()
			s.node.Log.Error("local writes are kept but not exchanged at present", "error", err)
		}
		if s.queue.unmade() > 0 { // fewer passes make as many batches
			rest := min(4*time.Since(start), mostRest)
			if !s.f.Linked() {
				rest = offlineRest
			}
			watch.Sleep(ctx, rest)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	if s.queue.unmade() > 0 {
		s.pass(last)
	}
	s.batcher.passes.Close(s.node)
	s.batcher.aside.Close(s.node)
}

// pass makes batches of what was committed before it.
func (s *Snap) pass(ctx context.Context) error {
	return s.batcher.passes.With(ctx, s.node, func(c *sql.Conn) error {
		done, err := s.turns.write(ctx)
		if err != nil {
			return err
		}
		defer done()
		if !s.f.Readable() {
			return nil
		}
		before := s.queue.written.Load()
		if before == s.queue.covered.Load() { // a glance is cheaper than a transaction
			noted, err := s.node.Engine.Noted(ctx, c, s.node.Tables.Load().Replicated())
			if err != nil || len(noted) == 0 {
				return err
			}
		}
		if err := s.queue.sure(ctx); err != nil {
			return err
		}
		if _, err := s.passOn(ctx, c); err != nil {
			return err
		}
		s.queue.covered.Store(before)
		return nil
	})
}

// passOn is pass for its owner. It returns the batches made.
func (s *Snap) passOn(ctx context.Context, c *sql.Conn) (list []*batch.Batch, err error) {
	var made []*madeBatch
	err = s.node.TxOn(ctx, c, dialect.Pass, func() (err error) {
		made, err = s.gatherTransactions(ctx, c)
		return err
	})
	if err != nil {
		s.queue.doubt() // what stands is not known: the queue tells
		return nil, err
	}
	for _, m := range made {
		list = append(list, m.batch)
	}
	s.queue.add(made)
	watch.Signal(s.more)
	return list, nil
}

// passAside is a pass for who has the turn alone, if any of the tables has notes: a transaction of its own, which sees
// nothing of the one that is being applied.
func (s *Snap) passAside(ctx context.Context, tables []*dialect.Table) (made []*batch.Batch, err error) {
	err = s.batcher.aside.With(ctx, s.node, func(c *sql.Conn) error {
		noted, err := s.node.Engine.Noted(ctx, c, tables)
		if err != nil || len(noted) == 0 {
			return err
		}
		made, err = s.passOn(ctx, c)
		return err
	})
	return made, err
}

// overtaken shows those of rows again that clients which bypass ddb have changed before they were written, seen by no
// pass (N6). To write a row is to lock it: who comes later waits, and notes what he found then. master are the
// rows if they are the master's (N4), nil if they are local changes.
func (st *stay) overtaken(ctx context.Context, c *sql.Conn, t *dialect.Table, rows, master []dialect.Row) error {
	s := st.s
	if s.w != nil || len(rows) == 0 || s.empty.Load() {
		return nil
	}
	made, err := s.passAside(ctx, []*dialect.Table{t})
	if err != nil || len(made) == 0 {
		return err
	}
	latest := make(map[string]dialect.Row)
	for _, b := range made {
		for _, change := range b.Changes {
			if (journal.TableName{Database: change.Database, Table: change.Table}) != s.node.Name(t) {
				continue
			}
			err := change.Each(func(r dialect.Row) error {
				latest[string(wire.AppendRow(nil, r.Key))] = dialect.Row{Key: r.Key, Values: r.Values}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	if _, _, err := s.queue.settled(&st.change, s.node.Name(t), master); err != nil { // notes what is withheld
		return err
	}
	var again []dialect.Row
	for _, r := range rows {
		if is, ok := latest[string(wire.AppendRow(nil, r.Key))]; ok {
			again = append(again, is)
		}
	}
	if len(again) == 0 {
		return nil
	}
	return s.show(ctx, c, t, again)
}

// gatherTransactions stores a batch of each transaction whose notes q sees, and clears the notes. What is too large for
// one batch makes several: only a client that bypasses ddb, or a user's trigger, can have committed it; see Weigh.
func (s *Snap) gatherTransactions(ctx context.Context, q dialect.Querier) (made []*madeBatch, err error) {
	for more := true; more; {
		var noted []*dialect.Table
		if noted, err = s.node.Engine.Noted(ctx, q, s.node.Tables.Load().Replicated()); err != nil || len(noted) == 0 {
			return made, err
		}
		var list [][]*batch.Batch // by transaction
		var notes []dialect.Notes
		notes, more, err = s.batcher.transactions.CollectTransactions(ctx, q, noted, passNotes, func(tx int, t *dialect.Table, r dialect.Row) error {
			for len(list) <= tx {
				list = append(list, []*batch.Batch{new(batch.Batch)})
			}
			return s.addPart(&list[tx], t, r, s.mostBatch())
		})
		for _, n := range notes {
			if err == nil {
				err = batch.ClearNotes(ctx, s.node, q, n)
			}
		}
		if err != nil {
			return made, fmt.Errorf("node %s: read local changes: %w", s.node.ID, err)
		}
		var batches []*batch.Batch
		for _, parts := range list {
			batches = append(batches, parts...)
		}
		stored, err := s.store(ctx, q, batches, made...)
		if err != nil {
			return made, err
		}
		made = append(made, stored...)
	}
	return made, nil
}

// mostBatch is how large a batch may be.
func (s *Snap) mostBatch() int { return min(batch.MaxBytes, s.batcher.transactions.MostBytes()) }
