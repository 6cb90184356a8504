package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrRow says that bytes are no row, or not one of as many values as asked for.
var ErrRow = errors.New("malformed row")

// The first byte of a CBOR item: three bits of major type, five of which up to 23
// are the argument itself and 24 to 27 say that it follows in 1, 2, 4 or 8 bytes.
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5

	itemFalse   = 0xf4
	itemTrue    = 0xf5
	itemNull    = 0xf6
	itemFloat32 = 0xfa
	itemFloat64 = 0xfb
)

// Row is the values of one row. It encodes as the CBOR array that []any would,
// by hand and many times faster, and decodes to the types of [DecodeRow] but
// shares no memory with what it was decoded from.
type Row []any

// MarshalCBOR returns the row as a CBOR array.
func (r Row) MarshalCBOR() ([]byte, error) {
	for _, v := range r {
		if !IsValue(v) {
			return nil, fmt.Errorf("a row cannot hold a value of type %T", v)
		}
	}
	if r == nil {
		return []byte{itemNull}, nil
	}
	return AppendRow(appendHead(nil, majorArray, uint64(len(r))), r), nil
}

// UnmarshalCBOR replaces the row by that in a CBOR array.
func (r *Row) UnmarshalCBOR(b []byte) error {
	if len(b) == 1 && b[0] == itemNull {
		*r = nil
		return nil
	}
	if len(b) == 0 || b[0]&0xe0 != majorArray {
		return fmt.Errorf("%w: not an array", ErrRow)
	}
	n, rest, err := readHead(b)
	if err != nil {
		return err
	}
	if n > uint64(len(rest)) { // each value takes a byte at least
		return fmt.Errorf("%w: %d values announced in %d bytes", ErrRow, n, len(rest))
	}
	values := make([]any, n)
	rest, err = DecodeRow(append([]byte(nil), rest...), int(n), values)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrRow, len(rest))
	}
	*r = values
	return nil
}

// IsValue reports whether [AppendRow] takes v.
func IsValue(v any) bool {
	switch v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, string, []byte:
		return true
	}
	return false
}

// AppendRow appends each value as one CBOR item, without an array around them,
// and returns the extended slice. The bytes are those that [Marshal] gives. It
// panics on a value that is not an [IsValue].
func AppendRow(dst []byte, values []any) []byte {
	for _, value := range values {
		dst = appendValue(dst, value)
	}
	return dst
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(dst, itemNull)
	case int64:
		return appendInt(dst, v)
	case string:
		return append(appendHead(dst, majorText, uint64(len(v))), v...)
	case []byte:
		if v == nil {
			return append(dst, itemNull)
		}
		return append(appendHead(dst, majorBytes, uint64(len(v))), v...)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, itemFloat64), math.Float64bits(v))
	case uint64:
		return appendHead(dst, majorUint, v)
	case bool:
		if v {
			return append(dst, itemTrue)
		}
		return append(dst, itemFalse)
	case float32:
		return binary.BigEndian.AppendUint32(append(dst, itemFloat32), math.Float32bits(v))
	case int:
		return appendInt(dst, int64(v))
	case int8:
		return appendInt(dst, int64(v))
	case int16:
		return appendInt(dst, int64(v))
	case int32:
		return appendInt(dst, int64(v))
	case uint:
		return appendHead(dst, majorUint, uint64(v))
	case uint8:
		return appendHead(dst, majorUint, uint64(v))
	case uint16:
		return appendHead(dst, majorUint, uint64(v))
	case uint32:
		return appendHead(dst, majorUint, uint64(v))
	}
	panic(fmt.Sprintf("wire: a row cannot hold a value of type %T", value))
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNeg, uint64(^v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// appendHead appends the shortest head with this argument.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return append(dst, major|25, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

// DecodeRow reads n values from src into into[:n] and returns what follows them.
// The types are those of [Normalize]. Strings are copies; a []byte is a part of
// src, with no capacity beyond it, and changes with src. Tags, indefinite lengths
// and 16-bit floats, which AppendRow never writes, give an [ErrRow], as do
// integers below the range of int64.
func DecodeRow(src []byte, n int, into []any) (rest []byte, err error) {
	if n < 0 || n > len(into) {
		return src, fmt.Errorf("%w: %d values asked for, room for %d", ErrRow, n, len(into))
	}
	for i := range n {
		if into[i], src, err = decodeValue(src); err != nil {
			return src, fmt.Errorf("value %d of %d: %w", i+1, n, err)
		}
	}
	return src, nil
}

func decodeValue(src []byte) (any, []byte, error) {
	if len(src) == 0 {
		return nil, src, fmt.Errorf("%w: it ends early", ErrRow)
	}
	switch first := src[0]; first {
	case itemNull:
		return nil, src[1:], nil
	case itemFalse, itemTrue:
		return first == itemTrue, src[1:], nil
	case itemFloat64:
		if len(src) >= 9 {
			return math.Float64frombits(binary.BigEndian.Uint64(src[1:])), src[9:], nil
		}
	case itemFloat32:
		if len(src) >= 5 {
			return float64(math.Float32frombits(binary.BigEndian.Uint32(src[1:]))), src[5:], nil
		}
	}
	major := src[0] & 0xe0
	if major > majorText {
		return nil, src, fmt.Errorf("%w: item %#x is cut short or no database value", ErrRow, src[0])
	}
	n, rest, err := readHead(src)
	if err != nil {
		return nil, src, err
	}
	switch {
	case major == majorUint && n <= math.MaxInt64:
		return int64(n), rest, nil
	case major == majorUint:
		return n, rest, nil
	case major == majorNeg && n <= math.MaxInt64:
		return ^int64(n), rest, nil
	case major == majorNeg:
		return nil, src, fmt.Errorf("%w: integer -1-%d is below the range of int64", ErrRow, n)
	case n > uint64(len(rest)):
		return nil, src, fmt.Errorf("%w: %d bytes announced, %d left", ErrRow, n, len(rest))
	case major == majorText:
		return string(rest[:n]), rest[n:], nil
	}
	return rest[:n:n], rest[n:], nil
}

// readHead reads the argument of an item's head. src is not empty.
func readHead(src []byte) (n uint64, rest []byte, err error) {
	info := src[0] & 0x1f
	if info < 24 {
		return uint64(info), src[1:], nil
	}
	if info > 27 {
		return 0, src, fmt.Errorf("%w: item %#x has no definite length", ErrRow, src[0])
	}
	size := 1 << (info - 24)
	if len(src) < 1+size {
		return 0, src, fmt.Errorf("%w: it ends early", ErrRow)
	}
	for _, b := range src[1 : 1+size] {
		n = n<<8 | uint64(b)
	}
	return n, src[1+size:], nil
}
