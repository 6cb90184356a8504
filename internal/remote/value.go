package remote

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/ddb-project/ddb/internal/wire"
)

// The tags of values. Each Go type that a driver delivers or accepts has its
// own, so that a value leaves the wire with the type it had.
const (
	tagNull uint8 = iota
	tagInt64
	tagUint64
	tagFloat32
	tagFloat64
	tagFalse
	tagTrue
	tagString
	tagBytes
	tagNilBytes // a []byte that is nil, which some drivers tell from NULL
	tagTime
	tagJSON
	tagNilJSON
)

var errTruncated = fmt.Errorf("%w: a value is cut short", wire.ErrCorrupt)

// appendValue appends v to b. It fails only for types that no driver may use.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, tagNull), nil
	case int64:
		return binary.AppendVarint(append(b, tagInt64), v), nil
	case uint64:
		return binary.AppendUvarint(append(b, tagUint64), v), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, tagFloat64), math.Float64bits(v)), nil
	case float32:
		return binary.BigEndian.AppendUint32(append(b, tagFloat32), math.Float32bits(v)), nil
	case bool:
		if v {
			return append(b, tagTrue), nil
		}
		return append(b, tagFalse), nil
	case string:
		return appendString(append(b, tagString), v), nil
	case []byte:
		if v == nil {
			return append(b, tagNilBytes), nil
		}
		return appendString(append(b, tagBytes), v), nil
	case json.RawMessage: // MySQL's driver sends it as text, unlike []byte
		if v == nil {
			return append(b, tagNilJSON), nil
		}
		return appendString(append(b, tagJSON), v), nil
	case time.Time:
		return appendTime(append(b, tagTime), v), nil
	}
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return b, fmt.Errorf("value of type %T cannot be sent: %w", v, err)
	}
	return appendValue(b, plain)
}

func appendString[S string | []byte | json.RawMessage](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTime keeps the instant, the offset and the zone's abbreviation: SQLite
// drivers write all of them into the column. The monotonic reading means
// nothing on another machine and is dropped.
func appendTime(b []byte, t time.Time) []byte {
	name, offset := t.Zone()
	if t.Location() == time.UTC {
		name = "" // told apart from a fixed zone that is also called UTC
	} else if name == "" {
		name = t.Format("-0700")
	}
	b = binary.AppendVarint(b, t.Unix())
	b = binary.AppendUvarint(b, uint64(t.Nanosecond()))
	b = appendString(b, name)
	return binary.AppendVarint(b, int64(offset))
}

// reader cuts values off the front of a buffer. Its first error sticks.
type reader struct {
	buf []byte
	err error
}

func (r *reader) value() any {
	switch tag := r.byte(); tag {
	case tagNull:
		return nil
	case tagInt64:
		return r.varint()
	case tagUint64:
		return r.uvarint()
	case tagFloat32:
		if b := r.bytes(4); b != nil {
			return math.Float32frombits(binary.BigEndian.Uint32(b))
		}
	case tagFloat64:
		if b := r.bytes(8); b != nil {
			return math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagString:
		return string(r.sized())
	case tagBytes:
		return r.sized()
	case tagNilBytes:
		return []byte(nil)
	case tagTime:
		return r.time()
	case tagJSON:
		return json.RawMessage(r.sized())
	case tagNilJSON:
		return json.RawMessage(nil)
	default:
		r.fail(fmt.Errorf("%w: unknown value tag %d", wire.ErrCorrupt, tag))
	}
	return nil
}

func (r *reader) time() time.Time {
	sec, nsec, name, offset := r.varint(), r.uvarint(), string(r.sized()), r.varint()
	const day = 24 * 60 * 60
	if nsec > 999_999_999 || offset < -2*day || offset > 2*day {
		r.fail(fmt.Errorf("%w: a time is out of range", wire.ErrCorrupt))
	}
	if r.err != nil {
		return time.Time{}
	}
	t := time.Unix(sec, int64(nsec)).UTC()
	if name != "" {
		t = t.In(time.FixedZone(name, int(offset)))
	}
	return t
}

func (r *reader) byte() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return tagNull
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// sized returns a byte slice that aliases the buffer and is never nil.
func (r *reader) sized() []byte {
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.buf)) {
		if n != 0 {
			r.fail(errTruncated)
		}
		return []byte{}
	}
	return r.bytes(int(n))
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n > len(r.buf) {
		r.fail(errTruncated)
		return nil
	}
	b := r.buf[:n:n] // the capacity keeps an append from reaching the next value
	r.buf = r.buf[n:]
	return b
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.buf = err, nil
	}
}

// appendArgs encodes the arguments of a statement, each behind its name.
func appendArgs(b []byte, args []driver.NamedValue) ([]byte, error) {
	var err error
	for _, arg := range args {
		b = appendString(b, arg.Name)
		if b, err = appendValue(b, arg.Value); err != nil {
			return nil, err
		}
	}
	return b, nil
}
