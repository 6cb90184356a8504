package codec

import (
	"fmt"
	"strconv"
	"strings"
)

// AsBytes returns the bytes of a value that has some.
func AsBytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return v, true
	case string:
		return []byte(v), true
	}
	return nil, false
}

// Describe shows a key for an error.
func Describe(key []any) string {
	parts := make([]string, len(key))
	for i, v := range key {
		switch v := v.(type) {
		case []byte:
			parts[i] = fmt.Sprintf("%q", v)
		case string:
			parts[i] = fmt.Sprintf("%q", v)
		default:
			parts[i] = fmt.Sprint(v)
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// AppendLiteral appends v as SQL that the server stores in the column, or compares
// with it by the column's own collation, without any conversion. It relies on ddb's
// sql_mode (backslash escapes) and on character_set_client being utf8mb4.
func (c Column) AppendLiteral(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "NULL"...)
	case bool:
		if v {
			return append(b, '1')
		}
		return append(b, '0')
	case int64:
		b = strconv.AppendInt(b, v, 10)
	case int:
		b = strconv.AppendInt(b, int64(v), 10)
	case uint64:
		b = strconv.AppendUint(b, v, 10)
	case float64:
		b = strconv.AppendFloat(b, v, 'e', -1, 64)
	case string:
		return appendString(b, c.Kind, v)
	case []byte:
		if v == nil {
			return append(b, "NULL"...)
		}
		return appendString(b, c.Kind, v)
	default:
		return appendString(b, c.Kind, fmt.Sprint(v))
	}
	return b
}

func appendString[T string | []byte](b []byte, k Kind, v T) []byte {
	switch k {
	case KindFixed, KindInt, KindBits, KindFloat:
		if isNumber(v) {
			return append(b, v...)
		}
	case KindText, KindBytes:
		b = append(b, "_binary"...)
	case KindJSON:
		b = append(b, "_utf8mb4"...)
	}
	b = append(b, '\'')
	b = AppendEscaped(b, v)
	return append(b, '\'')
}

// isNumber reports whether v is a plain number, safe to stand without quotes.
func isNumber[T string | []byte](v T) bool {
	digits := false
	for i := range len(v) {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
			digits = true
		case c == '-' && i == 0, c == '.':
		default:
			return false
		}
	}
	return digits
}

// AppendEscaped appends v as it stands between quotes.
func AppendEscaped[T string | []byte](b []byte, v T) []byte {
	for i := range len(v) {
		switch c := v[i]; c {
		case 0:
			b = append(b, '\\', '0')
		case '\'', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case 0x1a:
			b = append(b, '\\', 'Z')
		default:
			b = append(b, c)
		}
	}
	return b
}

// Size is about the number of bytes that v takes as a literal.
func Size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) + len(v)/16 + 12
	case []byte:
		return len(v) + len(v)/16 + 12
	}
	return 24
}
