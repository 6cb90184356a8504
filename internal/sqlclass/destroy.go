package sqlclass

// destroys reports whether the single statement sql discards data with no
// condition.
func destroys(d Dialect, sql string) bool {
	lx := newLexer(d, sql)
	t, with := destroyVerb(&lx)
	var buf foldBuf
	switch string(fold(&buf, lx.text(t))) {
	case "DROP":
		return !lx.isWord(lx.peek(), "PREPARE")
	case "TRUNCATE":
		return d == MySQL && !with
	case "DELETE", "UPDATE":
		return !lx.findTopWord("WHERE")
	case "ALTER":
		return alterDestroys(&lx)
	case "CREATE":
		return createDestroys(&lx)
	}
	return false
}

// destroyVerb returns the verb of the statement that runs, past WITH, SET
// STATEMENT and the forms of EXPLAIN that run what they explain. lx then stands
// behind the verb.
func destroyVerb(lx *lexer) (t token, with bool) {
	t, _ = firstToken(lx)
	if lx.isWord(t, "SET") && lx.isWord(lx.peek(), "STATEMENT") && skipSetStatement(lx) {
		t = lx.next()
	}
	explain := lx.isWord(t, "EXPLAIN") || lx.isWord(t, "DESC") || lx.isWord(t, "DESCRIBE")
	if lx.dialect == MySQL && explain && lx.isWord(lx.peek(), "ANALYZE") {
		t = lx.next()
	}
	if lx.dialect == MySQL && lx.isWord(t, "ANALYZE") {
		if t = lx.next(); lx.isWord(t, "FORMAT") {
			lx.next() // =
			lx.next()
			t = lx.next()
		}
	}
	if !lx.isWord(t, "WITH") {
		return t, false
	}
	for depth := 0; t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		switch {
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		case t.kind == tokWord && depth == 0:
			var buf foldBuf
			switch string(fold(&buf, lx.text(t))) {
			case "SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "VALUES":
				return t, true
			}
		}
	}
	return t, true
}

// findTopWord moves lx behind the next word outside of parentheses, or to the end.
func (lx *lexer) findTopWord(word string) bool {
	depth := 0
	var prev token
	for t := lx.next(); t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		switch {
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		case depth == 0 && !prev.is('.') && lx.isWord(t, word):
			return true
		}
		prev = t
	}
	return false
}

// alterDestroys looks for clauses of ALTER TABLE that discard data. lx stands
// behind ALTER.
func alterDestroys(lx *lexer) bool {
	t := lx.next()
	for lx.isWord(t, "ONLINE") || lx.isWord(t, "IGNORE") {
		t = lx.next()
	}
	if !lx.isWord(t, "TABLE") {
		return false
	}
	for _, verb := range [...]string{"DROP", "TRUNCATE", "DISCARD"} {
		ahead := *lx
		for ahead.findTopWord(verb) {
			next := ahead.peek()
			if verb == "DROP" && dropsData(&ahead, next) ||
				ahead.isWord(next, "PARTITION") || ahead.isWord(next, "TABLESPACE") {
				return true
			}
		}
	}
	return false
}

// dropsData reports whether DROP followed by t takes a column or a partition.
func dropsData(lx *lexer, t token) bool {
	var buf foldBuf
	switch string(fold(&buf, lx.text(t))) {
	case "INDEX", "KEY", "CONSTRAINT", "FOREIGN", "PRIMARY", "CHECK", "DEFAULT", "SYSTEM", "PERIOD":
		return t.kind != tokWord
	}
	return true
}

// createDestroys reports whether CREATE, behind which lx stands, goes on with
// OR REPLACE of something that holds rows.
func createDestroys(lx *lexer) bool {
	if !lx.isWord(lx.next(), "OR") || !lx.isWord(lx.next(), "REPLACE") {
		return false
	}
	t := lx.next()
	if lx.isWord(t, "TEMPORARY") {
		t = lx.next()
	}
	return lx.isWord(t, "TABLE") || lx.isWord(t, "DATABASE") || lx.isWord(t, "SCHEMA") || lx.isWord(t, "SEQUENCE")
}
