package rights

import (
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// scanner walks over the tokens of a statement and finds the tables and functions that it names. It knows no grammar but
// where a table may stand: behind FROM, JOIN, INTO and the like, and behind the commas of such a list.
type scanner struct {
	r        *statementReader
	schema   bool
	frames   []frame
	declared map[string]bool // tables, aliases and common table expressions, in lower case
	quoted   []string        // what stands before a dot elsewhere, to be found among declared
}

// frame is what is known of a pair of parentheses.
type frame struct {
	call  string // the function whose arguments it holds
	query bool   // it has a SELECT
	list  bool   // a comma leads to another table
	want  bool   // a table comes next
	alias bool   // a table's alias may come next
	ctes  bool   // it begins with common table expressions, and its main statement has not come yet
	with  bool   // the name of one comes next
	table bool   // opened where a table was expected
}

// scan judges what a statement names. schema says that it makes, changes or drops what it names.
func (r *statementReader) scan(schema bool) {
	s := &scanner{r: r, schema: schema, frames: []frame{{}}, declared: map[string]bool{"new": true, "old": true, "excluded": true}}
	for i := 0; i < len(r.tokens); {
		i = s.step(i)
	}
	for _, name := range s.quoted {
		if !s.declared[strings.ToLower(name)] && !r.scope.database(r.d, name) {
			r.found.raise(Administer, fmt.Sprintf("names %s, which is neither one of its tables nor a database of the program's", name))
		}
	}
}

func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// step looks at the token i and returns the next one to look at.
func (s *scanner) step(i int) int {
	f, t := s.top(), s.r.at(i)
	switch t.Kind {
	case sqlclass.Op:
		s.operator(i, t.Text)
		return i + 1
	case sqlclass.Word:
		if s.keyword(i, t.Text) {
			return i + 1
		}
		f = s.top()
	case sqlclass.Quoted, sqlclass.String:
	default:
		f.want, f.alias = false, false
		return i + 1
	}
	switch {
	case f.want && isName(t, s.r.d == sqlclass.SQLite):
		next := s.table(i)
		f.want, f.alias = false, true
		return next
	case t.Kind == sqlclass.String && !s.r.op(i+1, "(") && !s.r.op(i+1, "."):
		f.want, f.alias = false, false
		return i + 1
	case f.with:
		f.with = false
		s.declare(t)
		return i + 1
	case f.alias && !s.r.op(i+1, "."):
		f.alias = false
		s.declare(t)
		if s.r.op(i+1, "(") && s.r.d == sqlclass.MySQL { // columns of a derived table
			return i + 1
		}
	}
	f.want = false
	return s.name(i)
}

func (s *scanner) declare(t sqlclass.Token) { s.declared[strings.ToLower(t.Text)] = true }

// isName reports whether a token can name a table: SQLite takes strings too.
func isName(t sqlclass.Token, strings bool) bool {
	return t.Kind == sqlclass.Word && t.Text != "" || t.Kind == sqlclass.Quoted || strings && t.Kind == sqlclass.String
}

func (s *scanner) operator(i int, op string) {
	f := s.top()
	switch op {
	case "(":
		inner := frame{}
		if f.want {
			inner = frame{list: true, want: true, table: true}
			f.want = false
		} else if t := s.r.at(i - 1); t.Kind == sqlclass.Word {
			inner.call = t.Text
		}
		s.frames = append(s.frames, inner)
	case ")":
		if len(s.frames) > 1 {
			s.frames = s.frames[:len(s.frames)-1]
			s.top().alias = f.table
		}
	case ",":
		f.want, f.alias = f.list, false
		f.with = f.ctes
	case "{", "}": // of ODBC's {OJ t LEFT JOIN u}
	default:
		f.want, f.alias = false, false
	}
}

// name judges a name that is no table's: a column's, a function's. It returns the index behind it.
func (s *scanner) name(i int) int {
	first, last := i, i
	for s.r.op(last+1, ".") && isName(s.r.at(last+2), true) {
		last += 2
	}
	called := s.r.op(last+1, "(")
	if last > first || s.r.op(last+1, ".") { // t.* too
		name := s.r.at(first).Text
		full := last-first >= 4 || called && last > first || s.r.d == sqlclass.MySQL && has(systemDatabases, name)
		described := last-first >= 4 && strings.EqualFold(name, "information_schema") // its tables are looked at where they are read
		switch {
		case described:
		case full && !s.r.scope.database(s.r.d, name):
			s.r.found.raise(Administer, fmt.Sprintf("names database %s, which is not the program's", name))
		default:
			s.quoted = append(s.quoted, name)
		}
	}
	if called {
		s.call(i, last)
	}
	return last + 1
}

// tableAt judges the table that is named at i.
func (r *statementReader) tableAt(i int) int {
	s := &scanner{r: r, frames: []frame{{}}, declared: make(map[string]bool)}
	return s.table(i)
}

// table judges the table that is named at i and returns the index behind its name.
func (s *scanner) table(i int) int {
	last := i
	for s.r.op(last+1, ".") && isName(s.r.at(last+2), true) {
		last += 2
	}
	t := s.r.at(last)
	s.declare(t)
	database := ""
	if last > i {
		database = s.r.at(last - 2).Text
	}
	if s.r.op(last+1, "(") && s.fromCall() {
		s.tableFunction(t)
		return last + 1
	}
	switch {
	case s.r.d == sqlclass.SQLite:
		s.sqliteTable(database, t.Text)
	case strings.EqualFold(database, "information_schema"):
		if s.r.found.need > Read || !has(described, t.Text) {
			s.r.found.raise(Administer, "names information_schema."+t.Text)
		}
	case database != "" && !s.r.scope.database(s.r.d, database):
		s.r.found.raise(Administer, fmt.Sprintf("names database %s, which is not the program's", database))
	}
	if contains(s.r.scope.Writers, t.Text) {
		s.r.found.raise(Change, fmt.Sprintf("reads %s, which may change rows", t.Text))
	}
	return last + 1
}

func (s *scanner) sqliteTable(database, name string) {
	lower := strings.ToLower(name)
	switch {
	case database != "" && !s.r.scope.database(s.r.d, database):
		s.r.found.raise(Administer, fmt.Sprintf("names database %s, which is not the program's", database))
	case strings.HasPrefix(lower, "sqlite_"):
		if s.r.found.need > Read || !has(sqliteTables, name) {
			s.r.found.raise(Administer, "names "+name+", a table of SQLite's own")
		}
	case strings.HasPrefix(lower, "pragma_") && !has(showPragmas, lower[len("pragma_"):]):
		s.r.found.raise(Administer, "names "+name)
	}
}

// fromCall reports whether a "(" behind a table's name holds arguments rather than columns.
func (s *scanner) fromCall() bool { return !s.schema && s.top().list }

// tableFunction judges a function in the place of a table.
func (s *scanner) tableFunction(t sqlclass.Token) {
	lower := strings.ToLower(t.Text)
	switch {
	case s.r.d == sqlclass.MySQL && t.Kind == sqlclass.Word && (lower == "json_table" || lower == "partition"):
	case s.r.d == sqlclass.SQLite && (has(tableFunctions, lower) || !has(sqliteFunctions, lower) && lower != "load_extension" && lower != "fts3_tokenizer"):
		s.sqliteTable("", lower) // a full-text table takes arguments too
	default:
		s.r.found.raise(Administer, "calls "+t.Text)
	}
}

// call judges the function whose name ends at last.
func (s *scanner) call(first, last int) {
	t, prev := s.r.at(last), s.r.at(first-1)
	known := s.known(t, first < last)
	switch {
	case known == Administer && s.schema && !contains(refusedFunctions, t.Text):
		// The columns of an index or a constraint, the length of a type; to be read, a view is looked at again.
	case known == Administer && prev.Kind == sqlclass.Op && prev.Text == ")":
		// The columns of a derived table.
	case known == Administer && prev.Kind == sqlclass.Word && (prev.Text == "AS" || prev.Text == "INTO"):
	case known == Administer:
		s.r.found.raise(Administer, fmt.Sprintf("calls %s, which ddb does not know to be harmless", t.Text))
	default:
		s.r.found.raise(known, fmt.Sprintf("calls %s", t.Text))
	}
}

// known returns what a call needs; Administer for a function that is not known.
func (s *scanner) known(t sqlclass.Token, qualified bool) Need {
	refused, program := contains(refusedFunctions, t.Text), contains(s.r.scope.Functions, t.Text) || contains(s.r.scope.Writers, t.Text)
	switch {
	case s.r.d == sqlclass.SQLite && (has(sqliteFunctions, t.Text) || t.Kind == sqlclass.Word && sqliteWords[t.Text]):
		return Read
	case program && !refused:
		return Change
	case s.r.d == sqlclass.SQLite:
		return Administer
	}
	if qualified || t.Kind != sqlclass.Word {
		return Administer
	}
	switch {
	case sessionFunctions[t.Text]:
		return Read
	case lockFunctions[t.Text]:
		return Change
	case sqlclass.BuiltIn(t.Text):
		return Read
	}
	return Administer
}
