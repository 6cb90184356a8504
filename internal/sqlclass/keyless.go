package sqlclass

// Keyless reports whether a MySQL statement is a CREATE TABLE that certainly gives the table no primary key: it lists
// columns, and none of them, and nothing beside them, is one. What copies another table or fills itself from a query
// may have one for all that its text tells.
func Keyless(sql string) bool {
	info, err := ParseSchema(MySQL, sql)
	if err != nil || info.Verb != "CREATE" || info.Object != "TABLE" || info.AsSelect {
		return false
	}
	lx := newLexer(MySQL, sql)
	depth, columns := 0, false
	var prev token
	for t := lx.next(); t.kind != tokEOF; t = lx.next() {
		switch {
		case t.is('('):
			depth++
			columns = true
		case t.is(')'):
			depth--
		case depth > 1: // an expression, or the columns of an index
		case lx.isWord(t, "LIKE"), lx.isWord(t, "PRIMARY"), depth == 1 && lx.isWord(t, "KEY") && !lx.beginsIndex(prev):
			return false
		}
		prev = t
	}
	return columns
}

// beginsIndex reports whether KEY behind the token is that of an index: behind a column it makes that the primary key.
func (lx *lexer) beginsIndex(prev token) bool {
	if prev.is('(') || prev.is(',') {
		return true
	}
	for _, word := range [...]string{"UNIQUE", "FOREIGN", "FULLTEXT", "SPATIAL", "VECTOR"} {
		if lx.isWord(prev, word) {
			return true
		}
	}
	return false
}
