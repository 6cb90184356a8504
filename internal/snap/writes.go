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

// What the writes of a program need of a snap whose database has many writers.

// Conn takes a connection whose handed-out keys are this node's and whose notes will tell the
// transaction that is to begin, or the statements that are to run by themselves.
func (m *ManyWriters) Conn(ctx context.Context, transaction bool) (write.Conn, error) {
	c, err := m.own.Conn(ctx, m.s.node, m.s.numberOfNode.Load())
	mark := m.transactions.Mark(transaction)
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
func (m *ManyWriters) Mark() string { return m.transactions.Mark(true) }

// admitWrite refuses a write where the queue is full. How long it is can be told when there is a batch of every write.
func (m *ManyWriters) admitWrite(ctx context.Context) error {
	if m.s.queue.filledUp() {
		if err := m.pass(ctx); err != nil {
			return err
		}
	}
	return m.s.admit()
}

// Turn waits for the turn of a write. An entry that it has waited for may have left tables that must not be written to.
func (m *ManyWriters) Turn(ctx context.Context) (done func(), err error) {
	if err := m.admitWrite(ctx); err != nil {
		return nil, err
	}
	if done, err = m.turns.write(ctx); err != nil {
		return nil, err
	}
	switch {
	case !m.s.f.Readable():
		err = fmt.Errorf("%w: a snapshot from the master has begun to replace the data of snap %s; try again when it is loaded", fault.ErrBusy, m.s.node.ID)
	case m.s.halfway.Load():
		err = fmt.Errorf("%w: snap %s has run a schema statement of the master by half; try again when its state is not failed", fault.ErrBusy, m.s.node.ID)
	default:
		return done, nil
	}
	done()
	return nil, err
}

// Weigh refuses a transaction that is too large for a batch before it is committed.
func (m *ManyWriters) Weigh(ctx context.Context, c *sql.Conn) error {
	noted, err := m.s.node.Engine.Noted(ctx, c, m.s.node.Tables.Load().Replicated())
	b := new(batch.Batch)
	for _, t := range noted {
		if err == nil {
			_, err = m.s.node.Engine.CollectImages(ctx, c, t, func(r dialect.Row) error {
				if b.Outgrows(r, m.mostBatch()) {
					return fmt.Errorf("%w: one transaction of this snap may change at most %d MiB of rows; split it, or raise max_allowed_packet", fault.ErrNotReplicable, m.mostBatch()>>20)
				}
				return b.Add(m.s.node, t, r)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("node %s: weigh transaction: %w", m.s.node.ID, err)
	}
	return nil
}
