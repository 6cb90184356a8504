package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"github.com/ddb-project/ddb/dialect"
)

// passConn makes passes serial where the database has many writers, and keeps their connection between them.
type passConn struct {
	mu   sync.Mutex // held by the pass that runs
	conn *sql.Conn  // guarded by mu; nil until it is needed
}

// with runs f alone. The connection is given up if f fails.
func (p *passConn) with(ctx context.Context, n *node, f func(c *sql.Conn) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		c, err := n.engine.Conn(ctx, dialect.Pass)
		if err != nil {
			return fmt.Errorf("ddb: node %s: connect: %w", n.opts.ID, err)
		}
		p.conn = c
	}
	err := f(p.conn)
	if err != nil {
		p.drop(n)
	}
	return err
}

// close waits for the pass that runs.
func (p *passConn) close(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(n)
}

func (p *passConn) drop(n *node) {
	if p.conn != nil {
		n.engine.Release(p.conn)
		p.conn = nil
	}
}
