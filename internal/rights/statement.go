package rights

import (
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// statementReader judges one statement.
type statementReader struct {
	d      sqlclass.Dialect
	scope  *Scope
	tokens []sqlclass.Token
	found  verdict
}

// at returns a token, or the zero one, which is a Word without a letter, where there is none.
func (r *statementReader) at(i int) sqlclass.Token {
	if i < 0 || i >= len(r.tokens) {
		return sqlclass.Token{}
	}
	return r.tokens[i]
}

// word returns the token as a keyword, or "".
func (r *statementReader) word(i int) string {
	if t := r.at(i); t.Kind == sqlclass.Word {
		return t.Text
	}
	return ""
}

func (r *statementReader) op(i int, op string) bool {
	t := r.at(i)
	return t.Kind == sqlclass.Op && t.Text == op
}

func (r *statementReader) has(word string) bool {
	return slices.ContainsFunc(r.tokens, func(t sqlclass.Token) bool { return t.Kind == sqlclass.Word && t.Text == word })
}

// verb returns the first word of the statement.
func (r *statementReader) verb() string {
	i := 0
	for r.op(i, "(") {
		i++
	}
	return r.word(i)
}

func (r *statementReader) unknown() {
	r.found.raise(Administer, "is no statement that ddb knows to be less")
}

// read judges the statement.
func (r *statementReader) read() {
	r.explained()
	verb := r.verb()
	if r.d == sqlclass.SQLite {
		r.readSQLite(verb)
	} else {
		r.readServer(verb)
	}
}

// explained drops EXPLAIN and its kin: what is explained may be run, or evaluated in part.
func (r *statementReader) explained() {
	i := 0
	switch r.verb() {
	case "EXPLAIN", "DESCRIBE", "DESC":
	case "ANALYZE": // MariaDB's ANALYZE SELECT, not ANALYZE TABLE
		if w := r.word(1); r.d == sqlclass.SQLite || w == "TABLE" || w == "TABLES" {
			return
		}
	default:
		return
	}
	for i = 1; explainWords[r.word(i)]; i++ {
		if r.word(i) == "FORMAT" {
			i += 2
		}
	}
	if rows[r.verbAt(i)] || r.d == sqlclass.SQLite {
		r.tokens = r.tokens[min(i, len(r.tokens)):]
	}
}

func (r *statementReader) verbAt(i int) string {
	for r.op(i, "(") {
		i++
	}
	return r.word(i)
}

var (
	explainWords = words("EXTENDED PARTITIONS ANALYZE FORMAT QUERY PLAN")
	rows         = words("SELECT WITH VALUES TABLE INSERT REPLACE UPDATE DELETE")
)

// common judges the verbs that all databases have, and reports whether it knows the verb.
func (r *statementReader) common(verb string) bool {
	switch verb {
	case "SELECT", "WITH", "VALUES":
		r.scan(false)
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		r.found.raise(Change, "")
		r.scan(false)
	case "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "END":
		r.onlyWords()
	default:
		return false
	}
	return true
}

// onlyWords refuses what is more than words and names.
func (r *statementReader) onlyWords() {
	for _, t := range r.tokens {
		if t.Kind != sqlclass.Word && t.Kind != sqlclass.Quoted && t.Kind != sqlclass.String && t.Text != "," {
			r.unknown()
		}
	}
}

func (r *statementReader) readSQLite(verb string) {
	switch verb {
	case "BEGIN":
		if r.has("IMMEDIATE") || r.has("EXCLUSIVE") {
			r.found.raise(Change, "") // it keeps others from writing
		}
		for _, t := range r.tokens {
			if !has(begins, t.Text) {
				r.unknown()
			}
		}
	case "PRAGMA":
		r.pragma()
	case "CREATE", "ALTER", "DROP":
		r.schema(verb)
	default:
		if !r.common(verb) {
			r.unknown()
		}
	}
}

var begins = words("BEGIN DEFERRED IMMEDIATE EXCLUSIVE TRANSACTION")

// pragma lets through what only shows.
func (r *statementReader) pragma() {
	i := 1
	if r.op(i+1, ".") {
		i += 2
	}
	name := r.at(i).Text
	switch {
	case has(showPragmas, name) && !slices.ContainsFunc(r.tokens, func(t sqlclass.Token) bool { return t.Text == "=" }):
	case has(barePragmas, name) && len(r.tokens) == i+1:
	default:
		r.found.raise(Administer, "is a PRAGMA that may change the session or the file")
	}
}

func (r *statementReader) readServer(verb string) {
	switch verb {
	case "BEGIN":
		if w := r.word(1); len(r.tokens) > 2 || len(r.tokens) == 2 && w != "WORK" {
			r.found.raise(Administer, "is a compound statement, whose parts are not looked at")
		}
	case "START":
		if r.word(1) != "TRANSACTION" {
			r.unknown()
		}
		r.onlyWords()
	case "TABLE", "DO", "HELP":
		r.scan(false)
	case "CHECKSUM":
		r.scan(true)
	case "EXPLAIN", "DESCRIBE", "DESC":
		r.describe()
	case "SET":
		r.set()
	case "USE":
		if name := r.at(1).Text; len(r.tokens) != 2 || !r.scope.database(r.d, name) {
			r.found.raise(Administer, "leaves the program's databases")
		} else if strings.EqualFold(name, r.scope.Own) {
			r.found.raise(Own, OwnReason)
		}
	case "SHOW":
		r.show()
	case "CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE":
		r.schema(verb)
	default:
		if !r.common(verb) {
			r.unknown()
		}
	}
}

// describe judges DESCRIBE table [column]; of EXPLAIN with a statement only that is left by now.
func (r *statementReader) describe() {
	if r.has("FOR") { // a thread's statement
		r.unknown()
	}
	if len(r.tokens) > 6 || !isName(r.at(1), false) {
		r.unknown()
	}
	r.tableAt(1)
}
