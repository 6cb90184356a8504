// Package rights tells what a statement's sender must be allowed to do, from the statement's text and from what is known
// of the program's database. It allows what it knows and refuses what it does not: a verb, a function, a setting or a
// table that it has never heard of needs the right to administer.
package rights

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Need is what a statement needs its sender to be allowed to do. A greater one is worse.
type Need uint8

// The needs.
const (
	Read       Need = iota // read the program's tables; settings of the sender's own session
	Change                 // insert, update and delete rows of the program's tables, and lock them
	Schema                 // create, alter and drop what belongs to the program's databases
	Administer             // everything else
	Own                    // write to ddb's own tables, which nobody may
)

// Scope is what the names in a statement may mean.
type Scope struct {
	Databases []string // the program's, on a server; names of others need the right to administer
	Own       string   // ddb's own database on a server; on SQLite its tables are told by their prefix
	Functions []string // the program's own functions: reading them may change rows
	Writers   []string // the program's views and functions that may change rows when they are read
	OwnViews  []string // views that show ddb's own tables
}

// database reports whether a name is that of a database of the program's.
func (s *Scope) database(d sqlclass.Dialect, name string) bool {
	if d == sqlclass.SQLite {
		return strings.EqualFold(name, "main") || strings.EqualFold(name, "temp")
	}
	return contains(s.Databases, name) || strings.EqualFold(name, s.Own) // of ddb's own, ownTables tells
}

func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// verdict is the worst need that has been found so far.
type verdict struct {
	need   Need
	reason string
}

// raise notes a need. Of several of the same weight the first one's reason stands.
func (v *verdict) raise(n Need, reason string) {
	if n > v.need {
		v.need, v.reason = n, reason
	}
}

// Needs returns what the statement needs, or the worst of several in one text, and why, in words that follow "it". A
// text that servers read differently, as their settings have it, is read in each way.
func Needs(d sqlclass.Dialect, text string, s Scope) (Need, string) {
	var v verdict
	for _, r := range readings(d, text) {
		plain := v.need
		tokens, execs, whole := sqlclass.Tokens(d, text, r)
		if execs > 1 {
			// Each server runs those that are meant for its version, so there are too many ways to read them.
			v.raise(Administer, "has several executable comments: leave them out")
		}
		if !whole && r == (sqlclass.Reading{}) {
			v.raise(Administer, "cannot be read to its end")
		}
		for _, statement := range split(tokens) {
			st := &statementReader{d: d, scope: &s, tokens: statement}
			st.read()
			if st.ownTables() {
				if st.found.need > Read {
					st.found.raise(Own, OwnReason)
				}
				st.found.raise(Administer, "reads ddb's own tables")
			}
			v.raise(st.found.need, st.found.reason)
		}
		if v.need > plain && v.need < Own && (r.ANSIQuotes || r.NoBackslash) {
			v.reason = cmp.Or(v.reason, "changes rows") + " under another sql_mode (give values as arguments, or write them without backslashes and double quotes)"
		}
	}
	return v.need, v.reason
}

// OwnReason is why nobody may write to ddb's own tables.
const OwnReason = "names ddb's own tables, which only ddb writes, or every node would have others: work on the program's own tables; conflicts are settled by RetryConflict and DismissConflict"

// OwnTables reports whether a text names ddb's own tables. Of the scope, Own and OwnViews count.
func OwnTables(d sqlclass.Dialect, text string, s Scope) bool {
	for _, r := range readings(d, text) {
		tokens, execs, _ := sqlclass.Tokens(d, text, r)
		for _, statement := range split(tokens) {
			st := &statementReader{d: d, scope: &s, tokens: statement}
			if st.ownTables() {
				return true
			}
		}
		if execs > 1 { // there are too many ways to read it; see Needs
			return true
		}
	}
	return false
}

// readings lists the ways in which servers may read a text.
func readings(d sqlclass.Dialect, text string) []sqlclass.Reading {
	list := []sqlclass.Reading{{}}
	if d != sqlclass.MySQL {
		return list
	}
	double := func(with func(*sqlclass.Reading)) {
		for _, r := range list {
			with(&r)
			list = append(list, r)
		}
	}
	if strings.Contains(text, `"`) {
		double(func(r *sqlclass.Reading) { r.ANSIQuotes = true })
	}
	if strings.Contains(text, `\`) {
		double(func(r *sqlclass.Reading) { r.NoBackslash = true })
	}
	if strings.Contains(text, "/*!") || strings.Contains(text, "/*M!") {
		double(func(r *sqlclass.Reading) { r.SkipExec = true })
	}
	if strings.Contains(text, "\xa0") {
		double(func(r *sqlclass.Reading) { r.NBSPIsSpace = true })
	}
	return list
}

// split cuts at every semicolon. What stands between those of a trigger's body is judged like statements of their own.
func split(tokens []sqlclass.Token) (list [][]sqlclass.Token) {
	for len(tokens) > 0 {
		end := slices.IndexFunc(tokens, func(t sqlclass.Token) bool { return t.Kind == sqlclass.Op && t.Text == ";" })
		if end < 0 {
			return append(list, tokens)
		}
		if end > 0 {
			list = append(list, tokens[:end])
		}
		tokens = tokens[end+1:]
	}
	return list
}
