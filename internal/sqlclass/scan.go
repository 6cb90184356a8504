package sqlclass

// flags are reasons why what looks like a read is none.
type flags uint8

const (
	flagMayWrite flags = 1 << iota // calls a function that may write
	flagConn                       // depends on the connection or on one server
	flagLock                       // locks rows, or writes its result elsewhere
	flagVerb                       // holds the verb of a write
	flagMulti                      // more than one statement
	flagBad                        // unterminated literal or comment

	anyFlag = ^flags(0)
)

func readUnless(got, reasons flags) Kind {
	if got&reasons != 0 {
		return Write
	}
	return Read
}

// scan reads everything behind the token first and returns what it found.
func scan(lx *lexer, first token) flags {
	var found flags
	var prev token
	for t := first; t.kind != tokEOF; {
		next := lx.next()
		switch t.kind {
		case tokBad:
			return found | flagBad
		case tokWord:
			found |= lx.scanWord(prev, t, next)
		case tokIdent, tokString:
			if next.is('(') {
				found |= lx.scanCall(prev, t)
			}
		case tokVar, tokSysVar:
			found |= flagConn
		case tokOp:
			if t.isAssign() {
				found |= flagConn
			}
			if t.op == ';' && next.kind != tokEOF && !next.is(';') {
				found |= flagMulti
			}
		}
		prev, t = t, next
	}
	return found
}

// scanWord judges the unquoted word t between its neighbours. lx stands behind next.
func (lx *lexer) scanWord(prev, t, next token) flags {
	if prev.is('.') {
		if next.is('(') {
			return lx.scanCall(prev, t)
		}
		if lx.dialect == MySQL && (lx.isWord(t, "NEXTVAL") || lx.isWord(t, "CURRVAL")) {
			return flagMayWrite // s.nextval of sql_mode=ORACLE
		}
		return 0
	}
	var found flags
	// The length and first letter rule out most words.
	if n := t.end - t.start; n >= 3 && n <= 19 {
		switch lx.src[t.start] | 0x20 {
		case 'd', 'f', 'i', 'l', 'n', 'p', 'r', 's', 'u':
			if n > 3 || lx.src[t.start]|0x20 == 'f' {
				found = lx.scanKeyword(t, next)
			}
		}
	}
	if next.is('(') {
		found |= lx.scanCall(prev, t)
	}
	return found
}

func (lx *lexer) scanKeyword(t, next token) flags {
	var buf foldBuf
	switch string(fold(&buf, lx.text(t))) {
	case "UPDATE", "DELETE":
		return flagVerb
	case "INSERT", "REPLACE": // functions too; in SQLite REPLACE may be a column, and as a verb it needs INTO
		if !next.is('(') && (lx.dialect == MySQL || lx.isWord(t, "INSERT")) {
			return flagVerb
		}
	case "RETURNING":
		return flagVerb
	case "INTO":
		return flagLock
	case "FOR":
		if lx.isWord(next, "UPDATE") || lx.isWord(next, "SHARE") {
			return flagLock
		}
	case "LOCK":
		if lx.isWord(next, "IN") {
			return flagLock
		}
	case "NEXT", "PREVIOUS":
		if lx.dialect == MySQL && lx.isWord(next, "VALUE") && lx.isWord(lx.peek(), "FOR") {
			return flagMayWrite
		}
	case "SQL_CALC_FOUND_ROWS":
		return flagConn
	}
	return 0
}

// scanCall judges a call of the function t. lx stands behind the "(".
func (lx *lexer) scanCall(prev, t token) flags {
	var buf foldBuf
	if lx.dialect == SQLite {
		return classFlags(sqliteCalls[string(fold(&buf, inner(lx.text(t))))])
	}
	if t.kind == tokWord && !prev.is('.') {
		word := fold(&buf, lx.text(t))
		if lx.byteAt(t.end) != '(' && spacedCalls[string(word)] {
			return flagMayWrite // a stored function of that name, unless IGNORE_SPACE is set
		}
		if class := mysqlCalls[string(word)]; class != classUnknown {
			return classFlags(class)
		}
	}
	// The name of a derived table may precede its columns: (...) AS d (a, b),
	// as may that of a common table expression: WITH c (a, b) AS (...).
	if prev.is(')') || lx.isWord(prev, "AS") || lx.columnsThenAs() {
		return 0
	}
	return flagMayWrite
}

func classFlags(class wordClass) flags {
	switch class {
	case classConn:
		return flagConn
	case classMayWrite:
		return flagMayWrite
	}
	return 0
}

// columnsThenAs reports whether a list of names, a closing parenthesis, AS and
// "(" follow.
func (lx *lexer) columnsThenAs() bool {
	ahead := *lx
	for {
		t := ahead.next()
		switch {
		case t.kind == tokWord || t.kind == tokIdent || t.is(','):
		case t.is(')'):
			return ahead.isWord(ahead.next(), "AS") && ahead.next().is('(')
		default:
			return false
		}
	}
}
