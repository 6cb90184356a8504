package rights

import (
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// keyword heeds the words that lead to tables, or change rows. It reports whether the token is done with.
func (s *scanner) keyword(i int, word string) bool {
	f := s.top()
	if s.r.op(i-1, ".") { // a name
		return false
	}
	if f.want && beforeName[word] {
		return true
	}
	switch word {
	case "SELECT":
		f.query = true
		f.reset()
	case "VALUES", "VALUE":
		if s.r.op(i+1, "(") && f.call == "" || s.r.word(i+1) == "ROW" {
			f.reset()
			return true
		}
		return false
	case "FROM":
		s.from(i)
	case "USING":
		f.want = s.r.has("DELETE") && !s.r.op(i+1, "(") && f.call == ""
		f.list, f.alias = f.list || f.want, false
	case "JOIN":
		f.want, f.alias = s.r.word(i-1) != "FOR", false
		f.list = f.list || f.want
	case "STRAIGHT_JOIN":
		f.want, f.alias = f.list, false
	case "TABLE":
		f.want, f.list = true, true
	case "WITH":
		f.ctes = !f.query && s.r.word(i+1) != "ROLLUP"
		f.with, f.alias = f.ctes, false
	case "RECURSIVE":
		return f.with
	case "INTO":
		s.into(i)
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		return s.changes(i, word)
	case "RETURNING":
		s.r.found.raise(Change, "")
		f.list, f.want, f.alias = f.list && s.r.op(i+1, ","), false, false
	case "NEXT", "PREVIOUS":
		if s.r.word(i+1) != "VALUE" {
			return false
		}
		s.r.found.raise(Change, "takes a value of a sequence")
	case "FOR", "LOCK":
		return s.locks(i)
	case "AS":
		if s.r.verb() == "INSERT" && s.r.op(i-1, ")") { // the name of the new row
			s.declare(s.r.at(i + 1))
		}
	default:
		return s.schemaWord(i, word) || s.ends(i, word)
	}
	return true
}

// reset says that no table comes next, nor behind a comma.
func (f *frame) reset() { f.list, f.want, f.alias, f.with, f.ctes = false, false, false, false, false }

// beforeName may stand between what leads to a table and its name.
var beforeName = words("LOW_PRIORITY HIGH_PRIORITY DELAYED QUICK IGNORE ONLY LATERAL OJ IF NOT EXISTS OR ROLLBACK ABORT FAIL REPLACE CONCURRENTLY")

// from heeds a FROM, unless it belongs to a function's arguments or to IS DISTINCT FROM.
func (s *scanner) from(i int) {
	f := s.top()
	if fromCalls[f.call] && !f.query || s.r.word(i-1) == "DISTINCT" && (s.r.word(i-2) == "IS" || s.r.word(i-2) == "NOT") {
		return
	}
	f.list, f.want, f.alias = true, true, false
}

var fromCalls = words("EXTRACT TRIM SUBSTRING SUBSTR MID POSITION OVERLAY")

// into tells where rows are put from where an answer is written.
func (s *scanner) into(i int) {
	f := s.top()
	f.list, f.alias = false, false
	if beforeInto[s.r.word(i-1)] {
		f.want = true
		return
	}
	if s.r.at(i+1).Kind != sqlclass.Var {
		s.r.found.raise(Administer, "writes its answer elsewhere than to its sender")
	}
}

var beforeInto = words("INSERT REPLACE IGNORE LOW_PRIORITY DELAYED HIGH_PRIORITY ABORT FAIL ROLLBACK")

// changes heeds the verbs of changes. It reports whether the token is one.
func (s *scanner) changes(i int, word string) bool {
	f := s.top()
	if s.r.op(i+1, "(") && (word == "INSERT" || word == "REPLACE") && !f.want { // the functions of that name
		return false
	}
	if word == "REPLACE" && s.r.d == sqlclass.SQLite && s.r.word(i+1) != "INTO" {
		return false
	}
	f.with, f.ctes = false, false
	prev := s.r.word(i - 1)
	if s.schema && (prev == "ON" || prev == "BEFORE" || prev == "AFTER" || prev == "OF" || prev == "OR") {
		return true
	}
	s.r.found.raise(Change, "")
	switch {
	case word == "DELETE":
		f.list, f.want, f.alias = false, false, false
	case word == "UPDATE" && (prev == "KEY" || prev == "DO" || prev == "FOR"):
		f.list, f.want, f.alias = false, false, false
	case word == "UPDATE":
		f.list, f.want, f.alias = true, true, false
	default:
		f.list, f.want, f.alias = false, true, false
	}
	return true
}

// locks heeds FOR UPDATE and LOCK IN SHARE MODE, and knows the FORs that end no list of tables.
func (s *scanner) locks(i int) bool {
	switch next := s.r.word(i + 1); {
	case s.r.word(i) == "FOR" && (next == "SYSTEM_TIME" || next == "JOIN" || next == "ORDER" || next == "GROUP"):
		s.top().alias = false
		return true
	case next == "UPDATE" || next == "SHARE" || next == "IN":
		s.r.found.raise(Change, "locks rows")
	}
	return s.ends(i, s.r.word(i))
}

// ends heeds the words that end a list of tables, and those that follow a table without being its alias.
func (s *scanner) ends(i int, word string) bool {
	f := s.top()
	switch {
	case endsFrom[word] && s.endsHere(i, word):
		f.reset()
		return !s.r.op(i+1, "(") && !s.r.op(i+1, ".")
	case word == "ON" || notAlias[word]:
		f.alias = false
		return !s.r.op(i+1, "(") && !s.r.op(i+1, ".")
	}
	return false
}

// endsHere tells a word that ends a list of tables from the same word elsewhere, as an alias where it is not reserved, or in a hint.
func (s *scanner) endsHere(i int, word string) bool {
	prev := s.r.word(i - 1)
	switch {
	case s.r.op(i+1, ","), prev == "FOR" && (word == "ORDER" || word == "GROUP"):
		return false
	case word == "DUPLICATE":
		return prev == "ON"
	case word == "WINDOW":
		return s.r.word(i+2) == "AS"
	case word == "SET":
		return s.r.d == sqlclass.SQLite || !s.r.op(i+1, "(")
	}
	return true
}

var (
	// endsFrom end a list of tables.
	endsFrom = words("WHERE GROUP HAVING ORDER LIMIT OFFSET FETCH SET UNION EXCEPT INTERSECT FOR LOCK PROCEDURE DUPLICATE WINDOW")
	notAlias = words("USING JOIN LEFT RIGHT INNER CROSS NATURAL FULL OUTER USE FORCE IGNORE PARTITION INDEXED NOT")
	// beforeTable lead to a table's name.
	beforeTable = words("FROM JOIN INTO UPDATE TABLE ON EXISTS VIEW INDEX TRIGGER REFERENCES TO REPLACE IGNORE ROLLBACK ABORT FAIL DELETE ONLY AS")
)

// schemaWord heeds the words that lead to tables in statements about the schema.
func (s *scanner) schemaWord(i int, word string) bool {
	if !s.schema || len(s.frames) > 1 && word != "REFERENCES" {
		return false
	}
	f := s.top()
	switch word {
	case "VIEW", "INDEX", "SEQUENCE", "TABLES", "REFERENCES", "TRIGGER":
		if f.query || s.r.op(i+1, "(") {
			return false
		}
		f.want, f.list, f.alias = true, word == "TABLES" || word == "VIEW" && s.r.verb() == "DROP", false
	case "TO", "LIKE":
		if f.query {
			return false
		}
		f.want, f.alias = true, false
		f.list = s.r.verb() == "RENAME"
	case "ON":
		if next := s.r.word(i + 1); f.query || next == "DELETE" || next == "UPDATE" || next == "CONFLICT" || next == "SCHEDULE" || next == "COMPLETION" {
			return false
		}
		f.want, f.list, f.alias = true, false, false
	default:
		return false
	}
	return true
}

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(list) {
		set[w] = true
	}
	return set
}

// has reports whether a set of words in upper case has the name.
func has(set map[string]bool, name string) bool { return set[strings.ToUpper(name)] }
