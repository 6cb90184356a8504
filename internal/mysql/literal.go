package mysql

import (
	"fmt"
	"strconv"
	"strings"
)

func asBytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return v, true
	case string:
		return []byte(v), true
	}
	return nil, false
}

// describe shows a key for an error.
func describe(key []any) string {
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

// appendLiteral appends v as SQL that the server stores in the column, or compares
// with it by the column's own collation, without any conversion. It relies on ddb's
// sql_mode (backslash escapes) and on character_set_client being utf8mb4.
func (c column) appendLiteral(b []byte, v any) []byte {
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
		return appendString(b, c.kind, v)
	case []byte:
		if v == nil {
			return append(b, "NULL"...)
		}
		return appendString(b, c.kind, v)
	default:
		return appendString(b, c.kind, fmt.Sprint(v))
	}
	return b
}

func appendString[T string | []byte](b []byte, k kind, v T) []byte {
	switch k {
	case kindFixed, kindInt, kindBits, kindFloat:
		if isNumber(v) {
			return append(b, v...)
		}
	case kindText, kindBytes:
		b = append(b, "_binary"...)
	case kindJSON:
		b = append(b, "_utf8mb4"...)
	}
	b = append(b, '\'')
	b = appendEscaped(b, v)
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

func appendEscaped[T string | []byte](b []byte, v T) []byte {
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

// size is about the number of bytes that v takes as a literal.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) + len(v)/16 + 12
	case []byte:
		return len(v) + len(v)/16 + 12
	}
	return 24
}
