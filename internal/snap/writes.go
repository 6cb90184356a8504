package snap

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
)

// What the writes of a program need of a snap whose database has many writers; see manyWriters.

// Conn takes a connection whose handed-out keys are this node's and whose notes will tell the
// transaction that is to begin, or the statements that are to run by themselves.
func (s *Snap) Conn(ctx context.Context, transaction bool) (write.Conn, error) {
	c, err := s.own.Conn(ctx, s.node, s.numberOfNode.Load())
	mark := s.batcher.transactions.Mark(transaction)
	if err != nil || mark == "" || !transaction && c.Single {
		return c, err
	}
	if _, err := c.ExecContext(ctx, mark); err != nil {
		store.Drop(c.Conn)
		return write.Conn{}, err
	}
	c.Single = !transaction
	return c, nil
}

// Mark returns the statement that a connection got by Conn runs before another transaction of its own; "" if there is no need.
func (s *Snap) Mark() string { return s.batcher.transactions.Mark(true) }

// admitWrite refuses a write where the queue is full. How long it is can be told when there is a batch of every write.
func (s *Snap) admitWrite(ctx context.Context) error {
	if s.queue.filledUp() {
		if err := s.pass(ctx); err != nil {
			return err
		}
	}
	return s.admit()
}

// Turn waits for the turn of a write. An entry that it has waited for may have left tables that must not be written to.
func (s *Snap) Turn(ctx context.Context) (done func(), err error) {
	if err := s.admitWrite(ctx); err != nil {
		return nil, err
	}
	if done, err = s.turns.write(ctx); err != nil {
		return nil, err
	}
	switch {
	case !s.f.Readable():
		err = fmt.Errorf("%w: a snapshot from the master has begun to replace the data of snap %s; try again when it is loaded", fault.ErrBusy, s.node.ID)
	case s.halfway.Load():
		err = fmt.Errorf("%w: snap %s has run a schema statement of the master by half; try again when its state is not failed", fault.ErrBusy, s.node.ID)
	default:
		return done, nil
	}
	done()
	return nil, err
}

// Weigh refuses a transaction that is too large for a batch before it is committed.
func (s *Snap) Weigh(ctx context.Context, c *sql.Conn) error {
	noted, err := s.node.Engine.Noted(ctx, c, s.node.Tables.Load().Replicated())
	b := new(batch.Batch)
	for _, t := range noted {
		if err == nil {
			_, err = s.node.Engine.CollectImages(ctx, c, t, func(r dialect.Row) error {
				if b.Outgrows(r, s.mostBatch()) {
					return fmt.Errorf("%w: one transaction of this snap may change at most %d MiB of rows; split it, or raise max_allowed_packet", fault.ErrNotReplicable, s.mostBatch()>>20)
				}
				return b.Add(s.node, t, r)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("node %s: weigh transaction: %w", s.node.ID, err)
	}
	return nil
}
