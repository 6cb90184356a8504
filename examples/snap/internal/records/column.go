package records

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Column is one column of a table.
type Column struct {
	Name      string
	Type      string // as declared
	Null      bool   // NULL is allowed
	Default   string // SQL text of the default, "" where there is none
	Key       bool   // part of the primary key
	Auto      bool   // handed out by the database if left out
	Generated bool   // computed by the database, never written

	domain domain
}

// Describe tells a person what the column holds: "VARCHAR(40), not NULL, default 'x'".
func (c Column) Describe() string {
	parts := []string{c.Type}
	if c.Type == "" {
		parts[0] = "any type"
	}
	if c.Key {
		parts = append(parts, "key")
	}
	switch {
	case c.Generated:
		return strings.Join(append(parts, "computed by the database"), ", ")
	case c.Auto:
		return strings.Join(append(parts, "handed out by the database if empty"), ", ")
	case c.Null:
		parts = append(parts, "may be NULL")
	default:
		parts = append(parts, "not NULL")
	}
	if c.Default != "" {
		parts = append(parts, "default "+c.Default)
	}
	return strings.Join(parts, ", ")
}

// kind is what a column's values are for a person who types them.
type kind int

const (
	anyKind kind = iota
	integerKind
	decimalKind
	floatKind
	booleanKind
	textKind
	bytesKind
	bitsKind
	dateKind
	datetimeKind
	timeKind
	yearKind
	jsonKind
	enumKind
	setKind
)

// domain is what a column accepts, as far as its declared type says. A zero limit is none.
type domain struct {
	kind         kind
	min          int64
	max          uint64
	runes, bytes int
	digits       int // of a decimal, before the point
	scale        int // of a decimal, behind it; -1 for any number
	members      []string
}

func integers(bits int, unsigned bool) domain {
	if unsigned {
		return domain{kind: integerKind, max: math.MaxUint64 >> (64 - bits)}
	}
	return domain{kind: integerKind, min: math.MinInt64 >> (64 - bits), max: math.MaxInt64 >> (64 - bits)}
}

// splitType takes "decimal(8,2) unsigned" apart.
func splitType(declared string) (base, inner, rest string) {
	base, rest, sized := strings.Cut(declared, "(")
	if end := strings.LastIndex(rest, ")"); sized && end >= 0 {
		inner, rest = rest[:end], rest[end+1:]
	}
	return strings.ToLower(strings.TrimSpace(base)), inner, strings.ToLower(rest)
}

func sizes(inner string) (first, second int) {
	a, b, _ := strings.Cut(inner, ",")
	first, _ = strconv.Atoi(strings.TrimSpace(a))
	second, _ = strconv.Atoi(strings.TrimSpace(b))
	return first, second
}

func decimals(inner string) domain {
	if inner == "" {
		return domain{kind: decimalKind, scale: -1}
	}
	precision, scale := sizes(inner)
	return domain{kind: decimalKind, digits: precision - scale, scale: scale}
}

// sqliteDomain follows SQLite's rules of affinity (datatype3.html, section 3.1), and takes the
// sizes that SQLite ignores at their word.
func sqliteDomain(declared string) domain {
	base, inner, _ := splitType(declared)
	size, _ := sizes(inner)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(base, w) {
				return true
			}
		}
		return false
	}
	switch {
	case base == "" || base == "any":
		return domain{}
	case has("int"):
		return integers(64, false)
	case has("bool"):
		return domain{kind: booleanKind}
	case has("char", "clob", "text"):
		return domain{kind: textKind, runes: size}
	case has("blob"):
		return domain{kind: bytesKind, bytes: size}
	case has("real", "floa", "doub"):
		return domain{kind: floatKind}
	case base == "json":
		return domain{kind: jsonKind}
	case base == "date":
		return domain{kind: dateKind}
	case base == "datetime" || has("timestamp"):
		return domain{kind: datetimeKind}
	case has("decimal", "numeric"):
		return decimals(inner)
	}
	return domain{}
}

// mariadbSimple holds the types whose domain needs no size.
var mariadbSimple = map[string]domain{
	"float": {kind: floatKind}, "double": {kind: floatKind}, "date": {kind: dateKind},
	"datetime": {kind: datetimeKind}, "timestamp": {kind: datetimeKind}, "time": {kind: timeKind},
	"year": {kind: yearKind}, "json": {kind: jsonKind},
	"tinytext": {kind: textKind, bytes: 1<<8 - 1}, "text": {kind: textKind, bytes: 1<<16 - 1},
	"mediumtext": {kind: textKind, bytes: 1<<24 - 1}, "longtext": {kind: textKind},
	"tinyblob": {kind: bytesKind, bytes: 1<<8 - 1}, "blob": {kind: bytesKind, bytes: 1<<16 - 1},
	"mediumblob": {kind: bytesKind, bytes: 1<<24 - 1}, "longblob": {kind: bytesKind},
	"uuid": {kind: textKind}, "inet4": {kind: textKind}, "inet6": {kind: textKind},
}

var mariadbBits = map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}

func mariadbDomain(declared string) domain {
	base, inner, rest := splitType(declared)
	base, more, _ := strings.Cut(base, " ")
	size, _ := sizes(inner)
	if bits := mariadbBits[base]; bits > 0 {
		return integers(bits, strings.Contains(more+rest, "unsigned"))
	}
	if d, ok := mariadbSimple[base]; ok {
		return d
	}
	switch base {
	case "decimal":
		return decimals(inner)
	case "char", "varchar":
		return domain{kind: textKind, runes: size}
	case "binary", "varbinary":
		return domain{kind: bytesKind, bytes: size}
	case "bit":
		return domain{kind: bitsKind, max: math.MaxUint64 >> (64 - max(size, 1))}
	case "enum":
		return domain{kind: enumKind, members: members(inner)}
	case "set":
		return domain{kind: setKind, members: members(inner)}
	}
	return domain{}
}

var member = regexp.MustCompile(`'((?:[^']|'')*)'`)

func members(inner string) (list []string) {
	for _, m := range member.FindAllStringSubmatch(inner, -1) {
		list = append(list, strings.ReplaceAll(m[1], "''", "'"))
	}
	return list
}
