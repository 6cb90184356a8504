package sqlite

import "strings"

// token is a piece of SQL text; spaces and comments are left out.
type token struct {
	kind  byte   // 'w' word, 'q' quoted name, 's' string, 'n' number, or the character itself
	text  string // as written
	start int    // offset in the text
	end   int
}

// is reports whether the token is the keyword.
func (t token) is(keyword string) bool { return t.kind == 'w' && strings.EqualFold(t.text, keyword) }

// tokens splits SQL text as SQLite's tokenizer does, as far as ddb needs to
// find keywords outside of strings, names and comments.
func tokens(s string) []token {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		j := i + 1
		kind := c
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i = j
			continue
		case c == '-' && strings.HasPrefix(s[i:], "--"):
			for j < len(s) && s[j] != '\n' {
				j++
			}
			i = j
			continue
		case c == '/' && strings.HasPrefix(s[i:], "/*"):
			if k := strings.Index(s[i+2:], "*/"); k >= 0 {
				i += k + 4
			} else {
				i = len(s)
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			for j < len(s) {
				if s[j] == c {
					if j+1 >= len(s) || s[j+1] != c {
						break
					}
					j++
				}
				j++
			}
			j = min(j+1, len(s))
			kind = 'q'
			if c == '\'' {
				kind = 's'
			}
		case c == '[':
			if k := strings.IndexByte(s[i:], ']'); k >= 0 {
				j = i + k + 1
			} else {
				j = len(s)
			}
			kind = 'q'
		case wordByte(c):
			for j < len(s) && wordByte(s[j]) {
				j++
			}
			kind = 'w'
			if c >= '0' && c <= '9' {
				kind = 'n'
			}
			if j < len(s) && s[j] == '\'' && j == i+1 && (c == 'x' || c == 'X') { // a blob
				if k := strings.IndexByte(s[j+1:], '\''); k >= 0 {
					j += k + 2
				}
				kind = 's'
			}
		}
		out = append(out, token{kind: kind, text: s[i:j], start: i, end: j})
		i = j
	}
	return out
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// name returns the name that a token stands for.
func (t token) name() string {
	if t.kind != 'q' {
		return t.text
	}
	if t.text[0] == '[' {
		return t.text[1 : len(t.text)-1]
	}
	q := t.text[:1]
	return strings.ReplaceAll(t.text[1:len(t.text)-1], q+q, q)
}

// indexParts returns the texts of an index's terms, without COLLATE, ASC and DESC,
// and of its WHERE clause. It reports false for a text that it does not understand.
func indexParts(create string) (terms []string, where string, ok bool) {
	list := tokens(create)
	i := 0
	for i < len(list) && list[i].kind != '(' {
		i++
	}
	if i == len(list) {
		return nil, "", false
	}
	depth, from := 0, i+1
	for ; i < len(list); i++ {
		switch list[i].kind {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth > 1 || (depth == 1 && list[i].kind != ',') {
			continue
		}
		if from >= i {
			return nil, "", false
		}
		terms = append(terms, term(create, list[from:i]))
		from = i + 1
		if depth == 0 {
			break
		}
	}
	if i+1 < len(list) {
		if !list[i+1].is("WHERE") || i+2 >= len(list) {
			return nil, "", false
		}
		where = create[list[i+2].start:]
	}
	return terms, where, depth == 0
}

// term cuts the sort order and the collation off an index's term.
func term(create string, list []token) string {
	end := len(list)
	if list[end-1].is("ASC") || list[end-1].is("DESC") {
		end--
	}
	if end > 2 && list[end-2].is("COLLATE") {
		end -= 2
	}
	return create[list[0].start:list[end-1].end]
}

// The guard is written so that it can be cut out again to the byte, also after
// SQLite has rewritten the trigger for an ALTER TABLE ... RENAME.
const (
	guardTest  = `NOT EXISTS (SELECT 1 FROM "_ddb_flag")`
	guardOnly  = `WHEN ` + guardTest + ` /* ddb guard */ `
	guardOpen  = ` ` + guardTest + ` /* ddb guard begin */ AND (`
	guardClose = `/* ddb guard end */ ) `
)

// guard adds to a trigger the condition that ddb is not applying.
func guard(create string) (string, bool) {
	list := tokens(create)
	depth, when := 0, -1
	for i, t := range list {
		switch {
		case t.kind == '(':
			depth++
		case t.kind == ')':
			depth--
		case depth == 0 && t.is("WHEN") && when < 0 && !caseBefore(list[:i]):
			when = i
		case depth == 0 && t.is("BEGIN") && i > 2 && !list[i-1].is("TRIGGER") && !list[i-1].is("ON") && !list[i-1].is("OF") && list[i-1].kind != '.':
			if when < 0 {
				return create[:t.start] + guardOnly + create[t.start:], true
			}
			w := list[when].end
			return create[:w] + guardOpen + create[w:t.start] + guardClose + create[t.start:], true
		}
	}
	return create, false
}

// caseBefore reports whether a WHEN behind these tokens belongs to a CASE.
func caseBefore(list []token) bool {
	for _, t := range list {
		if t.is("CASE") {
			return true
		}
	}
	return false
}

// unguard undoes guard.
func unguard(create string) string {
	create = strings.Replace(create, guardOnly, "", 1)
	create = strings.Replace(create, guardOpen, "", 1)
	return strings.Replace(create, guardClose, "", 1)
}

// isGuarded reports whether guard has been at a trigger.
func isGuarded(create string) bool { return strings.Contains(create, "/* ddb guard ") }
