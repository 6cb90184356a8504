package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/s2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type message struct {
	Name string
	Rows []Row
}

func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// frame builds a frame by hand from the table in the package doc.
func frame(kind, flags byte, payload []byte) []byte {
	b := []byte{0xDB, 2, kind, flags}
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, payload...)
}

func reader(b []byte, limit int) *Conn { return NewConn(bytes.NewBuffer(b), limit) }

// Messages of all sizes come back as they were written, however the bytes are
// cut up on their way, followed by io.EOF.
func TestMessages(t *testing.T) {
	var sent bytes.Buffer
	w := NewConn(&sent, 0)
	payloads := [][]byte{nil, {1}, bytes.Repeat([]byte("z"), 5000), noise(compressFrom + 1), noise(3 << 20), bytes.Repeat([]byte("abc"), 1<<20)}
	for i, p := range payloads {
		if err := w.WritePayload(uint8(i), p); err != nil {
			t.Fatal(err)
		}
	}
	want := message{Name: "x\x00\xff", Rows: []Row{{int64(1), nil, []byte{}, "text"}}}
	if err := w.Write(99, want); err != nil {
		t.Fatal(err)
	}
	raw := sent.Bytes()
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(raw),
		"half":  iotest.HalfReader(bytes.NewReader(raw)),
		"bytes": iotest.OneByteReader(bytes.NewReader(raw)),
	} {
		c := NewConn(struct {
			io.Reader
			io.Writer
		}{r, nil}, 0)
		for i, p := range payloads {
			kind, got, err := c.Read()
			if err != nil || kind != uint8(i) || !bytes.Equal(got, p) {
				t.Fatalf("%s: message %d: kind %d, %d bytes, %v", name, i, kind, len(got), err)
			}
		}
		_, payload, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode[message](payload)
		if err != nil || got.Name != want.Name || len(got.Rows) != 1 || !sameValues(got.Rows[0], want.Rows[0]) {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
		if _, _, err := c.Read(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

// Compression happens only where it pays.
func TestCompression(t *testing.T) {
	size := func(p []byte) int {
		var b bytes.Buffer
		if err := NewConn(&b, 0).WritePayload(1, p); err != nil {
			t.Fatal(err)
		}
		return b.Len() - headerSize
	}
	if got := size(bytes.Repeat([]byte("row "), 10_000)); got > 4_000 {
		t.Errorf("40,000 repetitive bytes took %d", got)
	}
	if got := size(noise(40_000)); got != 40_000 {
		t.Errorf("40,000 random bytes took %d", got)
	}
	if got := size(make([]byte, compressFrom)); got != compressFrom {
		t.Errorf("a small payload took %d", got)
	}
}

// Each way in which a frame can be wrong has its error, and the error stays.
func TestBadFrames(t *testing.T) {
	good := frame(1, 0, []byte("payload"))
	changed := func(i int, b byte) []byte {
		f := bytes.Clone(good)
		f[i] ^= b
		return f
	}
	bomb := s2.Encode(nil, make([]byte, 1<<20))
	tests := []struct {
		name  string
		input []byte
		want  error
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ErrNotDDB},
		{"one strange byte", []byte("\x16"), ErrNotDDB},
		{"version", []byte("\xdb\x01\x01\x00\x00\x00\x00\x02abcdefgh"), ErrVersion},
		{"version, cut", []byte{magic, 9}, ErrVersion},
		{"kind damaged", changed(2, 1), ErrChecksum},
		{"flags unknown", frame(1, 0x80, nil), ErrCorrupt},
		{"magic damaged", changed(0, 1), ErrChecksum},
		{"version damaged", changed(1, 1), ErrChecksum},
		{"flags damaged", changed(3, 0x80), ErrChecksum},
		{"length damaged", changed(7, 0x10), ErrChecksum},
		{"sum damaged", changed(8, 1), ErrChecksum},
		{"sum of the header damaged", changed(12, 1), ErrChecksum},
		{"payload damaged", changed(16, 1), ErrChecksum},
		{"length over the limit", frame(1, 0, make([]byte, 1<<16+1)), ErrFrameTooLarge},
		{"header cut", good[:5], ErrTruncated},
		{"payload cut", good[:18], io.ErrUnexpectedEOF},
		{"bomb", frame(1, flagCompressed, bomb), ErrFrameTooLarge},
		{"bomb, varint only", frame(1, flagCompressed, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}), ErrFrameTooLarge},
		{"no S2", frame(1, flagCompressed, []byte{200, 1, 1, 2, 3}), ErrCorrupt},
		{"empty S2", frame(1, flagCompressed, nil), ErrCorrupt},
	}
	for _, test := range tests {
		c := reader(test.input, 1<<16)
		for range 2 {
			if _, _, err := c.Read(); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
		}
	}
}

// A message over the limit is refused before a byte is sent.
func TestWriteTooLarge(t *testing.T) {
	var b bytes.Buffer
	c := NewConn(&b, 100)
	if err := c.WritePayload(1, make([]byte, 101)); !errors.Is(err, ErrFrameTooLarge) || b.Len() > 0 {
		t.Errorf("%v, %d bytes sent", err, b.Len())
	}
	if err := c.WritePayload(1, make([]byte, 100)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

// A header that announces much and delivers nothing costs little memory.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) {
	header := frame(1, 0, nil)
	binary.BigEndian.PutUint32(header[4:], MaxFrame)
	binary.BigEndian.PutUint32(header[12:], crc32.Checksum(header[:12], castagnoli))
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := reader(header, 0).Read(); !errors.Is(err, ErrTruncated) {
				b.Fatal(err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > 1<<20 {
		t.Errorf("%d bytes were allocated for an empty frame that announced %d", got, MaxFrame)
	}
}

// A deadline that passes between messages loses nothing.
func TestReadDeadlineBetweenMessages(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := NewConn(a, 0)
	a.SetReadDeadline(time.Now())
	if _, _, err := c.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	a.SetReadDeadline(time.Time{})
	go b.Write(frame(5, 0, []byte("after")))
	if kind, p, err := c.Read(); err != nil || kind != 5 || string(p) != "after" {
		t.Errorf("%d, %q, %v", kind, p, err)
	}
}

// Whatever arrives, the reader neither panics nor hands out more than its limit,
// and what it accepts it also writes and reads again.
func FuzzRead(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(frame(1, 0, []byte("hello")))
	f.Add(frame(2, flagCompressed, s2.Encode(nil, bytes.Repeat([]byte("ab"), 2000))))
	f.Add(append(frame(1, 0, nil), frame(9, 0, []byte{0xf6})...))
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, input []byte) {
		c := reader(input, limit)
		for {
			kind, payload, err := c.Read()
			if err != nil {
				return
			}
			if len(payload) > limit {
				t.Fatalf("%d bytes, the limit is %d", len(payload), limit)
			}
			var b bytes.Buffer
			again := NewConn(&b, limit)
			if err := again.WritePayload(kind, payload); err != nil {
				t.Fatal(err)
			}
			if k, p, err := again.Read(); err != nil || k != kind || !bytes.Equal(p, payload) {
				t.Fatalf("again: %d, %x, %v", k, p, err)
			}
		}
	})
}
