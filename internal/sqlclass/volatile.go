package sqlclass

import "strings"

// volatile reports whether the word t between its neighbours names a value
// that differs between two runs. date says that it does so only if the string
// 'now' occurs too, as with SQLite's date functions. lx stands behind next.
func (lx *lexer) volatile(prev, t, next token) (always, date bool) {
	var buf foldBuf
	word := fold(&buf, lx.text(t))
	if nondeterministicWords[string(word)] {
		return !lx.definesName(prev), false
	}
	if !next.is('(') || lx.definesName(prev) {
		return lx.dialect == MySQL && string(word) == "NEXT" && lx.isWord(next, "VALUE"), false
	}
	if nondeterministicCalls[lx.dialect][string(word)] {
		return true, false
	}
	if lx.dialect != SQLite || !sqliteDateCalls[string(word)] {
		return false, false
	}
	if lx.peek().is(')') && string(word) != "STRFTIME" {
		return true, false
	}
	return false, true
}

// definesName reports whether a word behind prev is the name of a table, an
// index or the like, whatever it says: KEY uuid (uuid).
func (lx *lexer) definesName(prev token) bool {
	if prev.kind != tokWord {
		return false
	}
	var buf foldBuf
	switch string(fold(&buf, lx.text(prev))) {
	case "KEY", "INDEX", "UNIQUE", "TABLE", "EXISTS", "ON", "REFERENCES", "INTO", "CONSTRAINT", "FUNCTION", "PROCEDURE",
		"FULLTEXT", "SPATIAL", "JOIN", "CALL":
		return true
	}
	return false
}

// inner returns text without its quotes. Doubled quotes stay doubled, which
// no name does that this package looks for.
func inner(text string) string {
	if len(text) >= 2 && (text[0] == '"' || text[0] == '`' || text[0] == '\'' || text[0] == '[') {
		return text[1 : len(text)-1]
	}
	return text
}

// unquote returns the content of a quoted name or string, and anything else as
// it is. Backslashes are kept.
func unquote(text string) string {
	in := inner(text)
	if len(in) == len(text) || text[0] == '[' || strings.IndexByte(in, text[0]) < 0 {
		return in
	}
	quote := text[:1]
	return strings.ReplaceAll(in, quote+quote, quote)
}
