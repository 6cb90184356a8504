// Package tcp is ddb's transport for production: TCP, with TLS where it is asked
// for, on one or on both sides.
//
// A TLS handshake is made by the connection's own first Read or Write, under
// [Options.HandshakeTimeout], and never inside Accept: a peer that connects and
// stays silent holds up nobody but itself.
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/transport"
)

// Defaults for the fields of [Options].
const (
	DefaultKeepAlive        = 15 * time.Second
	DefaultDialTimeout      = 5 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
)

// Options says how to connect. The zero value is plain TCP with the defaults.
type Options struct {
	// TLS encrypts the connections; nil means plain TCP. [ServerTLS] and
	// [ClientTLS] make one from files. A node that both listens and dials needs
	// the fields for both: Certificates and, for mutual TLS, ClientCAs and
	// ClientAuth to listen, RootCAs to dial; see [PeerTLS].
	TLS *tls.Config

	// KeepAlive is the interval of TCP keep-alive probes. Default 15 s; negative
	// turns them off.
	KeepAlive time.Duration

	// DialTimeout bounds Dial, its handshake not included. Default 5 s; negative
	// leaves it to the context.
	DialTimeout time.Duration

	// HandshakeTimeout bounds a TLS handshake on either side. Default 10 s;
	// negative means no limit.
	HandshakeTimeout time.Duration
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Exposure  = (*Transport)(nil)
	_ transport.Bound     = (*conn)(nil)
)

// Transport is a [transport.Transport] over TCP. It is safe for concurrent use.
type Transport struct {
	options Options
}

// New returns a transport with these options. The TLS config is cloned.
func New(options Options) *Transport {
	setDefault(&options.KeepAlive, DefaultKeepAlive)
	setDefault(&options.DialTimeout, DefaultDialTimeout)
	setDefault(&options.HandshakeTimeout, DefaultHandshakeTimeout)
	if options.TLS != nil {
		options.TLS = options.TLS.Clone()
	}
	return &Transport{options: options}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Listen takes a TCP address such as ":7400", "10.0.0.5:7400" or, for a port that
// the system chooses, "127.0.0.1:0".
func (t *Transport) Listen(ctx context.Context, address string) (net.Listener, error) {
	if config := t.options.TLS; config != nil && len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, fmt.Errorf("listen on %s: the TLS config has no certificate; load one with tcp.ServerTLS", address)
	}
	config := net.ListenConfig{KeepAlive: t.options.KeepAlive}
	inner, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another process or node has this port; stop it or choose another: %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen on %s: this machine does not have that address; use one of its own, or only \":port\" for all: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not permitted; choose a port above 1023: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if t.options.TLS == nil {
		return inner, nil
	}
	return &listener{Listener: inner, options: &t.options}, nil
}

// Exposed reports whether other machines can connect to a listener at address without a certificate.
func (t *Transport) Exposed(address string) (bool, string) {
	if config := t.options.TLS; config != nil && config.ClientAuth == tls.RequireAndVerifyClientCert && config.GetConfigForClient == nil {
		return false, "every client must show a certificate"
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if host == "" {
		return true, fmt.Sprintf("%q is every address of this machine", address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), DefaultDialTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return true, fmt.Sprintf("%q does not resolve to addresses of this machine alone", host)
	}
	for _, a := range addresses {
		switch a = a.Unmap(); { // 0.0.0.0 comes as an address of IPv6
		case a.IsUnspecified():
			return true, fmt.Sprintf("%s is every address of this machine", a)
		case !a.IsLoopback():
			return true, fmt.Sprintf("%s can be reached from other machines", a)
		}
	}
	return false, host + " is this machine alone"
}

// Dial connects to a TCP address, "host:port". With TLS it also shakes hands and
// verifies the server, by the host name unless the config has a ServerName.
//
// With mutual TLS a server that refuses this side's certificate says so only
// after the handshake: the error then comes from the first Read.
func (t *Transport) Dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: t.options.KeepAlive, Timeout: max(t.options.DialTimeout, 0)}
	inner, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialError(ctx, address, err)
	}
	if t.options.TLS == nil {
		return inner, nil
	}
	config := t.options.TLS
	if config.ServerName == "" && !config.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			inner.Close()
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		config = config.Clone()
		config.ServerName = host
	}
	c := &conn{Conn: tls.Client(inner, config), peer: address, timeout: t.options.HandshakeTimeout}
	if err := c.handshake(ctx); err != nil {
		inner.Close()
		return nil, err
	}
	return c, nil
}

func dialError(ctx context.Context, address string, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("dial %s: %w", address, errors.Join(ctx.Err(), err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("dial %s: nobody listens there; is that node running, and is the port right? %w", address, err)
	case errors.As(err, &dns):
		return fmt.Errorf("dial %s: the host name does not resolve: %w", address, err)
	case isTimeout(err):
		return fmt.Errorf("dial %s: no answer; is the node up, and does a firewall drop the port? %w", address, err)
	}
	return fmt.Errorf("dial %s: %w", address, err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// listener wraps each connection in TLS without shaking hands.
type listener struct {
	net.Listener
	options *Options
}

func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{
		Conn:    tls.Server(inner, l.options.TLS),
		peer:    inner.RemoteAddr().String(),
		timeout: l.options.HandshakeTimeout,
	}, nil
}
