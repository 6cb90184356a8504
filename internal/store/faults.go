package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
)

// Fault says what an error of the node's database means.
func (n *Store) Fault(err error) dialect.Fault { return n.Dialect.Fault(err) }

// Down reports whether an error, which means f to the dialect, is that of a database that does not work, or of a broken way to it, rather
// than of a statement that is wrong. What a server has answered counts before all that the error wraps besides.
func Down(f dialect.Fault, err error) bool {
	if f.Is(dialect.NodeDown | dialect.Answer) {
		return f.Is(dialect.NodeDown)
	}
	var netErr net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &netErr)
}

// Refusable reports whether err is the database's refusal of a statement, rather than the error of a database that does not work or
// has no time at present.
func (n *Store) Refusable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fault.ErrBusy) || errors.Is(err, fault.ErrClosed) {
		return false
	}
	f := n.Fault(err)
	return !Down(f, err) && !f.Is(dialect.Busy|dialect.Unable)
}
