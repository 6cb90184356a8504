package codec

import (
	"strings"

	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Column is what there is to know of a column whose values are read and written.
type Column struct {
	Name      string
	Type      string // COLUMN_TYPE
	Charset   string // "" for types without one
	Collation string
	Kind      Kind
	Auto      bool // AUTO_INCREMENT
}

// Flag stands for an expression that is an integer.
var Flag = Column{Kind: KindInt}

// Kind says how values of a column are read and written.
type Kind int

const (
	KindInt   Kind = iota // digits
	KindBits              // BIT, ENUM, SET: as numbers
	KindFloat             // FLOAT, DOUBLE: as DOUBLE
	KindFixed             // DECIMAL: as text, written as a number
	KindPlain             // temporal types and addresses: as ASCII text
	KindText              // characters: their bytes in the column's character set
	KindBytes             // BINARY, BLOB, geometry
	KindJSON              // MySQL's own JSON type (MariaDB's is text)
)

// KindOf returns the kind of a DATA_TYPE.
func KindOf(dataType string, mariadb bool) Kind {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return KindInt
	case "bit", "enum", "set":
		return KindBits
	case "float", "double", "real":
		return KindFloat
	case "decimal", "numeric":
		return KindFixed
	case "date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6":
		return KindPlain
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return KindText
	case "json":
		if !mariadb {
			return KindJSON
		}
		return KindText
	default:
		return KindBytes
	}
}

// selectAs is the expression that reads the column losslessly, whatever the
// driver makes of its type: parseTime must not see a date, and the text protocol
// rounds a FLOAT.
func (c Column) selectAs(alias string) string {
	name := lang.Ident(c.Name)
	if alias != "" {
		name = alias + "." + name
	}
	switch c.Kind {
	case KindBits:
		return "CAST(" + name + " AS UNSIGNED)"
	case KindFloat:
		return name + "*1e0"
	case KindPlain:
		return "CAST(" + name + " AS CHAR)"
	}
	return name
}

// Unbounded reports whether a value can be as large as what a batch may hold.
func (c Column) Unbounded() bool {
	switch c.Kind {
	case KindText, KindBytes, KindJSON:
		name, _, _ := strings.Cut(c.Type, "(")
		switch name {
		case "char", "varchar", "binary", "varbinary", "tinytext", "tinyblob", "text", "blob":
			return false
		}
		return true
	}
	return false
}

// IsList reports whether the column is an ENUM or a SET.
func (c Column) IsList() bool {
	return strings.HasPrefix(c.Type, "enum(") || strings.HasPrefix(c.Type, "set(")
}

// Compare is the expression that stands for a key column in a comparison with a
// literal. The server finds no SET by its number in an index, and not always without.
func (c Column) Compare() string {
	if strings.HasPrefix(c.Type, "set(") {
		return "CAST(" + lang.Ident(c.Name) + " AS UNSIGNED)"
	}
	return lang.Ident(c.Name)
}
