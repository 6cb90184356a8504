package sqlclass

import "strings"

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokWord             // unquoted name or keyword
	tokIdent            // quoted name
	tokString           // string literal
	tokNumber           // numeric literal
	tokParam            // placeholder of a bound value
	tokVar              // MySQL user variable: @x
	tokSysVar           // MySQL system variable: @@x
	tokOp               // any other byte, and :=
	tokDelim            // the delimiter set by DELIMITER
	tokBad              // unterminated literal or comment, or a NUL byte
)

// badNUL is what a tokBad holds when it is not unterminated.
const badNUL = "NUL byte"

type token struct {
	kind       tokenKind
	op         byte // first byte of a tokOp
	exec       bool // inside an executable comment
	start, end int
}

func (t token) is(op byte) bool { return t.kind == tokOp && t.op == op && t.end-t.start == 1 }

// isAssign reports whether t is the operator := of MySQL.
func (t token) isAssign() bool { return t.kind == tokOp && t.op == ':' && t.end-t.start == 2 }

// lexer cuts SQL text into tokens. It is a plain value: a copy of it looks
// ahead without disturbing the original, and none of it reaches the heap.
type lexer struct {
	src     string
	pos     int
	dialect Dialect
	delim   string // delimiter other than ";", or empty

	reading // how what depends on the session or the server is read

	// Executable comments (MySQL). What they hold is code, unless skipExec is set.
	execDepth int
	execStart int // where the outermost one that is open, or was open last, begins
	execEnd   int // where the last one closed ends
	execs     int // how many have been met

	ansiQuotes bool // double quotes delimit names

	badAt   int    // offset of the tokBad
	badWhat string // what is wrong there
}

func newLexer(d Dialect, sql string) lexer {
	lx := lexer{src: sql, dialect: d}
	if strings.HasPrefix(sql, bom) {
		lx.pos = len(bom)
	}
	return lx
}

// bom is the mark at the beginning of a file. SQLite takes it for white space wherever it stands between tokens.
const bom = "\uFEFF"

func (lx *lexer) text(t token) string { return lx.src[t.start:t.end] }

// peek returns the token after the current one without consuming it.
func (lx *lexer) peek() token {
	ahead := *lx
	return ahead.next()
}

func (lx *lexer) byteAt(i int) byte {
	if i < len(lx.src) {
		return lx.src[i]
	}
	return 0
}

func (lx *lexer) bad(at int, what string) token {
	lx.badAt, lx.badWhat = at, what
	lx.pos = len(lx.src)
	return token{kind: tokBad, start: at, end: len(lx.src)}
}

// next returns the next token. After a tokBad it returns tokEOF.
func (lx *lexer) next() token {
	if at, what := lx.skipSpace(); what != "" {
		return lx.bad(at, what)
	}
	t := token{start: lx.pos, exec: lx.execDepth > 0}
	if lx.pos >= len(lx.src) {
		if lx.execDepth > 0 {
			lx.execDepth = 0
			return lx.bad(lx.execStart, "comment")
		}
		t.end = lx.pos
		return t
	}
	if lx.atDelim() {
		lx.pos += len(lx.delim)
		t.kind, t.end = tokDelim, lx.pos
		return t
	}
	c := lx.src[lx.pos]
	switch {
	case isLetter(c):
		t.kind = tokWord
		lx.nameBytes()
	case c == '\'' || c == '"' || c == '`' || (c == '[' && lx.dialect == SQLite):
		return lx.quoted(t, c)
	case isDigit(c) || (c == '.' && isDigit(lx.byteAt(lx.pos+1)) && !lx.afterName()):
		t.kind = lx.number()
	case isNameByte(c) && !(c == '$' && lx.dialect == SQLite):
		t.kind = tokWord
		lx.nameBytes()
	case c == 0:
		return lx.bad(lx.pos, badNUL)
	case c == '?' || (lx.dialect == SQLite && (c == ':' || c == '@' || c == '$' || c == '#')):
		t.kind, t.op = lx.param(c), c
	case c == '@':
		return lx.variable(t)
	default:
		t.kind, t.op = tokOp, c
		lx.pos++
		if c == ':' && lx.byteAt(lx.pos) == '=' {
			lx.pos++
		}
	}
	t.end = lx.pos
	return t
}

func (lx *lexer) atDelim() bool {
	return lx.delim != "" && lx.execDepth == 0 && strings.HasPrefix(lx.src[lx.pos:], lx.delim)
}

// afterName reports whether the byte before pos ends a name, so that a dot
// here qualifies (db.1st) instead of beginning a number (.1).
func (lx *lexer) afterName() bool {
	if lx.pos == 0 {
		return false
	}
	c := lx.src[lx.pos-1]
	return isNameByte(c) || c == '`' || c == '"' || c == ']'
}

// nameBytes consumes the bytes of an unquoted name. A delimiter such as $$
// ends it; one made of letters does not, or it would cut ordinary words.
func (lx *lexer) nameBytes() {
	src, i := lx.src, lx.pos
	if lx.delim == "" { // the fast way, for Classify
		for i < len(src) && nameByte[src[i]] && !(src[i] == nbsp && lx.nbspIsSpace) {
			i++
		}
		lx.pos = i
		return
	}
	stop := !isLetter(lx.delim[0]) && !isDigit(lx.delim[0])
	for lx.pos < len(lx.src) && isNameByte(lx.src[lx.pos]) && !(stop && lx.atDelim()) {
		lx.pos++
	}
}

// number consumes a numeric literal, or a MySQL name that begins with digits.
func (lx *lexer) number() tokenKind {
	start := lx.pos
	lx.digits()
	whole := lx.pos > start
	fraction := lx.byteAt(lx.pos) == '.'
	if fraction {
		lx.pos++
		lx.digits()
	}
	if c := lx.byteAt(lx.pos); c == 'e' || c == 'E' {
		i := lx.pos + 1
		if s := lx.byteAt(i); s == '+' || s == '-' {
			i++
		}
		if isDigit(lx.byteAt(i)) {
			lx.pos = i
			lx.digits()
			return tokNumber
		}
	}
	if fraction || !whole || !isNameByte(lx.byteAt(lx.pos)) {
		return tokNumber
	}
	c := lx.byteAt(lx.pos) | 0x20
	lx.nameBytes()
	if lx.src[start] == '0' && (c == 'x' || c == 'b') {
		return tokNumber
	}
	return tokWord
}

func (lx *lexer) digits() {
	for isDigit(lx.byteAt(lx.pos)) || lx.byteAt(lx.pos) == '_' && lx.dialect == SQLite && isDigit(lx.byteAt(lx.pos+1)) {
		lx.pos++
	}
}

// param consumes ? in both dialects and ?NNN, :name, @name, #name and $name in SQLite, where a name may hold :: and end
// with a suffix in parentheses, of any bytes but white space.
func (lx *lexer) param(c byte) tokenKind {
	start := lx.pos
	lx.pos++
	if lx.dialect != SQLite {
		return tokParam
	}
	if c == '?' {
		lx.digits()
		return tokParam
	}
	lx.nameBytes()
	named := lx.pos > start+1
	for strings.HasPrefix(lx.src[lx.pos:], "::") {
		lx.pos += 2
		part := lx.pos
		lx.nameBytes()
		named = named || lx.pos > part
	}
	if named && lx.byteAt(lx.pos) == '(' {
		if n := strings.IndexAny(lx.src[lx.pos:], ") \t\r\n\v\f\x00"); n > 0 && lx.src[lx.pos+n] == ')' {
			lx.pos += n + 1
		}
	}
	if lx.pos == start+1 {
		return tokOp
	}
	return tokParam
}

// variable consumes @name, @'name', @@name and @@scope.name of MySQL.
func (lx *lexer) variable(t token) token {
	t.kind = tokVar
	lx.pos++
	if lx.byteAt(lx.pos) == '@' {
		t.kind = tokSysVar
		lx.pos++
	}
	switch c := lx.byteAt(lx.pos); c {
	case '\'', '"', '`':
		q := lx.quoted(token{start: lx.pos}, c)
		if q.kind == tokBad {
			return q
		}
	default:
		for isNameByte(lx.byteAt(lx.pos)) || lx.byteAt(lx.pos) == '.' {
			if lx.atDelim() || lx.byteAt(lx.pos) == nbsp && lx.nbspIsSpace {
				break
			}
			lx.pos++
		}
	}
	t.end = lx.pos
	return t
}

// quoted consumes a string or a quoted name that opens with c.
func (lx *lexer) quoted(t token, c byte) token {
	closing, what := c, "quoted name"
	t.kind = tokIdent
	switch {
	case c == '[':
		closing = ']'
	case c == '\'' || (c == '"' && lx.dialect == MySQL && !lx.ansiQuotes):
		t.kind, what = tokString, "string"
	}
	escapes := t.kind == tokString && lx.dialect == MySQL && !(c == '\'' && lx.plainSingle || c == '"' && lx.plainDouble)
	for i := lx.pos + 1; i < len(lx.src); i++ {
		switch b := lx.src[i]; {
		case b == '\\' && escapes:
			i++
		case b == closing && c != '[' && lx.byteAt(i+1) == closing:
			i++
		case b == closing:
			lx.pos = i + 1
			t.end = lx.pos
			return t
		}
	}
	return lx.bad(t.start, what)
}

// skipSpace skips white space and comments and steps in and out of executable
// comments. When a comment never ends it returns its offset and "comment".
func (lx *lexer) skipSpace() (at int, what string) {
	for lx.pos < len(lx.src) {
		c := lx.src[lx.pos]
		if nameByte[c] && lx.delim == "" && c < 0x80 {
			return 0, ""
		}
		switch {
		case c == nbsp && lx.nbspIsSpace:
			lx.pos++
		case c == bom[0] && lx.dialect == SQLite && strings.HasPrefix(lx.src[lx.pos:], bom):
			lx.pos += len(bom)
		case c == ' ' || (c >= '\t' && c <= '\r'):
			lx.pos++
		case lx.atDelim():
			return 0, ""
		case c == '#' && lx.dialect == MySQL, c == '-' && lx.atDashComment():
			if n := strings.IndexByte(lx.src[lx.pos:], '\n'); n >= 0 {
				lx.pos += n + 1
			} else {
				lx.pos = len(lx.src)
			}
		case c == '/' && lx.byteAt(lx.pos+1) == '*':
			start := lx.pos
			if !lx.comment() {
				return start, "comment"
			}
		case c == '*' && lx.execDepth > 0 && lx.byteAt(lx.pos+1) == '/':
			lx.pos += 2
			lx.execDepth--
			lx.execEnd = lx.pos
		default:
			return 0, ""
		}
	}
	return 0, ""
}

// atDashComment reports whether a comment of the -- kind begins at pos. MySQL
// wants white space or a control character after it, so that 5--1 is 6.
func (lx *lexer) atDashComment() bool {
	if lx.byteAt(lx.pos+1) != '-' {
		return false
	}
	c := lx.byteAt(lx.pos + 2)
	return lx.dialect == SQLite || c <= ' ' || c == 0x7f || c == nbsp && lx.nbspIsSpace
}

// comment skips the block comment at pos, or enters it when it is executable.
// It reports whether the comment ends.
func (lx *lexer) comment() bool {
	start, nested := lx.pos, false
	body := lx.src[lx.pos+2:]
	if lx.dialect == MySQL && (strings.HasPrefix(body, "!") || strings.HasPrefix(body, "M!")) {
		lx.execs++
		if !lx.skipExec {
			lx.enterExec(start)
			return true
		}
		nested = true // a skipped one may hold ordinary comments
	}
	lx.pos += 2
	for depth := 1; depth > 0; {
		n := strings.IndexByte(lx.src[lx.pos:], '*')
		if n < 0 {
			return false
		}
		i := lx.pos + n
		lx.pos = i + 1
		switch {
		case lx.byteAt(i+1) == '/':
			depth--
			lx.pos = i + 2
		case nested && depth == 1 && i > start+1 && lx.src[i-1] == '/':
			depth++
		}
	}
	return true
}

// enterExec steps past /*!NNNNNN or /*M!NNNNNN.
func (lx *lexer) enterExec(start int) {
	if lx.execDepth == 0 {
		lx.execStart = start
	}
	lx.execDepth++
	lx.pos += len("/*!")
	if lx.src[lx.pos-1] == 'M' {
		lx.pos++
	}
	n := 0
	for n < 6 && isDigit(lx.byteAt(lx.pos+n)) {
		n++
	}
	if n >= 5 { // fewer digits are no version but code
		lx.pos += n
	}
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

func isNameByte(c byte) bool { return nameByte[c] }

// nameByte marks the bytes that an unquoted name consists of.
var nameByte = func() (table [256]bool) {
	for i := range table {
		c := byte(i)
		table[i] = isLetter(c) || isDigit(c) || c == '_' || c == '$' || c >= 0x80
	}
	return table
}()

// foldBuf holds a word in upper case. Longer words are no keywords.
type foldBuf [32]byte

// fold writes word in upper case into buf and returns the part in use, which
// is empty when the word is too long. Indexing a map or switching on
// string(fold(...)) does not allocate.
func fold(buf *foldBuf, word string) []byte {
	if len(word) > len(buf) {
		return buf[:0]
	}
	for i := 0; i < len(word); i++ {
		c := word[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(word)]
}

// isWord reports whether t is the unquoted word, which is in upper case.
func (lx *lexer) isWord(t token, word string) bool {
	if t.kind != tokWord || t.end-t.start != len(word) {
		return false
	}
	for i := 0; i < len(word); i++ {
		c := lx.src[t.start+i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
