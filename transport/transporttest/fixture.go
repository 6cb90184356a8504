package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/ddb-project/ddb/transport"
)

type fixture struct {
	*testing.T
	transport transport.Transport
	address   string
}

func (f *fixture) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.Cleanup(cancel)
	return ctx
}

func (f *fixture) listen() net.Listener {
	f.Helper()
	l, err := f.transport.Listen(f.context(), f.address)
	if err != nil {
		f.Fatalf("Listen(%q): %v", f.address, err)
	}
	f.Cleanup(func() { l.Close() })
	return l
}

// pair returns both ends of a new connection, with one byte exchanged each way so
// that any handshake is over.
func (f *fixture) pair() (dialed, accepted net.Conn) {
	f.Helper()
	return f.connect(f.listen())
}

// connect is pair on a listener that is there.
func (f *fixture) connect(l net.Listener) (dialed, accepted net.Conn) {
	f.Helper()
	accepts := make(chan net.Conn, 1)
	go func() {
		defer close(accepts)
		c, err := l.Accept()
		if err != nil {
			f.Errorf("Accept: %v", err)
			return
		}
		if err := swapByte(c); err != nil {
			f.Errorf("first byte: %v", err)
		}
		accepts <- c
	}()
	dialed, err := f.transport.Dial(f.context(), l.Addr().String())
	if err != nil {
		l.Close()
		<-accepts
		f.Fatalf("Dial(%q): %v", l.Addr(), err)
	}
	f.Cleanup(func() { dialed.Close() })
	if err := swapByte(dialed); err != nil {
		f.Errorf("first byte: %v", err)
	}
	accepted, ok := <-accepts
	if !ok {
		f.FailNow()
	}
	f.Cleanup(func() { accepted.Close() })
	return dialed, accepted
}

func swapByte(c net.Conn) error {
	if _, err := c.Write([]byte{'!'}); err != nil {
		return err
	}
	var b [1]byte
	_, err := io.ReadFull(c, b[:])
	return err
}

// soon waits for the function's result.
func soon[T any](f *fixture, what string, do func() T) T {
	f.Helper()
	done := make(chan T, 1)
	go func() { done <- do() }()
	return receive(f, what, done)
}

func receive[T any](f *fixture, what string, done <-chan T) T {
	f.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-done:
		return v
	case <-timer.C:
		f.Fatalf("%s: still waiting after %v", what, patience)
		panic("unreachable")
	}
}

func payload(size int, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// exchange sends want and expects the same bytes back.
func exchange(c net.Conn, want []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(want)
		sent <- err
	}()
	got := make([]byte, len(want))
	_, readErr := io.ReadFull(c, got)
	if readErr != nil {
		c.Close()
	}
	if err := errors.Join(<-sent, readErr); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the echo differs from what was sent")
	}
	return nil
}
