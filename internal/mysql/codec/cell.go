package codec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Cell receives one value from the driver, in the form that a spool takes. It is no any, since
// a scan would allocate each of them only for the spool to take it apart.
type Cell struct {
	kind Kind
	utf8 bool
	tag  byte   // says which of the two holds the value
	n    uint64 // an integer, or the bits of a float64
	b    []byte // the driver's own, valid until the next row
}

func (c Column) newCell() *Cell {
	return &Cell{kind: c.Kind, utf8: c.Kind == KindText && (strings.HasPrefix(c.Charset, "utf8") || c.Charset == "ascii")}
}

// Scan implements sql.Scanner.
func (c *Cell) Scan(src any) error {
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

func (c *Cell) scanBytes(b []byte) error {
	c.tag, c.b = tagBytes, b
	switch c.kind {
	case KindInt, KindBits:
		if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			c.tag, c.n = tagInt, uint64(n)
			return nil
		}
		n, err := strconv.ParseUint(string(b), 10, 64)
		c.setUint(n)
		return err
	case KindFloat:
		f, err := strconv.ParseFloat(string(b), 64)
		c.tag, c.n = tagFloat, math.Float64bits(f)
		return err
	case KindFixed: // ZEROFILL shows in some queries and not in others
		for len(b) > 1 && b[0] == '0' && b[1] != '.' {
			b = b[1:]
		}
		c.tag, c.b = tagString, b
	case KindPlain, KindJSON:
		c.tag = tagString
	case KindText:
		if c.utf8 && utf8.Valid(b) {
			c.tag = tagString
		}
	}
	return nil
}

// Value returns what was scanned. A []byte is the driver's own.
func (c *Cell) Value() any {
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
func (c *Cell) setUint(u uint64) {
	if c.tag, c.n = tagUint, u; u <= math.MaxInt64 {
		c.tag = tagInt
	}
}
