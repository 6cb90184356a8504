package wire_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/hashicorp/yamux"
	"go.uber.org/goleak"

	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/transport/inmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The library that the protocol comes from understands it, at either end.
func TestYamuxInterop(t *testing.T) {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	network := inmem.New()
	pair := func(t *testing.T) (a, b net.Conn) {
		l, err := network.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if a, err = network.Dial(t.Context(), l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if b, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	t.Run("client", func(t *testing.T) {
		a, b := pair(t)
		ours, _ := wire.Client(a, wire.SessionConfig{})
		theirs, err := yamux.Server(b, config)
		if err != nil {
			t.Fatal(err)
		}
		go echoAll(theirs)
		for range 3 {
			c, err := ours.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, c, 3<<20)
			c.Close()
		}
		if _, err := theirs.Ping(); err != nil {
			t.Errorf("ping: %v", err)
		}
		ours.Close()
		theirs.Close()
	})
	t.Run("server", func(t *testing.T) {
		a, b := pair(t)
		ours, _ := wire.Server(a, wire.SessionConfig{})
		theirs, err := yamux.Client(b, config)
		if err != nil {
			t.Fatal(err)
		}
		go echoAll(ours)
		for range 3 {
			c, err := theirs.Open()
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, c, 3<<20)
			c.Close()
		}
		theirs.Close()
		ours.Close()
	})
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
