package write

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
)

// PassConn makes passes serial where the database has many writers, and keeps their connection between them.
type PassConn struct {
	// turn holds a token while a pass runs. It is a channel for those who wait to heed their contexts: the pass may be
	// an ALTER of hours.
	turn   chan struct{}
	conn   *sql.Conn // of who has the turn; nil until it is needed
	closed bool      // the same
}

// NewPassConn returns one that nobody holds yet.
func NewPassConn() PassConn { return PassConn{turn: make(chan struct{}, 1)} }

// With runs f alone. The connection is given up if f fails.
func (p *PassConn) With(ctx context.Context, n *store.Store, f func(c *sql.Conn) error) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	if p.closed {
		return fault.ErrClosed
	}
	if p.conn == nil {
		// What ended the last one may have ended the lock too.
		if err := n.KeepLock(ctx); err != nil {
			return err
		}
		c, err := n.Engine.Conn(ctx, dialect.Pass)
		if err != nil {
			return fmt.Errorf("node %s: connect: %w", n.ID, err)
		}
		p.conn = c
	}
	err := f(p.conn)
	if err != nil {
		p.drop(n)
	}
	return err
}

// Close waits for the pass that runs. There is none after it.
func (p *PassConn) Close(n *store.Store) {
	p.turn <- struct{}{} // whoever has it gives it back
	defer func() { <-p.turn }()
	p.closed = true
	p.drop(n)
}

func (p *PassConn) drop(n *store.Store) {
	if p.conn != nil {
		n.Engine.Release(p.conn)
		p.conn = nil
	}
}
