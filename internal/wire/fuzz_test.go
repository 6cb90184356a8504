package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// No input makes Unmarshal panic, into whatever it is decoded, and what it refuses is ErrCorrupt. What it makes of an
// any can be encoded again.
func FuzzUnmarshal(f *testing.F) {
	type inner struct {
		Name string   `cbor:"1,keyasint"`
		Row  Row      `cbor:"2,keyasint"`
		List []string `cbor:"3,keyasint"`
	}
	type outer struct {
		One  *inner            `cbor:"1,keyasint"`
		Many []*inner          `cbor:"2,keyasint"`
		Map  map[string]uint64 `cbor:"3,keyasint"`
		Raw  [][]byte          `cbor:"4,keyasint"`
		Hash [32]byte          `cbor:"5,keyasint"`
	}
	for _, v := range []any{nil, -1, 1.5, "text", []byte{1}, []any{nil, uint64(1) << 63}, map[string]any{"a": 1},
		outer{One: &inner{Name: "n", Row: Row{int64(1), nil, "x"}}, Many: []*inner{nil}, Map: map[string]uint64{"a": 1}, Raw: [][]byte{{1}}}} {
		b, err := Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})                                     // an array of 4 G elements
	f.Add([]byte{0xa1, 0x02, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) // of 16 E, in a struct
	f.Add(bytes.Repeat([]byte{0x81}, 100))                                          // nested
	f.Add([]byte{0xc2, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 9})                            // an integer of 72 bits
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		var list []any
		var rows [][]any
		var m map[string]any
		var row Row
		var o outer
		for _, into := range []any{&v, &list, &rows, &m, &row, &o} {
			if err := Unmarshal(b, into); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%T: %v", into, err)
			}
		}
		if _, err := Marshal(v); err != nil {
			t.Errorf("%x was read as %#v: %v", b, v, err)
		}
	})
}

// scripted is a connection on which everything has arrived already, and nobody reads.
type scripted struct {
	mu     sync.Mutex
	in     *bytes.Reader
	closed bool
}

func (c *scripted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.in.Read(p)
}

func (c *scripted) Write(p []byte) (int, error) { return len(p), nil }

func (c *scripted) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *scripted) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// Whatever frames arrive, at either end of a session, it ends with an error, and nothing hangs.
func FuzzSession(f *testing.F) {
	frame := func(kind uint8, flags uint16, id, n uint32, body string) []byte {
		h := encodeHeader(kind, flags, id, n)
		return append(h[:], body...)
	}
	f.Add(append(frame(frameWindow, flagSYN, 1, 0, ""), frame(frameData, 0, 1, 5, "hello")...))
	f.Add(append(frame(frameData, flagSYN|flagFIN, 2, 1, "x"), frame(frameWindow, flagRST, 2, 0, "")...))
	f.Add(append(frame(framePing, flagSYN, 0, 7, ""), frame(frameGoAway, 0, 0, 0, "")...))
	f.Add(append(frame(frameWindow, flagACK, 1, 1<<32-1, ""), frame(frameWindow, flagACK, 1, 1<<32-1, "")...))
	f.Add(frame(frameData, flagSYN, 1, 1<<31, ""))
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, start := range []func(net.Conn, SessionConfig) (*Session, error){Client, Server} {
			s, err := start(&scripted{in: bytes.NewReader(input)}, SessionConfig{KeepAlive: -1, Backlog: 4})
			if err != nil {
				t.Fatal(err)
			}
			var readers sync.WaitGroup
			if own, err := s.Open(context.Background()); err == nil {
				readers.Go(func() { _, _ = io.Copy(io.Discard, own) })
			}
			for {
				conn, err := s.Accept()
				if err != nil {
					break
				}
				readers.Go(func() {
					_, _ = io.Copy(io.Discard, conn)
					_, _ = conn.Write([]byte("answer"))
					_ = conn.Close()
				})
			}
			readers.Wait()
			if err := s.Err(); !errors.Is(err, ErrSessionClosed) {
				t.Errorf("the session ended with %v", err)
			}
			_ = s.Close()
		}
	})
}
