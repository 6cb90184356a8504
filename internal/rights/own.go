package rights

import (
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

const ownPrefix = "_ddb_" // of the names of ddb's tables and triggers on SQLite

// ownTables reports whether the statement names ddb's own tables or triggers.
func (r *statementReader) ownTables() bool {
	for i, t := range r.tokens {
		if t.Kind <= sqlclass.Quoted && contains(r.scope.OwnViews, t.Text) {
			return true
		}
		if r.d == sqlclass.SQLite {
			if named := t.Kind == sqlclass.Word || t.Kind == sqlclass.Quoted || t.Kind == sqlclass.String && r.namesTable(i); named && hasPrefixFold(t.Text, ownPrefix) {
				return true
			}
			continue
		}
		if r.ownOnServer(i, t) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// namesTable reports whether a string, which SQLite takes for a name in such a place, stands where a table is named.
func (r *statementReader) namesTable(i int) bool {
	if r.at(i-1).Text == "." || r.at(i+1).Text == "." {
		return true
	}
	switch t := r.at(i - 1); {
	case t.Kind == sqlclass.Op && (t.Text == "," || t.Text == "("):
		return r.verb() == "DROP" || r.inFrom(i)
	case t.Kind == sqlclass.Word:
		return beforeTable[t.Text] || t.Text == "IN"
	}
	return false
}

// inFrom reports whether a FROM or a JOIN stands before the token with nothing but names between.
func (r *statementReader) inFrom(i int) bool {
	for i--; i >= 0; i-- {
		switch t := r.tokens[i]; {
		case t.Kind == sqlclass.Word && (t.Text == "FROM" || t.Text == "JOIN"):
			return true
		case t.Kind == sqlclass.Number || t.Kind == sqlclass.Param || t.Kind == sqlclass.Word && endsFrom[t.Text]:
			return false
		}
	}
	return false
}

// ownOnServer reports whether the token i names ddb's database, where a database is named, or one of ddb's triggers.
func (r *statementReader) ownOnServer(i int, t sqlclass.Token) bool {
	own := r.scope.Own
	switch t.Kind {
	case sqlclass.String:
		// What is run from a text; one that is put together there cannot be told.
		return own != "" && strings.Contains(strings.ToLower(t.Text), strings.ToLower(own)) && r.runsText()
	case sqlclass.Word, sqlclass.Quoted:
	default:
		return false
	}
	if r.has("TRIGGER") && ownTrigger(t.Text) {
		return true
	}
	if own == "" || !strings.EqualFold(t.Text, own) {
		return false
	}
	if r.at(i+1).Text == "." && r.at(i+1).Kind == sqlclass.Op {
		return r.at(i-1).Text != "."
	}
	prev := r.at(i - 1)
	return prev.Kind == sqlclass.Word && beforeDatabase[prev.Text] && (prev.Text != "EXISTS" || r.has("DATABASE") || r.has("SCHEMA")) &&
		(prev.Text != "FROM" && prev.Text != "IN" || r.verb() == "SHOW")
}

// runsText reports whether the statement, or the body that it makes, runs or keeps a text.
func (r *statementReader) runsText() bool {
	return r.verb() == "SET" || r.has("EXECUTE") || r.has("PREPARE")
}

var beforeDatabase = words("USE DATABASE SCHEMA EXISTS FROM IN")

// ownTrigger reports whether a name is one that ddb gives to its triggers on a server: ddb_<number>_<what>.
func ownTrigger(name string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(name), "ddb_")
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	return ok && digits > 0 && digits < len(rest) && rest[digits] == '_'
}
