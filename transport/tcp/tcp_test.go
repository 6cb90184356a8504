package tcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Plain TCP does what every transport must.
func TestTransport(t *testing.T) {
	transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
		return New(Options{}), "127.0.0.1:0"
	})
}

// So does mutual TLS.
func TestTransportTLS(t *testing.T) {
	ca := newAuthority(t)
	certFile, keyFile := ca.issue(t, "node")
	transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
		config, err := PeerTLS(ca.file, certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		return New(Options{TLS: config}), "127.0.0.1:0"
	})
}

// A server whose certificate comes from an unknown authority is refused, and the
// error says what to check.
func TestUnknownAuthority(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	address := serve(t, serverTLS(t, theirs, nil))
	_, err := dial(t, clientTLS(t, ours, nil), address)
	wantError(t, err, address, "does not verify", "CA file")
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("%v does not wrap x509.UnknownAuthorityError", err)
	}
}

// With mutual TLS a client without a certificate gets no byte through and is told
// why.
func TestClientCertificateRequired(t *testing.T) {
	ca := newAuthority(t)
	address := serve(t, serverTLS(t, ca, ca))
	c, err := dial(t, clientTLS(t, ca, nil), address)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	wantError(t, err, address, "refused", "certificate")

	c, err = dial(t, clientTLS(t, ca, ca), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
}

// A plain server and a TLS client, and the reverse, tell that TLS is the matter.
func TestPlainMeetsTLS(t *testing.T) {
	ca := newAuthority(t)
	plain := serve(t, nil)
	_, err := dial(t, clientTLS(t, ca, nil), plain)
	wantError(t, err, plain, "speak TLS")

	l := listen(t, serverTLS(t, ca, nil))
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_, err = server.Read(make([]byte, 1))
	wantError(t, err, client.LocalAddr().String(), "does not speak TLS")
	alert, err := io.ReadAll(client) // tells the client so too
	if err != nil || len(alert) != 7 || alert[0] != 21 || alert[1] != 3 {
		t.Errorf("the client was told %x, %v", alert, err)
	}
}

// An address counts as exposed unless it is this machine's alone or clients must show a certificate.
func TestExposed(t *testing.T) {
	ca := newAuthority(t)
	for _, test := range []struct {
		address string
		config  *tls.Config
		want    bool
		why     string
	}{
		{"127.0.0.1:7400", nil, false, "this machine alone"},
		{"127.8.9.1:0", nil, false, "this machine alone"},
		{"[::1]:7400", nil, false, "this machine alone"},
		{"[::ffff:127.0.0.1]:7400", nil, false, "this machine alone"},
		{"localhost:7400", nil, false, "this machine alone"},
		{":7400", nil, true, "every address"},
		{"0.0.0.0:7400", nil, true, "0.0.0.0 is every address"},
		{"[::]:7400", nil, true, ":: is every address"},
		{"10.0.0.1:7400", nil, true, "10.0.0.1 can be reached from other machines"},
		{"no.such.host.invalid:7400", nil, true, "does not resolve"},
		{":7400", serverTLS(t, ca, nil), true, "every address"},
		{":7400", &tls.Config{ClientAuth: tls.RequestClientCert}, true, "every address"},
		{":7400", serverTLS(t, ca, ca), false, "must show a certificate"},
	} {
		if got, why := New(Options{TLS: test.config}).Exposed(test.address); got != test.want || !strings.Contains(why, test.why) || got && strings.HasPrefix(why, "::ffff") {
			t.Errorf("%s: %v (%s), want %v (%s)", test.address, got, why, test.want, test.why)
		}
	}
}

// What is bound to a TLS connection differs at the two ends of one who sits between two connections, even if both trust him.
func TestBindingTellsMiddleman(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, serverTLS(t, ca, nil))
	accepted := make(chan net.Conn, 2)
	go func() {
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1)) // shakes hands
			accepted <- c
		}
	}()
	var ends [2][2][]byte
	for i := range ends {
		c, err := dial(t, clientTLS(t, ca, nil), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		server := <-accepted
		defer server.Close()
		for k, end := range []net.Conn{c, server} {
			if ends[i][k], err = end.(transport.Bound).Binding(); err != nil || len(ends[i][k]) != 32 {
				t.Fatalf("%x, %v", ends[i][k], err)
			}
		}
		if string(ends[i][0]) != string(ends[i][1]) {
			t.Error("the two ends of a connection have different bindings")
		}
	}
	if string(ends[0][0]) == string(ends[1][0]) {
		t.Error("two connections have the same binding")
	}
}

// A peer that never shakes hands is given up after HandshakeTimeout.
func TestHandshakeTimeout(t *testing.T) {
	ca := newAuthority(t)
	l, err := New(Options{TLS: serverTLS(t, ca, nil), HandshakeTimeout: 20 * time.Millisecond}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	wantError(t, err, silent.LocalAddr().String(), "not done in time")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not context.DeadlineExceeded", err)
	}
}

// Common mistakes get errors that name the address and the way out.
func TestErrors(t *testing.T) {
	l := listen(t, nil)
	_, err := New(Options{}).Listen(t.Context(), l.Addr().String())
	wantError(t, err, l.Addr().String(), "another process or node has this port")

	l.Close()
	_, err = dial(t, nil, l.Addr().String())
	wantError(t, err, l.Addr().String(), "nobody listens there")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v is not ECONNREFUSED", err)
	}

	_, err = New(Options{TLS: &tls.Config{}}).Listen(t.Context(), "127.0.0.1:0")
	wantError(t, err, "127.0.0.1:0", "no certificate")

	_, err = ServerTLS("no.pem", "no.key", "")
	wantError(t, err, "no.pem", "no.key")
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ClientTLS(notPEM, "", "")
	wantError(t, err, notPEM, "no PEM certificate")
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

func listen(t *testing.T, config *tls.Config) net.Listener {
	t.Helper()
	l, err := New(Options{TLS: config}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve echoes one chunk per connection, one connection after the other.
func serve(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	l := listen(t, config)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1<<10)
			if n, err := c.Read(b); err == nil {
				_, _ = c.Write(b[:n]) // the client notices
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func dial(t *testing.T, config *tls.Config, address string) (net.Conn, error) {
	return New(Options{TLS: config}).Dial(t.Context(), address)
}

func serverTLS(t *testing.T, ca, clients *authority) *tls.Config {
	t.Helper()
	certFile, keyFile := ca.issue(t, "server")
	clientCA := ""
	if clients != nil {
		clientCA = clients.file
	}
	config, err := ServerTLS(certFile, keyFile, clientCA)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func clientTLS(t *testing.T, ca, own *authority) *tls.Config {
	t.Helper()
	var certFile, keyFile string
	if own != nil {
		certFile, keyFile = own.issue(t, "client")
	}
	config, err := ClientTLS(ca.file, certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// authority is a certificate authority for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "ddb test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, file: writePEM(t, "ca.pem", "CERTIFICATE", der)}
}

// issue writes a certificate for 127.0.0.1, good for both ends, and its key.
func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, name+".pem", "CERTIFICATE", der), writePEM(t, name+".key", "PRIVATE KEY", keyDER)
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
