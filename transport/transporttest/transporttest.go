// Package transporttest holds what every transport must pass.
//
//	func TestTransport(t *testing.T) {
//		transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
//			return mytransport.New(), "127.0.0.1:0"
//		})
//	}
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ddb-project/ddb/transport"
)

// patience bounds what should happen at once, so that a transport that hangs
// fails the test instead of holding it up.
const patience = 20 * time.Second

// Test runs the suite. newTransport returns a fresh transport and an address to
// listen on, such as "127.0.0.1:0"; peers dial the Addr of the listener.
func Test(t *testing.T, newTransport func(t *testing.T) (tr transport.Transport, addr string)) {
	tests := []struct {
		name string
		run  func(*fixture)
	}{
		{"Echo", testEcho},
		{"Concurrent", testConcurrent},
		{"ConcurrentDuplex", testDuplex},
		{"CloseUnblocksRead", testCloseUnblocksRead},
		{"CloseUnblocksWrite", testCloseUnblocksWrite},
		{"CloseUnblocksAccept", testCloseUnblocksAccept},
		{"CloseTwice", testCloseTwice},
		{"ReadDeadline", testReadDeadline},
		{"WriteDeadline", testWriteDeadline},
		{"DialNobody", testDialNobody},
		{"DialCanceled", testDialCanceled},
		{"ContextEndsAfterDial", testContextEndsAfterDial},
		{"AddressInUse", testAddressInUse},
		{"AddressFreeAgain", testAddressFreeAgain},
		{"DataBeforeClose", testDataBeforeClose},
		{"SilentPeer", testSilentPeer},
		{"Binding", testBinding},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			// Registered first, so it runs after all else is closed.
			t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
			tr, addr := newTransport(t)
			test.run(&fixture{T: t, transport: tr, address: addr})
		})
	}
}

// Megabytes come back as they were sent.
func testEcho(f *fixture) {
	dialed, accepted := f.pair()
	echoed := make(chan error, 1)
	go func() {
		_, err := io.Copy(accepted, dropWriterTo{accepted})
		echoed <- err
	}()
	if err := exchange(dialed, payload(3<<20, 1)); err != nil {
		f.Error(err)
	}
	dialed.Close()
	if err := receive(f, "end of the echo", echoed); err != nil {
		f.Errorf("the echo ended with %v, want io.EOF from Read", err)
	}
}

// dropWriterTo hides all methods but Read, so that the transport's own Read and
// Write are what is tested.
type dropWriterTo struct{ r io.Reader }

func (d dropWriterTo) Read(p []byte) (int, error) { return d.r.Read(p) }

// Connections do not mix up their bytes.
func testConcurrent(f *fixture) {
	const conns = 16
	l := f.listen()
	var echoes sync.WaitGroup
	echoes.Go(func() {
		for range conns {
			c, err := l.Accept()
			if err != nil {
				return
			}
			echoes.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, dropWriterTo{c}) // exchange reports a failure
			})
		}
	})
	errs := make(chan error, conns)
	ctx := f.context()
	for i := range conns {
		go func() {
			c, err := f.transport.Dial(ctx, l.Addr().String())
			if err == nil {
				err = exchange(c, payload(100_000+i, uint64(i)))
				c.Close()
			}
			errs <- err
		}()
	}
	for range conns {
		if err := receive(f, "exchange", errs); err != nil {
			f.Error(err)
		}
	}
	l.Close()
	echoes.Wait()
}

// Both ends write megabytes before either has read: neither direction waits for
// the other.
func testDuplex(f *fixture) {
	a, b := f.pair()
	fromA, fromB := payload(2<<20, 2), payload(2<<20, 3)
	errs := make(chan error, 4)
	send := func(c net.Conn, p []byte) {
		_, err := c.Write(p)
		errs <- err
	}
	check := func(c net.Conn, want []byte) {
		got := make([]byte, len(want))
		_, err := io.ReadFull(c, got)
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("bytes differ")
		}
		errs <- err
	}
	go send(a, fromA)
	go send(b, fromB)
	go check(a, fromB)
	go check(b, fromA)
	for range 4 {
		if err := receive(f, "duplex", errs); err != nil {
			f.Error(err)
		}
	}
}

// Close ends a Read that waits, with an error.
func testCloseUnblocksRead(f *fixture) {
	c, _ := f.pair()
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	c.Close()
	if err := receive(f, "Read", done); err == nil {
		f.Error("Read after Close: no error")
	}
}

// Close ends a Write that waits for a peer that does not read.
func testCloseUnblocksWrite(f *fixture) {
	c, _ := f.pair()
	progress, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		block := make([]byte, 64<<10)
		for {
			if _, err := c.Write(block); err != nil {
				done <- err
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	receive(f, "first Write", progress)
	soon(f, "Close", c.Close)
	receive(f, "Write", done)
}

// Close ends an Accept that waits, with net.ErrClosed.
func testCloseUnblocksAccept(f *fixture) {
	l := f.listen()
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	l.Close()
	if err := receive(f, "Accept", done); !errors.Is(err, net.ErrClosed) {
		f.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
}

// A second Close neither panics nor hangs, and use after Close is an error.
func testCloseTwice(f *fixture) {
	c, _ := f.pair()
	soon(f, "Close", c.Close)
	soon(f, "second Close", c.Close)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		f.Error("Read after Close: no error")
	}
	if _, err := c.Write([]byte{1}); err == nil {
		f.Error("Write after Close: no error")
	}
}

// A passed deadline ends Read with os.ErrDeadlineExceeded, before and during the
// wait, and a new deadline makes the connection usable again.
func testReadDeadline(f *fixture) {
	c, peer := f.pair()
	read := func() error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	for _, when := range []time.Duration{-time.Second, 10 * time.Millisecond} {
		if err := c.SetReadDeadline(time.Now().Add(when)); err != nil {
			f.Fatal(err)
		}
		if err := soon(f, "Read", read); !errors.Is(err, os.ErrDeadlineExceeded) {
			f.Errorf("Read with a deadline of %v: %v", when, err)
		}
	}
	// A deadline that is set while Read waits counts too.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		f.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- read() }()
	if err := c.SetDeadline(time.Now()); err != nil {
		f.Fatal(err)
	}
	if err := receive(f, "Read", done); !errors.Is(err, os.ErrDeadlineExceeded) {
		f.Errorf("Read with a deadline set meanwhile: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		f.Fatal(err)
	}
	if _, err := peer.Write([]byte{1}); err != nil {
		f.Fatal(err)
	}
	if err := soon(f, "Read", read); err != nil {
		f.Errorf("Read after the deadline was lifted: %v", err)
	}
}

// A Write that the peer does not take ends at its deadline.
func testWriteDeadline(f *fixture) {
	c, _ := f.pair()
	if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		f.Fatal(err)
	}
	err := soon(f, "Write", func() error {
		block := make([]byte, 64<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		f.Errorf("Write to a peer that does not read: %v", err)
	}
}

// To dial an address where nobody listens is an error within the context's time.
func testDialNobody(f *fixture) {
	l := f.listen()
	l.Close()
	err := soon(f, "Dial", func() error {
		c, err := f.transport.Dial(f.context(), l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		f.Errorf("Dial nobody: %v, want ECONNREFUSED", err)
	}
}

// A context that has ended stops Listen and Dial.
func testDialCanceled(f *fixture) {
	l := f.listen()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c, err := f.transport.Dial(ctx, l.Addr().String())
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, context.Canceled) {
		f.Errorf("Dial: %v, want context.Canceled", err)
	}
}

// The context of Dial and Listen does not bound the life of what they return.
func testContextEndsAfterDial(f *fixture) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := f.transport.Listen(ctx, f.address)
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = swapByte(c)
			<-ended
			err = errors.Join(err, swapByte(c))
			c.Close()
		}
		accepted <- err
	}()
	c, err := f.transport.Dial(ctx, l.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	err = swapByte(c)
	cancel()
	close(ended)
	if err := errors.Join(err, swapByte(c), receive(f, "peer", accepted)); err != nil {
		f.Error(err)
	}
}

// An address that is taken is refused.
func testAddressInUse(f *fixture) {
	l := f.listen()
	second, err := f.transport.Listen(f.context(), l.Addr().String())
	if err == nil {
		second.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		f.Errorf("second Listen on %s: %v, want EADDRINUSE", l.Addr(), err)
	}
}

// A listener that closes frees its address.
func testAddressFreeAgain(f *fixture) {
	l := f.listen()
	l.Close()
	again, err := f.transport.Listen(f.context(), l.Addr().String())
	if err != nil {
		f.Fatalf("Listen on %s after Close: %v", l.Addr(), err)
	}
	again.Close()
}

// What the peer wrote before it closed arrives whole, then io.EOF.
func testDataBeforeClose(f *fixture) {
	c, peer := f.pair()
	want := payload(32<<10, 4)
	if _, err := peer.Write(want); err != nil {
		f.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got[:100]); err != nil {
		f.Fatal(err)
	}
	soon(f, "Close", peer.Close)
	if _, err := io.ReadFull(c, got[100:]); err != nil {
		f.Fatalf("the rest after the peer closed: %v", err)
	}
	if !bytes.Equal(got, want) {
		f.Error("bytes differ")
	}
	if n, err := c.Read(got); n != 0 || err != io.EOF {
		f.Errorf("Read at the end: %d, %v, want 0, io.EOF", n, err)
	}
}

// A peer that connects and then says nothing, not even a handshake, does not keep
// others from being accepted.
func testSilentPeer(f *fixture) {
	l := f.listen()
	network, address := l.Addr().Network(), l.Addr().String()
	if network == "tcp" {
		for range 3 {
			silent, err := net.Dial(network, address)
			if err != nil {
				f.Fatal(err)
			}
			defer silent.Close()
		}
	}
	var serving sync.WaitGroup
	f.Cleanup(serving.Wait) // runs after the connections are closed
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.Cleanup(func() { c.Close() })
			serving.Go(func() { _ = swapByte(c) }) // fails for the silent ones
		}
	})
	err := soon(f, "exchange beside a silent peer", func() error {
		c, err := f.transport.Dial(f.context(), address)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		defer c.Close()
		return swapByte(c)
	})
	if err != nil {
		f.Error(err)
	}
	l.Close()
}

// A connection that is transport.Bound has one binding at both ends, and no other has the same.
func testBinding(f *fixture) {
	binding := func(c net.Conn) []byte {
		b, ok := c.(transport.Bound)
		if !ok {
			return nil
		}
		bytes, err := b.Binding()
		if err != nil {
			f.Fatalf("Binding: %v", err)
		}
		return bytes
	}
	l := f.listen()
	dialed, accepted := f.connect(l)
	one := binding(dialed)
	if other := binding(accepted); !bytes.Equal(one, other) {
		f.Errorf("the ends of a connection have the bindings %x and %x", one, other)
	}
	again, _ := f.connect(l)
	if other := binding(again); len(one) > 0 && bytes.Equal(one, other) {
		f.Errorf("two connections have the binding %x", one)
	}
}
