package inmem

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The network does what every transport must.
func TestTransport(t *testing.T) {
	transporttest.Test(t, func(t *testing.T) (transport.Transport, string) { return New(), "node-1" })
}

// Inside a bubble a deadline passes on the bubble's clock, without real waiting,
// and a writer waits for a reader that comes an hour later.
func TestSynctest(t *testing.T) {
	for range 2 { // nothing may leak from one bubble into the next
		synctest.Test(t, func(t *testing.T) {
			network := New()
			l, err := network.Listen(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := network.Dial(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			start := time.Now()
			c.SetReadDeadline(start.Add(time.Hour))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read: %v", err)
			}
			if got := time.Since(start); got != time.Hour {
				t.Errorf("the deadline passed after %v, want 1h", got)
			}
			go func() {
				time.Sleep(time.Hour)
				io.CopyN(io.Discard, server, 3*BufferSize)
			}()
			if n, err := c.Write(make([]byte, 3*BufferSize)); err != nil || n != 3*BufferSize {
				t.Errorf("Write: %d, %v", n, err)
			}
			if got := time.Since(start); got != 2*time.Hour {
				t.Errorf("the write took until %v, want 2h", got)
			}
		})
	}
}

// Half a connection can be closed: the other half goes on.
func TestCloseWrite(t *testing.T) {
	client, server := newConns("c", "s")
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
		t.Fatalf("server read %q, %v", got, err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Fatalf("client read %q, %v", got, err)
	}
	if _, err := client.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
	client.Close()
}

// A writer learns that nobody reads any more.
func TestWriteToClosedPeer(t *testing.T) {
	client, server := newConns("c", "s")
	server.Close()
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write: %v, want EPIPE", err)
	}
	client.Close()
}

// A listener takes a limited number of connections that wait, and Close breaks
// those.
func TestBacklog(t *testing.T) {
	network := New()
	l, err := network.Listen(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	var first net.Conn
	for i := range Backlog {
		c, err := network.Dial(context.Background(), l.Addr().String())
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		if first == nil {
			first = c
		}
	}
	if _, err := network.Dial(context.Background(), l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("one more: %v", err)
	}
	l.Close()
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v, want io.EOF", err)
	}
}
