package mysql

import (
	"strings"

	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// column is what the engine needs to know of a stored column.
type column struct {
	name      string
	typ       string // COLUMN_TYPE
	charset   string // "" for types without one
	collation string
	kind      kind
	auto      bool // AUTO_INCREMENT
}

var flagColumn = column{kind: kindInt}

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
	name := lang.Ident(c.name)
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
		return "CAST(" + lang.Ident(c.name) + " AS UNSIGNED)"
	}
	return lang.Ident(c.name)
}
