package sqlclass

import "strings"

// additive reports whether what follows the name in ALTER TABLE, from the token t on, succeeds and does the same whatever
// rows the table holds: it adds columns with constant defaults and indexes that are not unique, or drops indexes.
func additive(lx lexer, t token) bool {
	begins, depth := true, 0
	nots, defaults := 0, 0 // NOT NULL needs a value for the rows that are there
	for ; t.kind != tokEOF && !t.is(';'); t = lx.next() {
		next := lx.peek()
		switch {
		case t.kind == tokBad, begins && !additiveClause(&lx, t, next), lx.looksAtRows(t):
			return false
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		case t.is(','):
			if nots > defaults {
				return false
			}
			nots, defaults = 0, 0
		case lx.isWord(t, "NOT"):
			nots++
		case lx.isWord(t, "DEFAULT"):
			if !lx.isConstant(next) {
				return false
			}
			defaults++
		}
		begins = t.is(',') && depth == 0
	}
	return nots <= defaults
}

// additiveClause reports whether a clause that begins with t and next may be additive.
func additiveClause(lx *lexer, t, next token) bool {
	if lx.isWord(t, "DROP") {
		return lx.isWord(next, "INDEX") || lx.isWord(next, "KEY")
	}
	return lx.isWord(t, "ADD") || lx.isWord(t, "ALGORITHM") || lx.isWord(t, "LOCK")
}

// looksAtRows reports whether a clause with the word t looks at rows or counts them.
func (lx *lexer) looksAtRows(t token) bool {
	for word := range strings.FieldsSeq("UNIQUE PRIMARY AUTO_INCREMENT AUTOINCREMENT SERIAL CHECK CONSTRAINT REFERENCES FOREIGN AS" +
		" GENERATED PARTITION PERIOD SYSTEM FULLTEXT SPATIAL VECTOR") {
		if lx.isWord(t, word) {
			return true
		}
	}
	return false
}

// isConstant reports whether the token begins, and therefore is, a literal.
func (lx *lexer) isConstant(t token) bool {
	return t.kind == tokString || t.kind == tokNumber || t.is('-') || t.is('+') ||
		lx.isWord(t, "NULL") || lx.isWord(t, "TRUE") || lx.isWord(t, "FALSE")
}

// dependsOnRows reports whether any word from the token t on looks at rows.
func dependsOnRows(lx lexer, t token) bool {
	for ; t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		if lx.looksAtRows(t) {
			return true
		}
	}
	return false
}

// mentions reports whether the word occurs from the token t on.
func mentions(lx lexer, t token, word string) bool {
	for ; t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		if lx.isWord(t, word) {
			return true
		}
	}
	return false
}

// Names returns the words and names that a statement consists of, unquoted and in lower case.
func Names(d Dialect, sql string) map[string]bool {
	names := make(map[string]bool)
	lx := newLexer(d, sql)
	for t := lx.next(); t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		switch t.kind {
		case tokWord, tokIdent, tokString:
			names[strings.ToLower(unquote(lx.text(t)))] = true
		}
	}
	return names
}
