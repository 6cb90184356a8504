package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/s2"
)

// Limits.
const (
	// MaxFrame is the default limit of a message's payload in bytes, both as it
	// is sent and decompressed. It leaves room for a row with several columns of
	// 16 MiB.
	MaxFrame = 64 << 20

	headerSize   = 16
	readStep     = 256 << 10 // first memory for a payload; doubled as bytes arrive
	compressFrom = 1 << 10   // smaller payloads are sent as they are
	keepScratch  = 1 << 20   // larger scratch buffers are dropped after use
	bufferSize   = 32 << 10
)

const (
	magic   = 0xDB
	version = 2

	flagCompressed = 1 << 0
)

// What [Conn.Read] may find. All are final: the connection can only be closed.
var (
	// ErrNotDDB says that the peer sent something that is no frame.
	ErrNotDDB = errors.New("the peer does not speak ddb's protocol; check the address and port, and that TLS is on at both ends or at neither")

	// ErrVersion says that the peer's frames are of another version.
	ErrVersion = errors.New("the peer speaks another version of ddb's protocol; run the same version of ddb on both nodes")

	// ErrFrameTooLarge says that a payload is over the limit. From Write it is
	// not final: nothing was sent.
	ErrFrameTooLarge = errors.New("message too large")

	// ErrChecksum says that a frame was damaged on its way.
	ErrChecksum = errors.New("checksum mismatch: the message was damaged on its way")

	// ErrCorrupt says that a frame arrived as sent but makes no sense.
	ErrCorrupt = errors.New("malformed message")

	// ErrTruncated says that the connection ended within a frame. It comes
	// together with the reason, [io.ErrUnexpectedEOF] for a plain end.
	ErrTruncated = errors.New("connection ended in the middle of a message")
)

// StrangerError is the [ErrNotDDB] of [Conn.Read].
type StrangerError struct {
	Began []byte // the first bytes that came, at most 16
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("%v (it began with %q)", ErrNotDDB, e.Began)
}
func (e *StrangerError) Unwrap() error { return ErrNotDDB }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Conn reads and writes messages. One goroutine may read while another writes;
// two must not read, nor two write, at the same time.
type Conn struct {
	limit  int
	reader *bufio.Reader
	broken error // why reading has ended

	writer     *bufio.Writer
	encoded    bytes.Buffer // scratch of Write
	compressed []byte       // scratch of WritePayload
}

// NewConn returns a Conn on rw. No payload over limit bytes is written or read;
// 0 means [MaxFrame].
func NewConn(rw io.ReadWriter, limit int) *Conn {
	if limit <= 0 {
		limit = MaxFrame
	}
	size := min(bufferSize, headerSize+limit)
	return &Conn{
		limit:  limit,
		reader: bufio.NewReaderSize(rw, size),
		writer: bufio.NewWriterSize(rw, size),
	}
}

// Write sends msg, encoded as [Marshal] does, and flushes.
func (c *Conn) Write(kind uint8, msg any) error {
	c.encoded.Reset()
	if err := encMode.MarshalToBuffer(msg, &c.encoded); err != nil {
		return fmt.Errorf("encode message of kind %d: %w", kind, err)
	}
	err := c.WritePayload(kind, c.encoded.Bytes())
	if c.encoded.Cap() > keepScratch {
		c.encoded = bytes.Buffer{}
	}
	return err
}

// WritePayload sends a payload that is already encoded, and flushes.
func (c *Conn) WritePayload(kind uint8, payload []byte) error {
	if len(payload) > c.limit {
		return fmt.Errorf("%w: kind %d has %d bytes, the limit is %d", ErrFrameTooLarge, kind, len(payload), c.limit)
	}
	var flags uint8
	if len(payload) > compressFrom {
		if room := s2.MaxEncodedLen(len(payload)); cap(c.compressed) < room {
			c.compressed = make([]byte, room)
		}
		// An eighth is what makes the peer's decompression worth its while.
		block := s2.Encode(c.compressed[:cap(c.compressed)], payload)
		if len(block) <= len(payload)-len(payload)/8 {
			payload, flags = block, flagCompressed
		}
	}
	header := frameHeader(kind, flags, payload)
	// bufio.Writer keeps its first error and Flush returns it.
	_, _ = c.writer.Write(header[:])
	_, _ = c.writer.Write(payload)
	if cap(c.compressed) > keepScratch {
		c.compressed = nil
	}
	if err := c.writer.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// frameHeader writes a header.
func frameHeader(kind, flags uint8, payload []byte) (h [headerSize]byte) {
	h[0], h[1], h[2], h[3] = magic, version, kind, flags
	binary.BigEndian.PutUint32(h[4:], uint32(len(payload)))
	binary.BigEndian.PutUint32(h[8:], crc32.Checksum(payload, castagnoli))
	binary.BigEndian.PutUint32(h[12:], crc32.Checksum(h[:12], castagnoli))
	return h
}

// Read returns the next message. The payload is the caller's to keep; [Unmarshal]
// decodes it. When the peer has closed between two messages the error is
// [io.EOF].
//
// A deadline that passes before a message has begun to arrive loses nothing:
// after a new deadline Read can be called again. Any other error is final.
func (c *Conn) Read() (kind uint8, payload []byte, err error) {
	if c.broken != nil {
		return 0, nil, c.broken
	}
	header, err := c.peekHeader()
	if err != nil {
		return 0, nil, err
	}
	kind, flags := header[2], header[3]
	wire, err := c.readPayload(header)
	if err == nil && flags&flagCompressed != 0 {
		wire, err = c.decompress(wire)
	}
	if err != nil {
		c.broken = err
		return 0, nil, err
	}
	return kind, wire, nil
}

// peekHeader returns a valid header without consuming it.
func (c *Conn) peekHeader() ([]byte, error) {
	// A peer that is no ddb node may send less than a header and then wait, so
	// each byte is judged as soon as it can be.
	b, err := c.reader.Peek(1)
	if err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read: %w", err)
	}
	if b[0] != magic {
		if c.damaged() {
			return nil, c.broken
		}
		began, _ := c.reader.Peek(min(c.reader.Buffered(), 16)) // buffered, so it cannot fail
		c.broken = &StrangerError{Began: bytes.Clone(began)}
		return nil, c.broken
	}
	if b, err = c.reader.Peek(2); err == nil && b[1] != version {
		if !c.damaged() {
			c.broken = fmt.Errorf("%w (%d there, %d here)", ErrVersion, b[1], version)
		}
		return nil, c.broken
	}
	if b, err = c.reader.Peek(headerSize); err != nil {
		return nil, truncated(err)
	}
	if got, want := crc32.Checksum(b[:12], castagnoli), binary.BigEndian.Uint32(b[12:]); got != want {
		c.broken = fmt.Errorf("%w (header: %08x announced, %08x found)", ErrChecksum, want, got)
		return nil, c.broken
	}
	if b[3]&^flagCompressed != 0 {
		c.broken = fmt.Errorf("%w: unknown flags %#x", ErrCorrupt, b[3])
		return nil, c.broken
	}
	if n := binary.BigEndian.Uint32(b[4:]); uint64(n) > uint64(c.limit) {
		c.broken = fmt.Errorf("%w: kind %d announces %d bytes, the limit is %d", ErrFrameTooLarge, b[2], n, c.limit)
		return nil, c.broken
	}
	return b, nil
}

// damaged reports whether what has arrived is a header of this version but for its first two bytes, which makes it a
// message that was damaged rather than a stranger's.
func (c *Conn) damaged() bool {
	b, _ := c.reader.Peek(min(c.reader.Buffered(), headerSize))
	if len(b) < headerSize {
		return false
	}
	head := [12]byte{magic, version}
	copy(head[2:], b[2:])
	if crc32.Checksum(head[:], castagnoli) != binary.BigEndian.Uint32(b[12:]) {
		return false
	}
	c.broken = fmt.Errorf("%w (header)", ErrChecksum)
	return true
}

func truncated(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrTruncated, err)
}

// readPayload reads what follows header, which is valid only until the first
// byte is consumed, and checks the sum.
func (c *Conn) readPayload(header []byte) ([]byte, error) {
	length := int(binary.BigEndian.Uint32(header[4:]))
	want := binary.BigEndian.Uint32(header[8:])
	_, _ = c.reader.Discard(headerSize) // just peeked, so it cannot fail

	payload := make([]byte, 0, min(length, readStep))
	for {
		start := len(payload)
		payload = payload[:cap(payload)]
		if _, err := io.ReadFull(c.reader, payload[start:]); err != nil {
			return nil, truncated(err)
		}
		if len(payload) == length {
			break
		}
		grown := make([]byte, len(payload), min(2*len(payload), length))
		copy(grown, payload)
		payload = grown
	}
	if got := crc32.Checksum(payload, castagnoli); got != want {
		return nil, fmt.Errorf("%w (%08x announced, %08x found)", ErrChecksum, want, got)
	}
	return payload, nil
}

func (c *Conn) decompress(block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if n > c.limit {
		return nil, fmt.Errorf("%w: it decompresses to %d bytes, the limit is %d", ErrFrameTooLarge, n, c.limit)
	}
	payload, err := s2.Decode(nil, block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return payload, nil
}
