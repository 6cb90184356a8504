package console

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// column is a result's column. The type is the database's own word for it; of an
// expression on SQLite, where there is none, the first row's storage class.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"`

	bytes, number, date bool
}

// holdsBytes reports whether a column of the type holds bytes, not text. docs/api.md states this rule.
func holdsBytes(typ string) bool {
	typ = strings.ToUpper(typ)
	return strings.Contains(typ, "BLOB") || strings.Contains(typ, "BINARY") || typ == "BIT" || typ == "GEOMETRY"
}

func describe(rows *sql.Rows) ([]column, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	list := make([]column, len(types))
	for i, t := range types {
		list[i] = column{Name: t.Name()}
		list[i].set(t.DatabaseTypeName())
	}
	return list, nil
}

func (c *column) set(typ string) {
	c.Type = typ
	upper := strings.ToUpper(typ)
	c.bytes = holdsBytes(typ)
	c.number = !c.bytes && (strings.Contains(upper, "INT") || slices.Contains([]string{"YEAR", "FLOAT", "DOUBLE", "REAL"}, upper))
	c.date = upper == "DATE"
}

// learn gives a column without a declared type the type of its first value.
func (c *column) learn(v any) {
	if c.Type != "" || v == nil {
		return
	}
	switch v.(type) {
	case int64, uint64:
		c.set("INTEGER")
	case float64, float32:
		c.set("REAL")
	case []byte:
		c.set("BLOB")
	case string:
		c.set("TEXT")
	}
}

// appendValue writes a value as JSON, so that nothing of it is lost: integers with all digits, bytes
// as base64 (see docs/api.md for the object that marks what does not fit the column's type).
func (c *column) appendValue(b []byte, v any, d sqlclass.Dialect) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case float32:
		return appendFloat(b, float64(v), 32)
	case float64:
		return appendFloat(b, v, 64)
	case time.Time:
		return appendText(b, c.timeText(v))
	case []byte:
		switch {
		case c.bytes:
			return appendBase64(b, v)
		case d == sqlclass.MySQL && c.number && plainNumber(v):
			return append(b, v...)
		case d == sqlclass.MySQL && utf8.Valid(v):
			return appendLong(b, v)
		}
		b = append(b, `{"base64":`...)
		return append(appendBase64(b, v), '}')
	case string:
		switch {
		case !utf8.ValidString(v):
			b = append(b, `{"base64":`...)
			b = appendBase64(b, []byte(v))
			return append(b, `,"text":true}`...)
		case c.bytes:
			b = append(b, `{"text":`...)
			return append(appendLong(b, v), '}')
		}
		return appendLong(b, v)
	}
	return append(b, "null"...)
}

// timeText writes a moment as the database's own text for it.
func (c *column) timeText(t time.Time) string {
	layout := "2006-01-02 15:04:05.999999999"
	if c.date && t.Hour()|t.Minute()|t.Second()|t.Nanosecond() == 0 {
		layout = "2006-01-02"
	}
	if _, offset := t.Zone(); offset != 0 {
		layout += "-07:00"
	}
	return t.Format(layout)
}

// appendFloat keeps a number with no fraction recognisable as a float; what JSON has no number for is a string.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, bits)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendBase64(b, v []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

func appendText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// longText is how many bytes of a text are encoded at once, so that a large one is not copied several times.
const longText = 32 << 10

// appendLong is appendText for valid UTF-8 of any length.
func appendLong[T ~string | ~[]byte](b []byte, s T) []byte {
	b = append(slices.Grow(b, len(s)+2), '"')
	for len(s) > 0 {
		n := min(len(s), longText)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		start := len(b)
		b = appendText(b, string(s[:n]))
		b = append(b[:start], b[start+1:len(b)-1]...) // without its quotes
		s = s[n:]
	}
	return append(b, '"')
}

// plainNumber reports whether the database's text for a number is one in JSON too.
func plainNumber(v []byte) bool {
	digits := bytes.TrimPrefix(v, []byte("-"))
	if len(digits) > 1 && digits[0] == '0' && digits[1] != '.' {
		return false // ZEROFILL
	}
	return len(digits) > 0 && digits[0] >= '0' && digits[0] <= '9' && json.Valid(v)
}

// argument turns a JSON value of a request into one for a placeholder: {"base64": "..."} is bytes.
func argument(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, true
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, true
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n, true
		}
		f, err := v.Float64()
		return f, err == nil
	case map[string]any:
		text, ok := v["base64"].(string)
		if !ok || len(v) != 1 {
			return nil, false
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if b == nil {
			b = []byte{} // an empty BLOB is no NULL
		}
		return b, err == nil
	}
	return nil, false
}
