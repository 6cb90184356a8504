// Package rights tells what a statement's sender must be allowed to do, from the statement's text and from what is known
// of the program's database. It allows what it knows and refuses what it does not: a verb, a function, a setting or a
// table that it has never heard of needs the right to administer.
package rights

import (
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Need is what a statement needs its sender to be allowed to do. A greater one is worse.
type Need uint8

const (
	Read       Need = iota // read the program's tables; settings of the sender's own session
	Change                 // insert, update and delete rows of the program's tables
	Schema                 // create, alter and drop what belongs to the program's databases
	Administer             // everything else
	Own                    // write to ddb's own tables, which nobody may
)

// Scope is what the names in a statement may mean.
type Scope struct {
	Databases []string // the program's, on a server; names of others need the right to administer
	Own       string   // ddb's own database on a server
	Writers   []string // functions and views, in lower case, that change rows when they are read
}

// Needs returns what the statement, or the worst of several in one text, needs, with the reason for all but Read and Change.
func Needs(d sqlclass.Dialect, text string, s Scope) (need Need, reason string) {
	switch sqlclass.Classify(d, text) {
	case sqlclass.Read:
		return Read, ""
	case sqlclass.Write:
		if sqlclass.SpellsRows(d, text) {
			return Change, ""
		}
	case sqlclass.Schema:
		return Schema, "changes the schema"
	}
	return Administer, "is not known to be less than administration"
}
