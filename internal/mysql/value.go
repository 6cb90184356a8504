package mysql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind says how values of a column are read and written.
type kind int

const (
	kindInt   kind = iota // digits
	kindBits              // BIT, ENUM, SET: as numbers
	kindFloat             // FLOAT, DOUBLE: as DOUBLE
	kindFixed             // DECIMAL: as text, written as a number
	kindPlain             // temporal types and addresses: as ASCII text
	kindText              // characters: their bytes in the column's character set
	kindBytes             // BINARY, BLOB, geometry
	kindJSON              // MySQL's own JSON type (MariaDB's is text)
)

func kindOf(dataType string, mariadb bool) kind {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return kindInt
	case "bit", "enum", "set":
		return kindBits
	case "float", "double", "real":
		return kindFloat
	case "decimal", "numeric":
		return kindFixed
	case "date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6":
		return kindPlain
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return kindText
	case "json":
		if !mariadb {
			return kindJSON
		}
		return kindText
	default:
		return kindBytes
	}
}

// selectAs is the expression that reads the column losslessly, whatever the
// driver makes of its type: parseTime must not see a date, and the text protocol
// rounds a FLOAT.
func (c column) selectAs(alias string) string {
	name := ident(c.name)
	if alias != "" {
		name = alias + "." + name
	}
	switch c.kind {
	case kindBits:
		return "CAST(" + name + " AS UNSIGNED)"
	case kindFloat:
		return name + "*1e0"
	case kindPlain:
		return "CAST(" + name + " AS CHAR)"
	}
	return name
}

// unbounded reports whether a value can be as large as what a batch may hold.
func (c column) unbounded() bool {
	switch c.kind {
	case kindText, kindBytes, kindJSON:
		name, _, _ := strings.Cut(c.typ, "(")
		switch name {
		case "char", "varchar", "binary", "varbinary", "tinytext", "tinyblob", "text", "blob":
			return false
		}
		return true
	}
	return false
}

// isList reports whether the column is an ENUM or a SET.
func (c column) isList() bool {
	return strings.HasPrefix(c.typ, "enum(") || strings.HasPrefix(c.typ, "set(")
}

// compare is the expression that stands for a key column in a comparison with a
// literal. The server finds no SET by its number in an index, and not always without.
func (c column) compare() string {
	if strings.HasPrefix(c.typ, "set(") {
		return "CAST(" + ident(c.name) + " AS UNSIGNED)"
	}
	return ident(c.name)
}

// cell receives one value from the driver, in the form that a spool takes. It is no any, since
// a scan would allocate each of them only for the spool to take it apart.
type cell struct {
	kind kind
	utf8 bool
	tag  byte   // says which of the two holds the value
	n    uint64 // an integer, or the bits of a float64
	b    []byte // the driver's own, valid until the next row
}

func (c column) newCell() *cell {
	return &cell{kind: c.kind, utf8: c.kind == kindText && (strings.HasPrefix(c.charset, "utf8") || c.charset == "ascii")}
}

// Scan implements sql.Scanner.
func (c *cell) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		c.tag = tagNil
	case []byte:
		return c.scanBytes(v)
	case string:
		return c.scanBytes([]byte(v))
	case int64:
		c.tag, c.n = tagInt, uint64(v)
	case uint64:
		c.setUint(v)
	case float32:
		c.tag, c.n = tagFloat, math.Float64bits(float64(v))
	case float64:
		c.tag, c.n = tagFloat, math.Float64bits(v)
	default:
		return fmt.Errorf("unexpected %T from the driver", src)
	}
	return nil
}

func (c *cell) scanBytes(b []byte) error {
	c.tag, c.b = tagBytes, b
	switch c.kind {
	case kindInt, kindBits:
		if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			c.tag, c.n = tagInt, uint64(n)
			return nil
		}
		n, err := strconv.ParseUint(string(b), 10, 64)
		c.setUint(n)
		return err
	case kindFloat:
		f, err := strconv.ParseFloat(string(b), 64)
		c.tag, c.n = tagFloat, math.Float64bits(f)
		return err
	case kindFixed: // ZEROFILL shows in some queries and not in others
		for len(b) > 1 && b[0] == '0' && b[1] != '.' {
			b = b[1:]
		}
		c.tag, c.b = tagString, b
	case kindPlain, kindJSON:
		c.tag = tagString
	case kindText:
		if c.utf8 && utf8.Valid(b) {
			c.tag = tagString
		}
	}
	return nil
}

// value returns what was scanned. A []byte is the driver's own.
func (c *cell) value() any {
	switch c.tag {
	case tagInt:
		return int64(c.n)
	case tagUint:
		return c.n
	case tagFloat:
		return math.Float64frombits(c.n)
	case tagString:
		return string(c.b)
	case tagBytes:
		if c.b == nil {
			return []byte{}
		}
		return c.b
	}
	return nil
}

// setUint makes the value an int64 if it is one.
func (c *cell) setUint(u uint64) {
	if c.tag, c.n = tagUint, u; u <= math.MaxInt64 {
		c.tag = tagInt
	}
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
