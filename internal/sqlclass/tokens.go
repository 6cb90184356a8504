package sqlclass

import "strings"

// TokenKind says what a [Token] is.
type TokenKind uint8

// The kinds of tokens.
const (
	Word   TokenKind = iota // an unquoted name or keyword
	Quoted                  // a quoted name
	String                  // a string literal
	Number                  // a numeric literal
	Param                   // a placeholder
	Var                     // a user variable of MySQL, with its @
	SysVar                  // a system variable of MySQL, with its @@
	Op                      // any other byte, and :=
)

// Token is a piece of a statement.
type Token struct {
	Kind TokenKind
	Text string // a Quoted or a String without its quotes, backslashes kept; a Word in upper case; others as they stand
	Exec bool   // it stands in an executable comment of MySQL
}

// Reading is one of the ways in which servers of MySQL's kind read a text. The zero Reading is that of the default sql_mode.
type Reading struct {
	ANSIQuotes  bool // double quotes delimit names
	NoBackslash bool // a backslash escapes nothing
	SkipExec    bool // what stands in executable comments is skipped
	NBSPIsSpace bool // the byte A0 is white space, as in latin1
}

// Tokens cuts a text as the reading has it. whole is false if a string, a name or a comment in it never ends, or a NUL byte
// ends it; the tokens are those before. execs counts the executable comments.
func Tokens(d Dialect, sql string, r Reading) (list []Token, execs int, whole bool) {
	lx := newLexer(d, sql)
	lx.reading = reading{plainSingle: r.NoBackslash, plainDouble: r.NoBackslash, skipExec: r.SkipExec, nbspIsSpace: r.NBSPIsSpace}
	lx.ansiQuotes = r.ANSIQuotes
	for {
		t := lx.next()
		switch t.kind {
		case tokEOF:
			return list, lx.execs, true
		case tokBad:
			return list, lx.execs, false
		}
		list = append(list, Token{Kind: exported[t.kind], Text: lx.plain(t), Exec: t.exec})
	}
}

var exported = map[tokenKind]TokenKind{tokWord: Word, tokIdent: Quoted, tokString: String, tokNumber: Number, tokParam: Param,
	tokVar: Var, tokSysVar: SysVar, tokOp: Op, tokDelim: Op}

func (lx *lexer) plain(t token) string {
	text := lx.text(t)
	switch t.kind {
	case tokWord:
		return strings.ToUpper(text)
	case tokIdent, tokString:
		return unquote(text)
	}
	return text
}
