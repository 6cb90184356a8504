package snap

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
)

// ManyWriters is the recorder of a database with many writers. A program's statements run on connections of its own, and
// passes make batches of their notes. A pass sees whole transactions only, and runs alone: beside writers, but beside no other
// pass and no entry (N6).
type ManyWriters struct {
	s            *Snap
	transactions dialect.TransactionReader
	turns        turns
	own          write.Pool
	passes       write.PassConn // held before turns
	aside        write.PassConn // of who has the turn alone
	wake         chan struct{}  // capacity 1
}

// snapPool is how many connections a snap with many writers may need at once: for the lock, a pass, an entry, the pass
// beside it, the numbers of batches and a read.
const snapPool = 6

func newManyWriters(s *Snap) (*ManyWriters, error) {
	n := s.node
	transactions, ok := n.Engine.(dialect.TransactionReader)
	if !ok {
		return nil, fmt.Errorf("%w: a snap cannot be on dialect %q: its engine has many writers, but does not tell their transactions apart (CollectTransactions)", fault.ErrOptions, n.Dialect.Name())
	}
	if most := n.DB.Stats().MaxOpenConnections; most > 0 && most < snapPool {
		return nil, fmt.Errorf("%w: a snap needs at least %d connections to its database, better eight or more, and SetMaxOpenConns allows %d", fault.ErrOptions, snapPool, most)
	}
	return &ManyWriters{s: s, transactions: transactions, passes: write.NewPassConn(), aside: write.NewPassConn(), wake: make(chan struct{}, 1)}, nil
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
func (m *ManyWriters) Noted() {
	m.s.queue.written.Add(1)
	watch.Signal(m.wake)
}

// run makes passes until ctx ends: when woken, and now and then for the sake of clients that bypass
// ddb. The last one is for what was written before the node closed.
func (m *ManyWriters) run(ctx context.Context) {
	tick := time.NewTicker(pollPause * m.s.cfg.PollInterval)
	defer tick.Stop()
	var failed string
	for open := true; open; {
		select {
		case <-m.wake:
		case <-tick.C:
		case <-ctx.Done():
			open = false
			continue
		}
		start := time.Now()
		err := m.pass(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			failed = ""
		case err.Error() != failed:
			failed = err.Error()
			m.s.node.Log.Error("local writes are kept but not exchanged at present", "error", err)
		}
		if m.s.queue.unmade() > 0 { // fewer passes make as many batches
			rest := min(4*time.Since(start), mostRest)
			if !m.s.f.Linked() {
				rest = offlineRest
			}
			watch.Sleep(ctx, rest)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	if m.s.queue.unmade() > 0 {
		m.pass(last)
	}
	m.passes.Close(m.s.node)
	m.aside.Close(m.s.node)
}

// pass makes batches of what was committed before it.
func (m *ManyWriters) pass(ctx context.Context) error {
	return m.passes.With(ctx, m.s.node, func(c *sql.Conn) error {
		done, err := m.turns.write(ctx)
		if err != nil {
			return err
		}
		defer done()
		if !m.s.f.Readable() {
			return nil
		}
		before := m.s.queue.written.Load()
		if before == m.s.queue.covered.Load() { // a glance is cheaper than a transaction
			noted, err := m.s.node.Engine.Noted(ctx, c, m.s.node.Tables.Load().Replicated())
			if err != nil || len(noted) == 0 {
				return err
			}
		}
		if err := m.s.queue.sure(ctx); err != nil {
			return err
		}
		if _, err := m.passOn(ctx, c); err != nil {
			return err
		}
		m.s.queue.covered.Store(before)
		return nil
	})
}

// passOn is pass for its owner. It returns the batches made.
func (m *ManyWriters) passOn(ctx context.Context, c *sql.Conn) (list []*batch.Batch, err error) {
	var made []*madeBatch
	err = m.s.node.TxOn(ctx, c, dialect.Pass, func() (err error) {
		made, err = m.gatherTransactions(ctx, c)
		return err
	})
	if err != nil {
		m.s.queue.doubt() // what stands is not known: the queue tells
		return nil, err
	}
	for _, m := range made {
		list = append(list, m.batch)
	}
	m.s.queue.add(made)
	watch.Signal(m.s.more)
	return list, nil
}

// passAside is a pass for who has the turn alone, if any of the tables has notes: a transaction of its own, which sees
// nothing of the one that is being applied.
func (m *ManyWriters) passAside(ctx context.Context, tables []*dialect.Table) (made []*batch.Batch, err error) {
	err = m.aside.With(ctx, m.s.node, func(c *sql.Conn) error {
		noted, err := m.s.node.Engine.Noted(ctx, c, tables)
		if err != nil || len(noted) == 0 {
			return err
		}
		made, err = m.passOn(ctx, c)
		return err
	})
	return made, err
}

// overtaken shows those of rows again that clients which bypass ddb have changed before they were written, seen by no
// pass (N6). To write a row is to lock it: who comes later waits, and notes what he found then. master are the
// rows if they are the master's (N4), nil if they are local changes.
func (m *ManyWriters) overtaken(ctx context.Context, ch *change, c *sql.Conn, t *dialect.Table, rows, master []dialect.Row) error {
	if len(rows) == 0 || m.s.empty.Load() {
		return nil
	}
	made, err := m.passAside(ctx, []*dialect.Table{t})
	if err != nil || len(made) == 0 {
		return err
	}
	latest := make(map[string]dialect.Row)
	for _, b := range made {
		for _, change := range b.Changes {
			if (journal.TableName{Database: change.Database, Table: change.Table}) != m.s.node.Name(t) {
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
	if _, _, err := m.s.queue.settled(ch, m.s.node.Name(t), master); err != nil { // notes what is withheld
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
	return m.s.show(ctx, c, t, again)
}

// gatherTransactions stores a batch of each transaction whose notes q sees, and clears the notes. What is too large for
// one batch makes several: only a client that bypasses ddb, or a user's trigger, can have committed it; see Weigh.
func (m *ManyWriters) gatherTransactions(ctx context.Context, q dialect.Querier) (made []*madeBatch, err error) {
	for more := true; more; {
		var noted []*dialect.Table
		if noted, err = m.s.node.Engine.Noted(ctx, q, m.s.node.Tables.Load().Replicated()); err != nil || len(noted) == 0 {
			return made, err
		}
		var list [][]*batch.Batch // by transaction
		var notes []dialect.Notes
		notes, more, err = m.transactions.CollectTransactions(ctx, q, noted, passNotes, func(tx int, t *dialect.Table, r dialect.Row) error {
			for len(list) <= tx {
				list = append(list, []*batch.Batch{new(batch.Batch)})
			}
			return m.s.addPart(&list[tx], t, r, m.mostBatch())
		})
		for _, n := range notes {
			if err == nil {
				err = batch.ClearNotes(ctx, m.s.node, q, n)
			}
		}
		if err != nil {
			return made, fmt.Errorf("node %s: read local changes: %w", m.s.node.ID, err)
		}
		var batches []*batch.Batch
		for _, parts := range list {
			batches = append(batches, parts...)
		}
		stored, err := m.s.store(ctx, q, batches, made...)
		if err != nil {
			return made, err
		}
		made = append(made, stored...)
	}
	return made, nil
}

// mostBatch is how large a batch may be.
func (m *ManyWriters) mostBatch() int { return min(batch.MaxBytes, m.transactions.MostBytes()) }

func (m *ManyWriters) alone(ctx context.Context) (release func(), err error) {
	return m.turns.alone(ctx)
}

// catchUp makes batches beside the transaction, which must not see notes that come later.
func (m *ManyWriters) catchUp(ctx context.Context, _ *sql.Conn) ([]*madeBatch, error) {
	_, err := m.passAside(ctx, m.s.node.Tables.Load().Replicated())
	return nil, err
}

// differing leaves out the rows that this snap has made itself and that are here as the master has them, which is
// the rule: for a server to find that out takes less than to write them, with triggers that have nothing to note.
func (m *ManyWriters) differing(ctx context.Context, dropped []pendingKeys, q dialect.Querier, t *dialect.Table, rows []dialect.Row) ([]dialect.Row, error) {
	name := m.s.node.Name(t)
	var at []int
	var keys [][]any
	var buf []byte
	for i, r := range rows {
		buf = wire.AppendRow(buf[:0], r.Key)
		own := func(p pendingKeys) bool { return p[name][string(buf)] != 0 }
		if slices.ContainsFunc(dropped, own) {
			at, keys = append(at, i), append(keys, r.Key)
		}
	}
	if len(keys) == 0 {
		return rows, nil
	}
	same := make(map[int]bool, len(keys))
	n := 0
	err := m.s.node.Engine.Lookup(ctx, q, t, keys, func(r dialect.Row) error {
		same[at[n]] = batch.EqualRows(r.Values, rows[at[n]].Values)
		n++
		return nil
	})
	if err != nil {
		return nil, err
	}
	rest := make([]dialect.Row, 0, len(rows)-len(keys))
	for i, r := range rows {
		if !same[i] {
			rest = append(rest, r)
		}
	}
	return rest, nil
}

func (m *ManyWriters) drop(ctx context.Context, q dialect.Querier, list []*madeBatch) error {
	return m.transactions.DropBatches(ctx, q, idsOf(list))
}

// tablesChanged has nothing to forget: statements are compiled by the program.
func (m *ManyWriters) tablesChanged() {}
