package sqlclass

import "strings"

// State says what a text has to do with the state of the connection that it runs on.
type State uint8

const (
	// Sets means that the text leaves the connection other than it was, which is all, or a part, of what it is for: SET, USE,
	// LOCK TABLES, GET_LOCK(), INTO @x, a temporary table, ATTACH, a PRAGMA that sets something.
	Sets State = 1 << iota
	// Asks means that it depends on what was done on the connection before: @x, LAST_INSERT_ID(), EXECUTE.
	Asks
	// Assigns means that it uses variables of the connection while it runs: @x := @x + 1.
	Assigns
	// Hides means that it runs statements which it does not show, or not so that this package follows them: CALL,
	// EXECUTE, a compound statement.
	Hides
	// Spans means that several statements, among which one begins, marks or ends a transaction, stand in the text.
	Spans
	// Transient means that all it sets ends with the transaction.
	Transient
	// Modal means that under another sql_mode or character set the text is other statements, of which one sets a state, changes the schema or
	// begins or ends a transaction. Kinds, [Split] and the other bits are those of the default sql_mode.
	Modal
	// Versioned is the same for executable comments, which some servers run and others do not.
	Versioned
)

// StateOf returns what a text has to do with the state of its connection.
func StateOf(d Dialect, sql string) State {
	lx := newLexer(d, sql)
	is := holdingsOf(lx)
	state := is.state
	if d == SQLite {
		return state
	}
	for _, r := range readings(sql) {
		if r.harmless(sql) {
			continue
		}
		other := holdingsOf(r.in(sql))
		worse := is.pieces > 1 && other.cuts != is.cuts && is.schema ||
			other.schema && !is.schema || other.transacts && !is.transacts || other.state&^is.state&(Sets|Hides|Spans) != 0
		switch {
		case worse && r.skipExec:
			state |= Versioned
		case worse:
			state |= Modal
		}
	}
	return state
}

// holdings is what the statements of a text are, in one reading.
type holdings struct {
	state             State
	schema, transacts bool
	pieces, cuts      int // how many there are, and a sum of where they end
}

func holdingsOf(lx lexer) (h holdings) {
	if strings.IndexByte(lx.src, ';') < 0 { // one statement, which needs no cutting
		h.pieces = 1
		h.add(lx)
		return h
	}
	for more := true; more; {
		var p piece
		var err error
		begin := lx
		p, more, err = nextPiece(&lx)
		if err != nil { // of which the database has more to say; what stands there counts
			p, more = piece{begin.pos, len(lx.src)}, false
		}
		if p.end > p.start {
			h.pieces++
			h.cuts = h.cuts*31 + p.end
			part := newLexer(lx.dialect, lx.src[p.start:p.end])
			part.reading = lx.reading
			h.add(part)
		}
	}
	if h.pieces > 1 && h.transacts {
		h.state |= Spans
	}
	return h
}

// add counts one statement.
func (h *holdings) add(lx lexer) {
	whole := lx
	kind := classify(&whole)
	switch kind {
	case Schema:
		if info, err := ParseSchema(lx.dialect, lx.src); err == nil && info.Temporary {
			h.state |= Sets
		} else {
			h.schema = true
		}
		return // what a body holds is not run yet
	case TxControl:
		h.transacts = true
		return
	}
	if lx.dialect == SQLite {
		if kind == Session {
			h.state |= pragmaState(lx)
		}
		return
	}
	t, _ := firstToken(&lx)
	for lx.isWord(t, "SET") && lx.isWord(lx.peek(), "STATEMENT") && skipSetStatement(&lx) {
		t, _ = skipParens(&lx, lx.next())
	}
	h.state |= verbState(lx, t, kind) | tokenState(lx, t)
}

// pragmaState judges ATTACH, DETACH and a PRAGMA that sets something.
func pragmaState(lx lexer) State {
	if t, _ := firstToken(&lx); !lx.isWord(t, "PRAGMA") {
		return Sets
	}
	name := lx.next()
	if lx.peek().is('.') {
		lx.next()
		name = lx.next()
	}
	var buf foldBuf
	switch string(fold(&buf, inner(lx.text(name)))) {
	case "SHRINK_MEMORY":
		return 0
	case "DEFER_FOREIGN_KEYS":
		return Sets | Transient
	case "JOURNAL_MODE":
		lx.next()
		var buf foldBuf
		if string(fold(&buf, inner(lx.text(lx.next())))) == "WAL" {
			return 0 // which is the file's
		}
	}
	return Sets
}

// verbState judges a statement of MySQL by its first word t.
func verbState(lx lexer, t token, kind Kind) State {
	if lx.compound(t) {
		return Hides
	}
	if t.kind != tokWord {
		return 0
	}
	var buf foldBuf
	switch string(fold(&buf, lx.text(t))) {
	case "SET":
		if setsServer(lx) {
			return 0
		}
		return Sets
	case "USE", "PREPARE", "DEALLOCATE", "LOCK", "UNLOCK", "HANDLER", "BACKUP":
		return Sets
	case "DROP":
		if kind == Session { // DROP PREPARE
			return Sets
		}
	case "FLUSH":
		if mentions(lx, lx.peek(), "LOCK") || mentions(lx, lx.peek(), "EXPORT") {
			return Sets
		}
	case "CALL":
		return Hides
	case "EXECUTE":
		if lx.isWord(lx.peek(), "IMMEDIATE") {
			return Hides
		}
		return Hides | Asks
	case "SHOW":
		if kind == Write {
			return Asks
		}
	case "GET":
		return Asks
	}
	return 0
}

// setsServer reports whether all that SET, behind which lx stands, assigns to is the server's.
func setsServer(lx lexer) bool {
	depth, begins := 0, true
	for t := lx.next(); t.kind != tokEOF && t.kind != tokBad && !t.is(';'); t = lx.next() {
		if begins && !lx.ofServer(t) {
			return false
		}
		switch {
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		}
		begins = depth == 0 && t.is(',')
	}
	return true
}

// ofServer reports whether t begins an assignment to what belongs to the server.
func (lx *lexer) ofServer(t token) bool {
	var buf foldBuf
	switch t.kind {
	case tokWord:
		switch string(fold(&buf, lx.text(t))) {
		case "GLOBAL", "PERSIST", "PERSIST_ONLY", "PASSWORD", "DEFAULT":
			return true
		}
	case tokSysVar:
		for _, scope := range [...]string{"@@GLOBAL.", "@@PERSIST.", "@@PERSIST_ONLY."} {
			if text := lx.text(t); len(text) > len(scope) && string(fold(&buf, text[:len(scope)])) == scope {
				return true
			}
		}
	}
	return false
}

// tokenState looks for variables and functions of the connection from t on.
func tokenState(lx lexer, t token) (s State) {
	loads := lx.isWord(t, "LOAD")
	for prev := (token{}); t.kind != tokEOF && t.kind != tokBad; {
		next := lx.next()
		switch t.kind {
		case tokVar:
			s |= Asks
			if loads || next.isAssign() {
				s |= Assigns
			}
			if lx.isWord(prev, "INTO") {
				s |= Sets
			}
		case tokSysVar:
			if !lx.ofServer(t) {
				s |= Asks
			}
		case tokWord, tokIdent, tokString:
			if next.is('(') && !prev.is('.') {
				s |= lx.callState(t)
			} else if lx.isWord(t, "SQL_CALC_FOUND_ROWS") {
				s |= Asks
			}
		}
		prev, t = t, next
	}
	return s
}

// callState judges a call of the function t.
func (lx *lexer) callState(t token) State {
	var buf foldBuf
	switch string(fold(&buf, inner(lx.text(t)))) {
	case "GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS":
		return Sets
	case "LAST_INSERT_ID", "ROW_COUNT", "FOUND_ROWS", "CONNECTION_ID", "LASTVAL", "PS_CURRENT_THREAD_ID":
		return Asks
	}
	return 0
}
