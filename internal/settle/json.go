package settle

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A row in the conflicts table is a JSON object in the order of the columns. What JSON cannot tell
// stands as an object with one member: {"$bytes": base64} for binary data,
// {"$text": base64} for text that is not UTF-8 or would be much longer in JSON, {"$float": "NaN"} for what is no number.
// A floating-point number always has a point or an exponent, so that it reads back as one.

// largeText is the size from which text whose characters JSON must write as \u0000 is written as base64.
const largeText = 64 << 10

// rowJSON returns the row as a JSON object, "" for a row that does not exist.
func rowJSON(columns []string, values []any) string {
	if values == nil {
		return ""
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(columns[i])
		b.Write(name)
		b.WriteByte(':')
		b.WriteString(valueJSON(v))
	}
	b.WriteByte('}')
	return b.String()
}

func valueJSON(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return `{"$float":"` + strconv.FormatFloat(v, 'g', -1, 64) + `"}`
		}
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case []byte:
		return `{"$bytes":"` + base64.StdEncoding.EncodeToString(v) + `"}`
	case string:
		if !utf8.ValidString(v) {
			return `{"$text":"` + base64.StdEncoding.EncodeToString([]byte(v)) + `"}`
		}
		s, _ := json.Marshal(v)
		if len(s) > largeText && len(s) > base64.StdEncoding.EncodedLen(len(v)) {
			return `{"$text":"` + base64.StdEncoding.EncodeToString([]byte(v)) + `"}`
		}
		return string(s)
	}
	return fmt.Sprintf("%q", fmt.Sprint(v))
}

type rowField struct {
	name  string
	value any
}

// parseRow is the inverse of rowJSON.
func parseRow(s string) ([]rowField, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("read a row of the conflicts table: %w", cmp.Or(err, errors.New("it is no JSON object")))
	}
	var list []rowField
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read a row of the conflicts table: %w", err)
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("read a row of the conflicts table: %w", err)
		}
		if v, err = parseValue(v); err != nil {
			return nil, fmt.Errorf("read a row of the conflicts table: column %v: %w", name, err)
		}
		list = append(list, rowField{name.(string), v})
	}
	return list, nil
}

func parseValue(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		s := v.String()
		if strings.ContainsAny(s, ".eE") {
			return v.Float64()
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		return strconv.ParseUint(s, 10, 64)
	case map[string]any:
		for kind, text := range v {
			s, _ := text.(string)
			switch kind {
			case "$bytes":
				return base64.StdEncoding.DecodeString(s)
			case "$text":
				b, err := base64.StdEncoding.DecodeString(s)
				return string(b), err
			case "$float":
				return strconv.ParseFloat(s, 64)
			}
		}
		return nil, fmt.Errorf("unknown value %v", v)
	case []any:
		return nil, fmt.Errorf("unknown value %v", v)
	}
	return v, nil
}
