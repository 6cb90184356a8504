package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// patience is how long a client may take. Answers that take long, the events and the export, move their
// own deadline with each piece that the client takes.
type patience struct {
	header  time.Duration // to send the head of a request
	request time.Duration // to send all of it, and beyond the statement's time to take the answer
	piece   time.Duration // to take or give one piece of a stream
}

var usualPatience = patience{header: 10 * time.Second, request: 30 * time.Second, piece: 30 * time.Second}

// Further limits of a server made by Serve.
const (
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 64 << 10
)

// Serve answers HTTP on the address until ctx ends, and then returns nil. It refuses to start on an
// address that other machines reach if the Handler asks for no token. Slow clients are
// cut. The caller closes h afterwards.
func Serve(ctx context.Context, address string, h *Handler) error {
	ln, err := Listen(address, h)
	if err != nil {
		return err
	}
	return ServeListener(ctx, ln, h)
}

// Listen is the first half of Serve, for callers that must know the address before they go on.
func Listen(address string, h *Handler) (net.Listener, error) {
	if err := checkAddress(address, h); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return ln, nil
}

// checkAddress refuses to show a cluster to everybody on the network.
func checkAddress(address string, h *Handler) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("console: address %q: %w; use for example 127.0.0.1:8080", address, err)
	}
	if len(h.opts.Tokens) > 0 || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("console: refusing to listen on %q without a token: everybody who reaches it could read and change the data; "+
		"set a token (--token or DDB_TOKEN), or listen on 127.0.0.1", address)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// ServeListener is the second half of Serve. It closes the listener.
func ServeListener(ctx context.Context, ln net.Listener, h *Handler) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: h.patience.header,
		ReadTimeout:       h.patience.request,
		WriteTimeout:      h.opts.Timeout + h.patience.request,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          h.opts.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	h.endStreams()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		stop() // statements that still run are canceled
		err = server.Close()
	}
	if <-failed; err != nil {
		return fmt.Errorf("console: stop: %w", err)
	}
	return nil
}
