// Package transport says what ddb needs from a network: somewhere to listen and
// a way to dial. It moves bytes and knows nothing of what they mean.
//
// Three implementations come with ddb: [github.com/ddb-project/ddb/transport/tcp]
// for production, [github.com/ddb-project/ddb/transport/inmem] for several nodes
// in one process, and [github.com/ddb-project/ddb/transport/fault], which wraps
// either of them with links that are cut, slow or lossy. An implementation of
// your own should pass [github.com/ddb-project/ddb/transport/transporttest].
package transport

import (
	"context"
	"net"
)

// Transport makes connections between nodes.
//
// Connections are reliable, ordered streams with the semantics of [net.Conn]:
// Close unblocks a Read or Write that waits, a passed deadline gives an error
// that is [os.ErrDeadlineExceeded], and what the peer wrote before it closed can
// still be read, followed by [io.EOF].
//
// The context bounds the call only, not the life of what the call returned.
type Transport interface {
	// Listen takes address and accepts connections on it until the listener is
	// closed. The address that peers must dial is the listener's Addr, which
	// differs from address where that leaves a choice (port 0). An address that
	// is taken gives an error that is [syscall.EADDRINUSE].
	Listen(ctx context.Context, address string) (net.Listener, error)

	// Dial connects to the listener at address. When nobody listens there the
	// error is [syscall.ECONNREFUSED].
	Dial(ctx context.Context, address string) (net.Conn, error)
}
