package sqlclass

// ender finds the end of a statement. It is fed the tokens of one statement
// from the first on and knows which semicolons belong to the body of a trigger,
// procedure, function or event.
type ender struct {
	dialect Dialect
	phase   phase
	tokens  int
	prev    token
	parens  int

	// MySQL: the open blocks, and whether a statement may begin at this token.
	blocks    [32]block
	depth     int
	atStart   bool
	inHandler bool // in DECLARE ... HANDLER FOR, before its statement
	afterEnd  bool // behind END, where IF, CASE, LOOP ... opens nothing
	event     bool

	// SQLite: how much of "; END ;" has been seen.
	closing int
}

type phase uint8

const (
	phaseVerb   phase = iota // it may still turn out to be a program
	phasePlain               // the next semicolon ends it
	phaseHeader              // of a program, before its body
	phaseBody                // the body may begin at this token
	phaseInBody              // the body has begun
)

type block uint8

const (
	blockStatement block = iota // BEGIN, IF, LOOP, WHILE, FOR
	blockRepeat
	blockCaseExpr // CASE ... END within an expression
)

// step takes the next token t, behind which lx stands, and reports whether t
// ends the statement.
func (e *ender) step(lx *lexer, t token) bool {
	if t.kind == tokEOF {
		return false
	}
	end := false
	switch e.phase {
	case phasePlain:
		end = t.is(';')
	case phaseVerb:
		end = e.verb(lx, t)
	default:
		if e.dialect == SQLite {
			end = e.sqlite(lx, t)
		} else {
			end = e.mysql(lx, t)
		}
	}
	e.tokens++
	e.prev = t
	return end
}

// verb decides whether the statement is a program.
func (e *ender) verb(lx *lexer, t token) bool {
	if t.is(';') {
		return true
	}
	if t.kind != tokWord {
		if e.tokens == 0 {
			e.phase = phasePlain
		} else if t.is(':') && e.tokens == 1 && e.dialect == MySQL { // label: LOOP
			e.phase, e.atStart = phaseInBody, true
		}
		return false
	}
	var buf foldBuf
	word := string(fold(&buf, lx.text(t)))
	if e.tokens == 0 {
		e.firstVerb(lx, t, word)
		return false
	}
	if e.prev.is('=') { // the value of DEFINER, ALGORITHM
		return false
	}
	switch word {
	case "TRIGGER":
		e.phase = phaseHeader
	case "PROCEDURE", "FUNCTION", "EVENT":
		if e.dialect == MySQL {
			e.phase = phaseHeader
			e.event = word == "EVENT"
		}
	case "TABLE", "VIEW", "INDEX", "DATABASE", "SCHEMA", "USER", "ROLE", "SEQUENCE", "SERVER", "VIRTUAL",
		"SELECT", "INSERT", "UPDATE", "DELETE":
		e.phase = phasePlain
	}
	return false
}

func (e *ender) firstVerb(lx *lexer, t token, word string) {
	e.phase = phasePlain
	switch word {
	case "CREATE":
		e.phase = phaseVerb
	case "EXPLAIN":
		if e.dialect == SQLite {
			e.phase = phaseVerb
		}
	case "ALTER":
		if e.dialect == MySQL {
			e.phase = phaseVerb
		}
	case "BEGIN", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR":
		// Compound statements outside of a program are MariaDB's.
		if e.dialect == MySQL && (word != "BEGIN" || lx.isWord(lx.peek(), "NOT")) {
			e.phase, e.atStart = phaseInBody, true
			e.mysql(lx, t)
		}
	default:
		if e.dialect == MySQL && lx.peek().is(':') {
			e.phase = phaseVerb
		}
	}
}

// sqlite follows sqlite3_complete: the body of a trigger ends with "; END ;".
func (e *ender) sqlite(lx *lexer, t token) bool {
	switch {
	case t.is(';'):
		if e.closing == 2 {
			return true
		}
		e.closing = 1
	case e.closing == 1 && lx.isWord(t, "END"):
		e.closing = 2
	default:
		e.closing = 0
	}
	return false
}

func (e *ender) mysql(lx *lexer, t token) bool {
	start := e.atStart || e.phase == phaseBody || e.inHandler
	wasAtStart, afterEnd := e.atStart, e.afterEnd
	e.atStart, e.afterEnd = false, false
	switch {
	case t.is(';'):
		e.inHandler = false
		e.atStart = e.depth > 0
		return e.depth == 0
	case t.is('('):
		e.parens++
	case t.is(')'):
		e.parens--
		if e.phase == phaseHeader && e.parens == 0 && !e.event {
			e.phase = phaseBody // the parameters have ended
		}
	case t.is(':'):
		e.atStart = true // behind a label
	case t.kind == tokWord:
		var buf foldBuf
		word := string(fold(&buf, lx.text(t)))
		if afterEnd && isBlockName(word) {
			return false
		}
		if e.phase == phaseHeader {
			if e.parens == 0 && (word == "DO" && e.event || word == "ROW" && lx.isWord(e.prev, "EACH")) {
				e.phase = phaseBody
			}
			return false
		}
		e.bodyWord(lx, word, start, wasAtStart)
	}
	return false
}

func isBlockName(word string) bool {
	switch word {
	case "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR":
		return true
	}
	return false
}

// bodyWord follows the blocks. start says that a statement may begin here,
// atStart that one must.
func (e *ender) bodyWord(lx *lexer, word string, start, atStart bool) {
	switch word {
	case "BEGIN", "LOOP", "REPEAT":
		if start {
			e.open(word)
			e.atStart = true
		}
	case "IF", "WHILE":
		if start {
			e.open(word)
		}
	case "CASE":
		if start {
			e.open(word)
		} else {
			e.push(blockCaseExpr)
		}
	case "FOR": // not the one of HANDLER FOR, nor FOR UPDATE
		if start && !e.inHandler {
			e.open(word)
		}
	case "NOT", "ATOMIC": // BEGIN NOT ATOMIC
		e.atStart = atStart
	case "THEN", "ELSE":
		e.atStart = e.depth > 0 && e.top() != blockCaseExpr
	case "DO":
		e.atStart = !atStart && e.depth > 0 // of WHILE and FOR; at a start it is the statement DO
		e.began(start)
	case "END":
		e.end(lx, atStart)
	case "HANDLER":
		e.inHandler = e.depth > 0 &&
			(lx.isWord(e.prev, "CONTINUE") || lx.isWord(e.prev, "EXIT") || lx.isWord(e.prev, "UNDO"))
	case "SET":
		if !lx.peek().is('(') { // not the type of RETURNS SET('a')
			e.began(start)
		}
	case "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "CALL", "RETURN", "WITH", "VALUES", "DROP", "CREATE", "ALTER",
		"TRUNCATE", "EXECUTE", "PREPARE", "SIGNAL", "RESIGNAL", "LEAVE", "ITERATE", "OPEN", "CLOSE", "FETCH", "GET", "LOAD":
		e.began(start)
	}
}

// began notes that a simple statement has begun.
func (e *ender) began(start bool) {
	if start {
		e.phase, e.inHandler = phaseInBody, false
	}
}

func (e *ender) open(word string) {
	e.phase, e.inHandler = phaseInBody, false
	if word == "REPEAT" {
		e.push(blockRepeat)
	} else {
		e.push(blockStatement)
	}
}

func (e *ender) push(b block) {
	if e.depth < len(e.blocks) {
		e.blocks[e.depth] = b
	}
	e.depth++
}

// top returns the innermost block. Blocks nested deeper than the limit count
// as statements.
func (e *ender) top() block {
	if e.depth > len(e.blocks) {
		return blockStatement
	}
	return e.blocks[e.depth-1]
}

// end handles the word END, which is no keyword everywhere: a column may bear
// the name.
func (e *ender) end(lx *lexer, atStart bool) {
	if e.depth == 0 {
		return
	}
	top := e.top()
	if top == blockCaseExpr || atStart || (top == blockRepeat && lx.isWord(lx.peek(), "REPEAT")) {
		e.depth--
		e.afterEnd = top != blockCaseExpr
	}
}
