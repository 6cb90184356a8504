package records

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Value is what a person typed into a field.
type Value struct {
	V     any  // nil is NULL
	Given bool // false: the field was left empty
}

// What tells how to type what is not plain text, in a new row and in one that exists.
const (
	InsertHelp = "empty: default or NULL · " + quoting
	UpdateHelp = "empty: NULL · " + quoting

	quoting = `"": empty · "a\nb", 'c': quoted · x'00ff': bytes`
)

// Check reports why a text cannot stand in the column of a new row, or nil.
func (c Column) Check(text string) error {
	v, err := c.Parse(text)
	if err != nil {
		return err
	}
	if !v.Given && !c.Null && !c.Auto && c.Default == "" {
		if c.domain.kind == textKind {
			return errors.New(`must not be NULL; type "" for empty text`)
		}
		return errors.New("must not be NULL and has no default")
	}
	return nil
}

// Parse turns what was typed into a value. An empty text is no value; NULL, "quoted" with the escapes of
// Go, 'quoted' as in SQL and x'hex' mean what they say; all else is checked against the column's type.
func (c Column) Parse(text string) (Value, error) {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return Value{}, nil
	}
	if text == "NULL" {
		if !c.Null && !c.Auto {
			return Value{}, errors.New("must not be NULL")
		}
		return Value{Given: !c.Auto}, nil
	}
	if b, ok := hexBytes(text); ok && (c.domain.kind == bytesKind || c.domain.kind == anyKind) {
		return Value{b, true}, c.domain.fits(string(b))
	}
	if c.domain.kind == bytesKind && (strings.HasPrefix(text, "x'") || strings.HasPrefix(text, "X'")) {
		return Value{}, fmt.Errorf(`%s is not x'hex'; "quote" it if it is the text itself`, text)
	}
	plain, quoted := unquote(text)
	v, err := c.domain.parse(plain, quoted)
	return Value{v, err == nil}, err
}

func unquote(text string) (plain string, quoted bool) {
	if len(text) < 2 || text[0] != text[len(text)-1] {
		return text, false
	}
	switch text[0] {
	case '"':
		if s, err := strconv.Unquote(text); err == nil {
			return s, true
		}
	case '\'':
		inner := text[1 : len(text)-1]
		if !strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") {
			return strings.ReplaceAll(inner, "''", "'"), true
		}
	}
	return text, false
}

func hexBytes(text string) ([]byte, bool) {
	if len(text) < 3 || text[0]|0x20 != 'x' || text[1] != '\'' || text[len(text)-1] != '\'' {
		return nil, false
	}
	b, err := hex.DecodeString(text[2 : len(text)-1])
	return b, err == nil
}

var (
	decimalText = regexp.MustCompile(`^[+-]?0*(\d*)(?:\.(\d*))?$`)
	timeText    = regexp.MustCompile(`^-?\d{1,3}:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$`)
)

// parse checks a text against the domain and returns what to bind.
func (d domain) parse(s string, quoted bool) (any, error) {
	switch d.kind {
	case integerKind, bitsKind:
		return d.integer(s)
	case decimalKind:
		return s, d.decimal(s)
	case floatKind:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) { // which MariaDB does not have; SQLite would keep a NaN as NULL
			return nil, fmt.Errorf("%q is not a number", s)
		}
		return f, nil
	case booleanKind:
		switch strings.ToLower(s) {
		case "1", "true", "yes":
			return int64(1), nil
		case "0", "false", "no":
			return int64(0), nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", s)
	case bytesKind:
		return []byte(s), d.fits(s)
	case jsonKind:
		if !json.Valid([]byte(s)) {
			return nil, fmt.Errorf("%q is not JSON", s)
		}
		return s, nil
	case enumKind:
		if !slices.ContainsFunc(d.members, func(m string) bool { return strings.EqualFold(m, s) }) {
			return nil, fmt.Errorf("%q is none of %s", s, strings.Join(d.members, ", "))
		}
		return s, nil
	case setKind:
		for _, part := range strings.Split(s, ",") {
			if part != "" && !slices.ContainsFunc(d.members, func(m string) bool { return strings.EqualFold(m, part) }) {
				return nil, fmt.Errorf("%q is none of %s; separate several by commas", part, strings.Join(d.members, ", "))
			}
		}
		return s, nil
	case dateKind, datetimeKind, timeKind, yearKind:
		return s, d.moment(s)
	case anyKind:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && !quoted && strconv.FormatInt(n, 10) == s {
			return n, nil
		}
	}
	return s, d.fits(s)
}

func (d domain) integer(s string) (any, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && n >= d.min && (n < 0 || uint64(n) <= d.max) {
		return n, nil
	}
	u, uerr := strconv.ParseUint(s, 10, 64)
	if uerr == nil && u <= d.max {
		return u, nil
	}
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("%s is not between %d and %d", s, d.min, d.max)
	}
	return nil, fmt.Errorf("%q is not a whole number", s)
}

func (d domain) decimal(s string) error {
	m := decimalText.FindStringSubmatch(s)
	if m == nil || !strings.ContainsAny(s, "0123456789") {
		return fmt.Errorf("%q is not a number", s)
	}
	if d.scale < 0 {
		return nil
	}
	if len(m[1]) > d.digits {
		return fmt.Errorf("%s has more than %d digits before the point", s, d.digits)
	}
	if len(m[2]) > d.scale {
		return fmt.Errorf("%s has more than %d decimals", s, d.scale)
	}
	return nil
}

func (d domain) moment(s string) error {
	layouts, want := []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339, "2006-01-02 15:04:05Z07:00"}, "a date and time such as 2026-10-14 09:30:00"
	switch d.kind {
	case dateKind:
		layouts, want = []string{"2006-01-02"}, "a date such as 2026-10-14"
	case timeKind:
		if timeText.MatchString(s) {
			return nil
		}
		layouts, want = nil, "a time such as 09:30:00"
	case yearKind:
		if n, err := strconv.Atoi(s); len(s) == 4 && err == nil && (n == 0 || n >= 1901 && n <= 2155) {
			return nil
		}
		layouts, want = nil, "a year from 1901 to 2155"
	}
	for _, layout := range layouts {
		if _, err := time.Parse(layout, s); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is not %s", s, want)
}

func (d domain) fits(s string) error {
	if n := utf8.RuneCountInString(s); d.runes > 0 && n > d.runes {
		return fmt.Errorf("%d characters, but at most %d fit", n, d.runes)
	}
	if d.bytes > 0 && len(s) > d.bytes {
		return fmt.Errorf("%d bytes, but at most %d fit", len(s), d.bytes)
	}
	return nil
}

// own gives a value read from the database the Go type that fits the column.
func (c Column) own(v any) any {
	switch v := v.(type) {
	case []byte:
		switch {
		case c.domain.kind == bitsKind && len(v) <= 8:
			return binary.BigEndian.Uint64(append(make([]byte, 8-len(v)), v...))
		case c.domain.kind == bytesKind || !utf8.Valid(v):
			return slices.Clone(v)
		case c.domain.kind == anyKind:
			return slices.Clone(v)
		}
		return string(v)
	case time.Time:
		return v.Format("2006-01-02 15:04:05.999999")
	case float32:
		f, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
		return f
	}
	return v
}

// Format returns the text that Parse turns back into the value.
func Format(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		_, quoted := unquote(v)
		_, bytes := hexBytes(v)
		if v == "" || v == "NULL" || quoted || bytes || strings.ContainsFunc(v, unprintable) || !utf8.ValidString(v) || strings.TrimSpace(v) != v {
			return strconv.Quote(v)
		}
		return v
	}
	return fmt.Sprint(v)
}

// longest is how many bytes of a BLOB a list shows.
const longest = 16

// Show returns a value for lists, on one line. Parse may not understand it.
func Show(v any) string {
	switch v := v.(type) {
	case []byte:
		if len(v) > longest {
			return fmt.Sprintf("x'%x…' (%d bytes)", v[:longest], len(v))
		}
	case string:
		if strings.ContainsFunc(v, unprintable) {
			return strings.Map(visible, v)
		}
		return v
	}
	return Format(v)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// visible keeps control characters of stored text away from the terminal.
func visible(r rune) rune {
	switch {
	case r == '\n':
		return '↵'
	case r == '\t':
		return ' '
	case unprintable(r):
		return '�'
	}
	return r
}
