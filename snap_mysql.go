package ddb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// turns lets local writes overlap each other, but not the applier. A write that comes while the applier
// waits lets it go first for a moment, and only for a moment: the
// writer may hold a transaction open that the applier is waiting for.
type turns struct {
	mu      sync.Mutex
	changed chan struct{} // closed when a turn ends
	writers int
	applier bool
	waiting bool
}

// patience is how long a local write lets a waiting applier go first.
const patience = 50 * time.Millisecond

// wait returns a channel that is closed when something changes; the caller holds mu.
func (t *turns) wait() <-chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

func (t *turns) tell() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// write waits for the turn of a local write.
func (t *turns) write(ctx context.Context) (done func(), err error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	polite := true
	for {
		t.mu.Lock()
		if !t.applier && !(t.waiting && polite && t.writers > 0) {
			t.writers++
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				t.writers--
				t.tell()
				t.mu.Unlock()
			}, nil
		}
		changed := t.wait()
		t.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			polite = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// alone waits until no local write is under way.
func (t *turns) alone(ctx context.Context) (done func(), err error) {
	for {
		t.mu.Lock()
		if !t.applier && t.writers == 0 {
			t.applier, t.waiting = true, false
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				t.applier = false
				t.tell()
				t.mu.Unlock()
			}, nil
		}
		t.waiting = true
		changed := t.wait()
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.mu.Lock()
			t.waiting = false
			t.tell()
			t.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// adoptNotes makes the notes of clients that bypass ddb this connection's, so that they make a
// batch. The locking read comes first in the transaction: its snapshot, which shows the rows, is opened
// after it and so shows what the notes tell of. Notes of transactions that are open are left alone.
func (s *snapSide) adoptNotes(ctx context.Context, c *sql.Conn) error {
	noted, err := s.engine.Noted(ctx, s.db, s.tables.Load().replicated())
	if err != nil {
		return err
	}
	for _, t := range noted {
		outbox := s.engine.Own(fmt.Sprintf("out_%d", t.ID))
		ids, err := idsOf(c.QueryContext(ctx, "SELECT id FROM "+outbox+" WHERE conn <> CONNECTION_ID() FOR UPDATE SKIP LOCKED"))
		if err != nil {
			return fmt.Errorf("ddb: node %s: notes of other clients: %w", s.opts.ID, err)
		}
		for part := range slices.Chunk(ids, 1000) {
			list := strings.Trim(strings.ReplaceAll(fmt.Sprint(part), " ", ","), "[]")
			if _, err := c.ExecContext(ctx, "UPDATE "+outbox+" SET conn = CONNECTION_ID() WHERE id IN ("+list+")"); err != nil {
				return fmt.Errorf("ddb: node %s: notes of other clients: %w", s.opts.ID, err)
			}
		}
	}
	return nil
}

func idsOf(rows *sql.Rows, err error) (ids []uint64, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id uint64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// snapWrites writes on a snap whose database has many writers: each write is a transaction on a
// connection of its own, which ends with the batch that it makes (N1).
type snapWrites struct {
	c *Cluster
	s *snapSide
}

func newSnapWrites(c *Cluster, s *snapSide) *snapWrites { return &snapWrites{c: c, s: s} }

func (w *snapWrites) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	t, err := w.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	res, err := t.exec(ctx, query, args)
	if err != nil {
		return nil, errors.Join(err, t.rollback())
	}
	return res, t.commit()
}

func (w *snapWrites) query(ctx context.Context, query string, args []any) (driver.Rows, error) {
	return queryAlone(ctx, w, query, args)
}

func (w *snapWrites) schema(_ context.Context, query string, _ []any) (sql.Result, error) {
	return nil, w.c.notMaster(query)
}

func (w *snapWrites) begin(ctx context.Context, opts *sql.TxOptions) (txn, error) {
	if err := w.s.admit(); err != nil {
		return nil, err
	}
	done, err := w.s.turns.write(ctx)
	if err != nil {
		return nil, err
	}
	c, tx, err := w.s.beginLocal(ctx, opts)
	if err != nil {
		done()
		return nil, err
	}
	return &snapTx{w: w, ctx: ctx, tx: tx, done: func() { c.Close(); done() }}, nil
}

// beginLocal opens a transaction whose handed-out keys are this node's.
func (s *snapSide) beginLocal(ctx context.Context, opts *sql.TxOptions) (*sql.Conn, *sql.Tx, error) {
	c, err := s.keyed.conn(ctx, s.db, s.numberOfNode.Load())
	if err != nil {
		return nil, nil, err
	}
	tx, err := c.BeginTx(ctx, opts)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, tx, nil
}

// snapTx is a transaction of snapWrites.
type snapTx struct {
	w    *snapWrites
	ctx  context.Context
	tx   *sql.Tx
	done func()
	over bool
}

func (t *snapTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if t.w.c.isSchema(query) {
		return nil, t.w.c.notMaster(query)
	}
	return t.tx.ExecContext(ctx, query, args...)
}

func (t *snapTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

func (t *snapTx) commit() error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	defer t.done()
	ctx := context.WithoutCancel(t.ctx)
	m, err := t.w.s.make(ctx, t.tx)
	if err != nil {
		return errors.Join(err, t.tx.Rollback())
	}
	if err := t.tx.Commit(); err != nil {
		if len(m) == 0 {
			return err
		}
		// Whether it stands is not known: the queue tells.
		t.w.s.mu.Lock()
		t.w.s.stale = true
		t.w.s.mu.Unlock()
		return err
	}
	if len(m) > 0 {
		s := t.w.s
		s.mu.Lock()
		s.queued(m)
		s.mu.Unlock()
		signal(s.more)
	}
	return nil
}

func (t *snapTx) rollback() error {
	if t.over {
		return sql.ErrTxDone
	}
	t.over = true
	defer t.done()
	return t.tx.Rollback()
}
