package fault

import (
	"bytes"
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
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
	"github.com/ddb-project/ddb/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Without faults, and with slow links, it does what every transport must.
func TestTransport(t *testing.T) {
	inners := map[string]func() (transport.Transport, string){
		"inmem": func() (transport.Transport, string) { return inmem.New(), "a" },
		"tcp":   func() (transport.Transport, string) { return tcp.New(tcp.Options{}), "127.0.0.1:0" },
	}
	for name, inner := range inners {
		t.Run(name, func(t *testing.T) {
			transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
				tr, addr := inner()
				return New(tr), addr
			})
		})
		t.Run(name+"/slow", func(t *testing.T) {
			transporttest.Test(t, func(t *testing.T) (transport.Transport, string) {
				tr, addr := inner()
				slow := New(tr)
				slow.SetLatency(time.Millisecond)
				slow.SetBandwidth(100 << 20)
				return slow, addr
			})
		})
	}
}

// link is a connection over a faulty in-memory network, in a bubble.
type link struct {
	*Transport
	listener     net.Listener
	dial, accept net.Conn
}

func inBubble(t *testing.T, run func(t *testing.T, l *link)) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{Transport: New(inmem.New())}
		var err error
		if l.listener, err = l.Listen(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		l.connect(t)
		defer func() {
			l.dial.Close()
			l.accept.Close()
			l.listener.Close()
		}()
		run(t, l)
	})
}

func (l *link) connect(t *testing.T) {
	t.Helper()
	var err error
	if l.dial, err = l.Dial(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if l.accept, err = l.listener.Accept(); err != nil {
		t.Fatal(err)
	}
}

// Cut breaks a Read that waits at either end, and Dial is refused until Heal.
func TestCut(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link) {
		errs := make(chan error, 2)
		for _, c := range []net.Conn{l.dial, l.accept} {
			go func() {
				_, err := c.Read(make([]byte, 1))
				errs <- err
			}()
		}
		synctest.Wait()
		l.Cut("other")
		synctest.Wait()
		if len(errs) > 0 {
			t.Fatal("cutting another link broke this one")
		}
		l.Cut("a")
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrCut) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Read: %v", err)
			}
		}
		if _, err := l.dial.Write([]byte{1}); !errors.Is(err, ErrCut) {
			t.Errorf("Write: %v", err)
		}
		if _, err := l.Dial(t.Context(), "a"); !errors.Is(err, ErrCut) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: %v", err)
		}
		l.dial.Close()
		l.accept.Close()
		l.Heal("a")
		l.connect(t)
		sendAndReceive(t, l.dial, l.accept)
	})
}

// A silent link moves nothing and reports nothing; after Heal the bytes arrive in
// order.
func TestHang(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link) {
		l.Hang("a")
		if _, err := l.dial.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		l.accept.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := l.accept.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read across a silent link: %v", err)
		}
		l.accept.SetReadDeadline(time.Time{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Dial(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial across a silent link: %v", err)
		}
		l.HealAll()
		got := make([]byte, 4)
		if _, err := io.ReadFull(l.accept, got); err != nil || string(got) != "late" {
			t.Errorf("after Heal: %q, %v", got, err)
		}
		sendAndReceive(t, l.accept, l.dial)
	})
}

// Only one end is wrapped: a Read that waits when the link falls silent keeps
// what arrives for later.
func TestHangHoldsWhatArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := inmem.New()
		listener, err := network.Listen(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		faulty := New(network)
		c, err := faulty.Dial(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peer, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan string, 1)
		go func() {
			b := make([]byte, 10)
			n, _ := io.ReadFull(c, b)
			read <- string(b[:n])
		}()
		synctest.Wait()
		faulty.HangAll()
		peer.Write([]byte("held"))
		peer.Close()
		time.Sleep(time.Hour)
		if len(read) > 0 {
			t.Fatal("bytes came through a silent link")
		}
		faulty.HealAll()
		if got := <-read; got != "held" {
			t.Errorf("after HealAll: %q", got)
		}
	})
}

// Close does not wait for a silent link, and ends Reads and Writes across it.
func TestCloseWhileSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link) {
		l.HangAll()
		errs := make(chan error, 2)
		go func() {
			_, err := l.dial.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := l.dial.Write(make([]byte, 2*queueLimit))
			errs <- err
		}()
		synctest.Wait()
		start := time.Now()
		l.dial.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// Latency and bandwidth delay exactly as much as they say, and a close does not
// swallow what is under way.
func TestDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link) {
		l.SetLatency(50 * time.Millisecond)
		start := time.Now()
		sendAndReceive(t, l.dial, l.accept)
		if got := time.Since(start); got != 50*time.Millisecond {
			t.Errorf("one byte took %v, want 50ms", got)
		}
		l.SetBandwidth(1 << 20)
		start = time.Now()
		want := bytes.Repeat([]byte("ddb!"), 1<<18)
		go func() {
			l.dial.Write(want)
			l.dial.Close()
		}()
		got, err := io.ReadAll(l.accept)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if took := time.Since(start).Round(time.Microsecond); took != 1050*time.Millisecond {
			t.Errorf("1 MiB at 1 MiB/s and 50ms took %v", took)
		}
	})
}

// A lossy connection breaks; the same seed breaks it at the same byte and another
// seed elsewhere.
func TestLossIsDeterministic(t *testing.T) {
	survived := func(seed uint64) (n int) {
		inBubble(t, func(t *testing.T, l *link) {
			l.SetSeed(seed)
			l.SetLoss(0.5)
			l.dial.Close()
			l.accept.Close()
			l.connect(t)
			received := make(chan int, 1)
			go func() {
				b, _ := io.ReadAll(l.accept)
				received <- len(b)
			}()
			block := make([]byte, 1000)
			for {
				written, err := l.dial.Write(block)
				n += written
				if err == nil {
					continue
				}
				if !errors.Is(err, ErrLost) || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Write: %v", err)
				}
				break
			}
			if got := <-received; got != n {
				t.Errorf("%d bytes were written and %d arrived", n, got)
			}
		})
		return n
	}
	first, again, other := survived(7), survived(7), survived(8)
	if first != again {
		t.Errorf("the same seed broke after %d and after %d bytes", first, again)
	}
	if first == other {
		t.Errorf("two seeds broke after the same %d bytes", first)
	}
}

// Loss that is switched off breaks nothing, and loss that is switched on breaks
// connections that exist.
func TestLossSwitched(t *testing.T) {
	inBubble(t, func(t *testing.T, l *link) {
		l.SetLoss(1)
		l.SetLoss(0)
		go io.Copy(io.Discard, l.accept)
		if _, err := l.dial.Write(make([]byte, 1<<20)); err != nil {
			t.Errorf("without loss: %v", err)
		}
		l.SetLoss(1)
		if n, err := l.dial.Write(make([]byte, 1<<20)); !errors.Is(err, ErrLost) || n >= lossBlock {
			t.Errorf("with loss: %d, %v", n, err)
		}
	})
}

func sendAndReceive(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := from.Write([]byte{42}); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
