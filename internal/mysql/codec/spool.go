package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// spoolMemory is how many bytes of rows are kept in memory; more go to a file.
const spoolMemory = 4 << 20

// Spool takes all rows of a query before any is handed on. A connection carries one
// statement at a time, so without it a callback could not use the connection that
// the rows come from. It holds at most spoolMemory plus one row in memory.
type Spool struct {
	buf   []byte
	file  *os.File
	Rows  int
	width int // values in a row
}

// Close removes the file, if there is one.
func (s *Spool) Close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}

// Tags of the values in a spool.
const (
	tagNil byte = iota
	tagInt
	tagUint
	tagFloat
	tagString
	tagBytes
)

// add appends a row, which it copies.
func (s *Spool) add(cells []any) error {
	for _, cl := range cells {
		c := cl.(*Cell)
		s.buf = append(s.buf, c.tag)
		switch c.tag {
		case tagInt:
			s.buf = binary.AppendVarint(s.buf, int64(c.n))
		case tagUint:
			s.buf = binary.AppendUvarint(s.buf, c.n)
		case tagFloat:
			s.buf = binary.BigEndian.AppendUint64(s.buf, c.n)
		case tagString, tagBytes:
			s.buf = binary.AppendUvarint(s.buf, uint64(len(c.b)))
			s.buf = append(s.buf, c.b...)
		}
	}
	s.Rows++
	if len(s.buf) < spoolMemory {
		return nil
	}
	return s.flush()
}

func (s *Spool) flush() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "ddb-rows-*"); err != nil {
			return fmt.Errorf("spool rows: %w", err)
		}
	}
	if _, err = s.file.Write(s.buf); err != nil {
		return fmt.Errorf("spool rows: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// Each hands on the rows in order. The slice is
// reused for the next row, the values in it are not.
func (s *Spool) Each(emit func([]any) error) error {
	var r io.Reader = bytes.NewReader(s.buf)
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("spool rows: %w", err)
		}
		r = io.MultiReader(s.file, r)
	}
	in := bufio.NewReaderSize(r, 64<<10)
	row := make([]any, s.width)
	for range s.Rows {
		for i := range row {
			var err error
			if row[i], err = readValue(in); err != nil {
				return fmt.Errorf("spool rows: %w", err)
			}
		}
		if err := emit(row); err != nil {
			return err
		}
	}
	return nil
}

func readValue(in *bufio.Reader) (any, error) {
	tag, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	switch tag {
	case tagNil:
		return nil, nil
	case tagInt:
		return anyOf(binary.ReadVarint(in))
	case tagUint:
		return anyOf(binary.ReadUvarint(in))
	case tagFloat:
		var b [8]byte
		_, err := io.ReadFull(in, b[:])
		return math.Float64frombits(binary.BigEndian.Uint64(b[:])), err
	case tagString, tagBytes:
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, err
		}
		if tag == tagBytes {
			b := make([]byte, n)
			_, err = io.ReadFull(in, b)
			return b, err
		}
		if n <= uint64(in.Size()) {
			b, err := in.Peek(int(n))
			if err != nil {
				return nil, err
			}
			s := string(b)
			_, err = in.Discard(len(b))
			return s, err
		}
		var sb strings.Builder
		sb.Grow(int(n))
		_, err = io.CopyN(&sb, in, int64(n))
		return sb.String(), err
	}
	return nil, errors.New("damaged")
}

func anyOf[T any](v T, err error) (any, error) { return v, err }
