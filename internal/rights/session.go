package rights

import (
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// set judges SET: what holds for the sender's own session is harmless.
func (r *statementReader) set() {
	r.scan(false) // the values may call functions
	i := 1
	switch r.word(1) {
	case "STATEMENT":
		r.setStatement()
		return
	case "SESSION", "LOCAL":
		if r.word(2) == "TRANSACTION" {
			return
		}
	case "TRANSACTION":
		return
	case "NAMES", "CHARSET":
		r.charset(2)
		i = r.nextComma(2)
	case "CHARACTER", "CHAR":
		r.charset(3)
		i = r.nextComma(3)
	}
	for i < len(r.tokens) {
		i = r.assignment(i)
	}
}

// assignment judges name = value and returns the index of the next one.
func (r *statementReader) assignment(i int) int {
	if w := r.word(i); w == "SESSION" || w == "LOCAL" {
		i++
	}
	t := r.at(i)
	value := i + 2
	if r.op(i+1, ":") { // := in pieces
		value++
	}
	if !r.op(i+1, "=") && !r.op(i+1, ":=") {
		r.found.raise(Administer, "sets what ddb does not know")
		return len(r.tokens)
	}
	switch name := strings.ToLower(t.Text); t.Kind {
	case sqlclass.Var:
	case sqlclass.SysVar:
		name = strings.TrimPrefix(name, "@@")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "session."), "local.")
		r.variable(name, value)
	case sqlclass.Word, sqlclass.Quoted:
		r.variable(name, value)
	default:
		r.found.raise(Administer, "sets what ddb does not know")
	}
	return r.nextComma(value)
}

// nextComma returns the index behind the next comma outside of parentheses.
func (r *statementReader) nextComma(i int) int {
	for depth := 0; i < len(r.tokens); i++ {
		switch {
		case r.op(i, "("):
			depth++
		case r.op(i, ")"):
			depth--
		case depth == 0 && r.op(i, ","):
			return i + 1
		}
	}
	return i
}

// variable judges the setting of a variable of the session.
func (r *statementReader) variable(name string, value int) {
	switch {
	case strings.HasPrefix(name, "character_set_"):
		r.charset(value)
	case !has(sessionVariables, name):
		r.found.raise(Administer, "sets "+name+", which ddb does not know to end with the sender's session")
	}
}

// charset lets through the character sets in which every byte of ASCII means itself: in others a backslash or a quote can be half
// of a character, and the text that the server runs another one than was looked at.
func (r *statementReader) charset(i int) {
	if t := r.at(i); t.Kind != sqlclass.Word && t.Kind != sqlclass.String && t.Kind != sqlclass.Quoted || !has(charsets, t.Text) {
		r.found.raise(Administer, "sets a character set that ddb does not know to be safe")
	}
	if len(r.tokens) > i+1 && r.word(i+1) != "COLLATE" && !r.op(i+1, ",") {
		r.found.raise(Administer, "sets what ddb does not know")
	}
}

// setStatement judges SET STATEMENT name = value, ... FOR statement.
func (r *statementReader) setStatement() {
	depth, end := 0, 2
	for ; end < len(r.tokens) && (depth > 0 || r.word(end) != "FOR"); end++ {
		switch {
		case r.op(end, "("):
			depth++
		case r.op(end, ")"):
			depth--
		}
	}
	settings := &statementReader{d: r.d, scope: r.scope, tokens: r.tokens[:end]}
	for i := 2; i < end; {
		i = settings.assignment(i)
	}
	inner := &statementReader{d: r.d, scope: r.scope, tokens: r.tokens[min(end+1, len(r.tokens)):]}
	inner.read()
	r.found.raise(settings.found.need, settings.found.reason)
	r.found.raise(inner.found.need, inner.found.reason)
}

// show judges SHOW.
func (r *statementReader) show() {
	i := 1
	for showPrefixes[r.word(i)] {
		i++
	}
	what := r.word(i)
	switch what {
	case "CREATE":
		r.showCreate(i + 1)
		return
	case "COLUMNS", "FIELDS", "INDEX", "INDEXES", "KEYS":
		r.showFrom(i+1, true)
	case "TABLES", "TRIGGERS", "TABLE":
		if what == "TABLE" && r.word(i+1) != "STATUS" {
			r.unknown()
		}
		r.showFrom(i+1, false)
	case "CHARACTER", "CHARSET", "COLLATION", "DATABASES", "SCHEMAS", "ENGINES", "VARIABLES", "STATUS", "WARNINGS", "ERRORS", "COUNT":
		if i > 1 && r.word(i-1) == "FULL" {
			r.unknown()
		}
	case "PROCEDURE", "FUNCTION":
		if r.word(i+1) != "STATUS" {
			r.unknown()
		}
	default:
		r.found.raise(Administer, "shows what concerns the server")
	}
	if at := slices.IndexFunc(r.tokens, func(t sqlclass.Token) bool { return t.Kind == sqlclass.Word && t.Text == "WHERE" }); at >= 0 {
		condition := &statementReader{d: r.d, scope: r.scope, tokens: r.tokens[at:]}
		condition.scan(false)
		r.found.raise(condition.found.need, condition.found.reason)
	}
}

var showPrefixes = words("FULL EXTENDED SESSION LOCAL GLOBAL")

// showFrom judges FROM table FROM database, or FROM database.
func (r *statementReader) showFrom(i int, table bool) {
	for ; i < len(r.tokens); i++ {
		switch r.word(i) {
		case "WHERE":
			return
		case "FROM", "IN":
		default:
			continue
		}
		name := r.at(i + 1).Text
		switch {
		case table && r.op(i+2, ".") || table && r.word(i+2) != "FROM" && r.word(i+2) != "IN":
			r.tableAt(i + 1)
			table = false
		case table:
			table = false // the database follows
		case !r.scope.database(r.d, name) && !strings.EqualFold(name, "information_schema"):
			r.found.raise(Administer, "names database "+name+", which is not the program's")
		}
	}
}

// showCreate judges SHOW CREATE object name.
func (r *statementReader) showCreate(i int) {
	switch r.word(i) {
	case "TABLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "SEQUENCE":
		r.tableAt(i + 1)
	case "DATABASE", "SCHEMA":
		if name := r.at(len(r.tokens) - 1).Text; !r.scope.database(r.d, name) {
			r.found.raise(Administer, "names database "+name+", which is not the program's")
		}
	default:
		r.found.raise(Administer, "shows what concerns the server")
	}
}
