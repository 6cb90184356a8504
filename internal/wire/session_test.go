package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
	"github.com/ddb-project/ddb/transport/transporttest"
)

// muxed makes a transport of sessions: every Dial opens a stream. It lets the
// transport suite test streams.
type muxed struct {
	transport.Transport
	t      *testing.T
	mu     sync.Mutex
	client *Session
}

type muxListener struct {
	net.Listener
	session chan *Session
}

func (m *muxed) Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := m.Transport.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	return &muxListener{Listener: l, session: make(chan *Session, 1)}, nil
}

func (l *muxListener) Accept() (net.Conn, error) {
	select {
	case s := <-l.session:
		l.session <- s
		return s.Accept()
	default:
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s, err := Server(conn, SessionConfig{})
	if err != nil {
		return nil, err
	}
	l.session <- s
	return s.Accept()
}

func (l *muxListener) Close() error {
	select {
	case s := <-l.session:
		s.Close()
	default:
	}
	return l.Listener.Close()
}

func (m *muxed) Dial(ctx context.Context, address string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		conn, err := m.Transport.Dial(ctx, address)
		if err != nil {
			return nil, err
		}
		if m.client, err = Client(conn, SessionConfig{}); err != nil {
			return nil, err
		}
		m.t.Cleanup(func() { m.client.Close() })
	}
	return m.client.Open(ctx)
}

// sessions returns both ends of a session over tr.
func sessions(t *testing.T, tr transport.Transport, config SessionConfig) (client, server *Session) {
	t.Helper()
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := tr.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if client, err = Client(dialed, config); err != nil {
		t.Fatal(err)
	}
	if server, err = Server(accepted, config); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func echoAll(s interface{ Accept() (net.Conn, error) }) {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}

// roundTrip sends data through a new stream to an echo and back.
func roundTrip(t *testing.T, c net.Conn, size int) {
	t.Helper()
	want := bytes.Repeat([]byte("ddb"), size/3)
	go c.Write(want)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Errorf("echo: %v", err)
	} else if !bytes.Equal(got, want) {
		t.Error("the echo differs")
	}
}

// Streams are connections as good as any transport's.
func TestStreamsAreConns(t *testing.T) {
	transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
		return &muxed{Transport: inmem.New(), t: t}, "a"
	})
}

// Sessions work in one bubble after another, over a slow link, and leave no
// goroutine (synctest.Test fails on one).
func TestSessionSynctest(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			slow := fault.New(inmem.New())
			slow.SetLatency(20 * time.Millisecond)
			slow.SetBandwidth(10 << 20)
			client, server := sessions(t, slow, SessionConfig{})
			go echoAll(server)
			done := make(chan struct{})
			for range 4 {
				go func() {
					c, err := client.Open(t.Context())
					if err != nil {
						t.Error(err)
					} else {
						roundTrip(t, c, 300_000)
						c.Close()
					}
					done <- struct{}{}
				}()
			}
			for range 4 {
				<-done
			}
			time.Sleep(time.Hour) // pings pass, the session lives
			if err := client.Err(); err != nil {
				t.Errorf("after an idle hour: %v", err)
			}
			client.Close()
			server.Close()
		})
	}
}

// A link that falls silent is noticed: everything that waits ends, on time.
func TestSessionKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := fault.New(inmem.New())
		client, server := sessions(t, link, SessionConfig{KeepAlive: 10 * time.Second, WriteTimeout: 5 * time.Second})
		c, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		link.HangAll()
		start := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrSessionClosed) || !errors.Is(err, errKeepAlive) {
			t.Errorf("Read: %v", err)
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("the silence was noticed after %v, want 15s", took)
		}
		<-server.Done()
		if _, err := client.Open(t.Context()); !errors.Is(err, ErrSessionClosed) {
			t.Errorf("Open: %v", err)
		}
		client.Close()
		server.Close()
	})
}

// A stream that nobody reads blocks its own writer only.
func TestStreamsDoNotBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := sessions(t, inmem.New(), SessionConfig{})
		stuck, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unread, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		stuck.SetWriteDeadline(time.Now().Add(time.Minute))
		if n, err := stuck.Write(make([]byte, 2*DefaultWindow)); n != DefaultWindow || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write to a stream that is not read: %d, %v", n, err)
		}
		go echoAll(server)
		c, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c, 3<<20)
		// Closing the unread end resets the writer.
		stuck.SetWriteDeadline(time.Time{})
		failed := make(chan error, 1)
		go func() {
			_, err := stuck.Write(make([]byte, 1))
			failed <- err
		}()
		synctest.Wait()
		unread.Close()
		if err := <-failed; !errors.Is(err, ErrStreamReset) {
			t.Errorf("Write after the peer closed: %v", err)
		}
		client.Close()
		server.Close()
	})
}

// More streams than the backlog holds are reset, and Open waits for answers no
// longer than its context.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := sessions(t, inmem.New(), SessionConfig{Backlog: 2})
		for range 2 {
			if _, err := client.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open over the backlog: %v", err)
		}
		if _, err := server.Accept(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Open(t.Context()); err != nil {
			t.Errorf("Open after Accept: %v", err)
		}
		client.Close()
		server.Close()
	})
}

// A stranger's bytes end the session with ErrNotDDB.
func TestSessionStranger(t *testing.T) {
	network := inmem.New()
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
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, _ := Server(accepted, SessionConfig{})
	defer s.Close()
	c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	if _, err := s.Accept(); !errors.Is(err, ErrNotDDB) || !errors.Is(err, ErrSessionClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// A session over TCP carries megabytes and closes from either side.
func TestSessionTCP(t *testing.T) {
	client, server := sessions(t, tcp.New(tcp.Options{}), SessionConfig{})
	go echoAll(client) // the accepting side opens streams too
	c, err := server.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c, 12<<20)
	server.Close()
	<-client.Done()
	client.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrSessionClosed) {
		t.Errorf("Read: %v", err)
	}
}
