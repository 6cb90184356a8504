package remote

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
)

// Options configure a connector. The zero value works.
type Options struct {
	// Header returns what the request made under ctx must carry. It is called
	// once per request. Nil sends the zero Header.
	Header func(ctx context.Context) Header

	// OnToken is given the token of every answer that carries one other than
	// zero. It is called by the goroutine that made the request, must not block
	// and may be called by many connections at once. Nil drops tokens.
	OnToken func(token uint64)

	// Errors makes a driver's own errors of those that come. Nil knows none.
	Errors ErrorCarrier
}

// NewConnector returns a connector for sql.OpenDB each of whose connections is
// one stream from dial. The other end of the stream must be given to Serve.
//
// Errors of the database keep their text and, as those of Options.Errors or *Error,
// their number. A link that is lost after a statement was sent is reported as
// ErrUnknownOutcome.
func NewConnector(dial func(ctx context.Context) (net.Conn, error), opts Options) driver.Connector {
	return &connector{dial: dial, opts: opts}
}

type connector struct {
	dial func(ctx context.Context) (net.Conn, error)
	opts Options
}

// Connect opens a stream. Nothing is sent until the first request.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return newConn(nc, c.opts), nil
}

func (c *connector) Driver() driver.Driver { return remoteDriver{} }

// remoteDriver exists because driver.Connector must name a driver.
type remoteDriver struct{}

func (remoteDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("connections come from NewConnector and sql.OpenDB, not from a data source name")
}
