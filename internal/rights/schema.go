package rights

import (
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// schema judges CREATE, ALTER, DROP, RENAME and TRUNCATE.
func (r *statementReader) schema(verb string) {
	i, temporary := r.modifiers()
	need := Schema
	switch object := r.word(i); object {
	case "TABLE":
		if r.word(i-1) == "VIRTUAL" {
			r.module()
		}
		if temporary {
			need = Change // it ends with the session
		}
	case "INDEX", "VIEW":
	case "COLUMN":
		need = Administer
	case "TRIGGER":
		if r.d == sqlclass.MySQL && verb != "DROP" {
			need = Administer
		}
	case "TABLES", "SEQUENCE":
		if r.d == sqlclass.SQLite {
			need = Administer
		}
	case "DATABASE", "SCHEMA":
		r.database(verb, i)
		return
	case "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE":
		if r.d == sqlclass.SQLite || verb != "DROP" {
			need = Administer
		}
	default:
		if verb != "TRUNCATE" {
			r.unknown()
		}
	}
	switch need {
	case Schema:
		r.found.raise(Schema, "changes the schema")
	case Administer:
		r.found.raise(Administer, "makes what runs with its maker's rights")
	default:
		r.found.raise(need, "")
	}
	if verb == "TRUNCATE" && r.word(i) != "TABLE" {
		r.tableAt(i)
		return
	}
	r.tableOptions()
	r.scan(true)
}

// modifiers returns the index of the object's kind.
func (r *statementReader) modifiers() (i int, temporary bool) {
	for i = 1; ; i++ {
		switch r.word(i) {
		case "OR", "REPLACE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "VIRTUAL", "ONLINE", "OFFLINE", "IGNORE":
		case "TEMP", "TEMPORARY":
			temporary = true
		case "ALGORITHM":
			i += 2
		case "SQL":
			i += 2
		case "DEFINER":
			r.found.raise(Administer, "names whose rights it runs with")
			for i < len(r.tokens) && !definerEnds[r.word(i+1)] {
				i++
			}
		default:
			return i, temporary
		}
	}
}

var definerEnds = words("SQL VIEW TRIGGER PROCEDURE FUNCTION EVENT")

// database judges CREATE, ALTER and DROP DATABASE.
func (r *statementReader) database(verb string, i int) {
	r.found.raise(Schema, "changes the schema")
	i++
	for beforeName[r.word(i)] {
		i++
	}
	name := r.at(i).Text
	if verb != "CREATE" && !r.scope.database(r.d, name) || has(systemDatabases, name) || r.d == sqlclass.SQLite {
		r.found.raise(Administer, "names database "+name+", which is not the program's")
	}
	r.scan(true)
}

// module lets through the modules of virtual tables that keep their rows in the database.
func (r *statementReader) module() {
	for i, t := range r.tokens {
		if t.Kind == sqlclass.Word && t.Text == "USING" {
			if !has(modules, r.at(i+1).Text) {
				r.found.raise(Administer, "uses module "+r.at(i+1).Text)
			}
			return
		}
	}
	if r.verb() == "CREATE" {
		r.unknown()
	}
}

// tableOptions refuses the options of a table that reach beyond the database: another server's rows, files elsewhere.
func (r *statementReader) tableOptions() {
	depth := 0
	for i, t := range r.tokens {
		prev := r.word(i - 1)
		switch {
		case r.op(i, "("):
			depth++
		case r.op(i, ")"):
			depth--
		case r.d == sqlclass.SQLite || t.Kind != sqlclass.Word:
		case t.Text == "DIRECTORY" && (prev == "DATA" || prev == "INDEX"):
			r.found.raise(Administer, "names a folder of the server")
		case t.Text == "CONNECTION" && (r.op(i+1, "=") || r.at(i+1).Kind == sqlclass.String):
			r.found.raise(Administer, "names another server")
		case t.Text == "ENGINE" && (r.op(i+1, "=") || depth == 0 && !columnFollows[prev] && !r.op(i-1, ".")):
			value := i + 1
			if r.op(value, "=") {
				value++
			}
			if !has(engines, strings.Trim(r.at(value).Text, "`")) {
				r.found.raise(Administer, "names the storage engine "+r.at(value).Text)
			}
		}
	}
}

var columnFollows = words("ADD COLUMN MODIFY CHANGE DROP RENAME BY AFTER EXISTS TO")
