package tcp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// ServerTLS returns a config for listening with the certificate and key in these
// PEM files. With clientCAFile, not empty, only clients that show a certificate
// signed by one of its authorities are let in.
func ServerTLS(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if err := loadCertificate(config, certFile, keyFile); err != nil {
		return nil, err
	}
	if clientCAFile != "" {
		pool, err := loadPool(clientCAFile)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = pool
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// ClientTLS returns a config for dialing servers whose certificates are signed by
// an authority in the PEM file caFile, or by one that the system trusts when
// caFile is empty. For mutual TLS certFile and keyFile name this client's own
// certificate; both are empty otherwise.
func ClientTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if certFile != "" || keyFile != "" {
		if err := loadCertificate(config, certFile, keyFile); err != nil {
			return nil, err
		}
	}
	if caFile != "" {
		pool, err := loadPool(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	return config, nil
}

// PeerTLS returns a config for a node that both listens and dials with one
// certificate, among peers that all show a certificate signed by an authority in
// caFile: mutual TLS in both directions.
func PeerTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config, err := ServerTLS(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	config.RootCAs = config.ClientCAs
	return config, nil
}

func loadCertificate(config *tls.Config, certFile, keyFile string) error {
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("load certificate %q with key %q: %w", certFile, keyFile, err)
	}
	config.Certificates = []tls.Certificate{certificate}
	return nil
}

func loadPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load certificate authorities: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// conn is a TLS connection that shakes hands under a time limit before its first
// byte, and that explains what went wrong.
type conn struct {
	*tls.Conn
	peer    string
	timeout time.Duration // of the handshake; negative means none
	ready   atomic.Bool   // the handshake is done
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.handshake(context.Background()); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		err = fmt.Errorf("%s refused this side's certificate or TLS settings: %w", c.peer, err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.handshake(context.Background()); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Binding returns what RFC 9266 calls tls-exporter: bytes that only the two ends of this connection know.
func (c *conn) Binding() ([]byte, error) {
	if err := c.handshake(context.Background()); err != nil {
		return nil, err
	}
	state := c.Conn.ConnectionState()
	b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind to the TLS connection with %s: %w", c.peer, err)
	}
	return b, nil
}

// alertPlain answers in plain bytes one who does not speak TLS, with the alert by which TLS refuses a first message
// (RFC 8446, section 6): a dialler without TLS learns from it that there is TLS here.
func alertPlain(inner net.Conn) {
	inner.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = inner.Write([]byte{21, 3, 3, 0, 2, 2, 10}) // fatal, unexpected_message
	dismiss(inner)
}

// dismiss ends a connection such that what was written still arrives: a socket that is closed with bytes unread resets
// the connection, which may throw away what was sent.
func dismiss(inner net.Conn) {
	half, ok := inner.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	inner.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, inner, 64<<10)
}

// handshake returns at once after the first time that it went well. Read and
// Write may both be in it: tls.Conn lets one do the work and the other wait.
func (c *conn) handshake(ctx context.Context) error {
	if c.ready.Load() {
		return nil
	}
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	err := c.Conn.HandshakeContext(ctx)
	if err == nil {
		c.ready.Store(true)
		return nil
	}
	if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil { // on the listening side only
		alertPlain(plain.Conn)
	}
	return handshakeError(ctx, c.peer, err)
}

func handshakeError(ctx context.Context, peer string, err error) error {
	var (
		verify  *tls.CertificateVerificationError
		plain   tls.RecordHeaderError
		refused *net.OpError
	)
	const prefix = "TLS handshake with %s: "
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf(prefix+"not done in time: %w", peer, errors.Join(ctx.Err(), err))
	case errors.As(err, &verify):
		return fmt.Errorf(prefix+"its certificate does not verify; check the CA file and that the certificate names this host: %w", peer, err)
	case errors.As(err, &plain):
		return fmt.Errorf(prefix+"it does not speak TLS; turn TLS on there or off here: %w", peer, err)
	case errors.As(err, &refused) && refused.Op == "remote error":
		return fmt.Errorf(prefix+"it refused; check that it trusts this side's CA and certificate: %w", peer, err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf(prefix+"it hung up; does it speak TLS? %w", peer, err)
	}
	return fmt.Errorf(prefix+"%w", peer, err)
}
