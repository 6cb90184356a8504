package sqlclass

// SpellsRows reports whether sql is one INSERT or REPLACE that spells out the rows that it writes, so that
// they are no larger than the statement and its arguments.
func SpellsRows(d Dialect, sql string) bool {
	lx := newLexer(d, sql)
	t := lx.next()
	if !lx.isWord(t, "INSERT") && !lx.isWord(t, "REPLACE") {
		return false
	}
	for t.kind != tokEOF {
		if t.kind == tokBad || t.exec || t.is(';') || lx.isWord(t, "SELECT") || lx.isWord(t, "TABLE") || lx.isWord(t, "WITH") {
			return false
		}
		t = lx.next()
	}
	return true
}
