package sqlclass

import (
	"slices"
	"strings"
)

// Insert is what the text of an INSERT or REPLACE of SQLite tells.
type Insert struct {
	Database, Table string // Database is "" where the text names none
	Returning       string // the list behind RETURNING, "" where there is none
	End             int    // offset behind that list in the text
	// Repeatable: a SELECT with the list yields for a row what RETURNING yields. It is not so with parameters,
	// subqueries, and functions that ask for the connection's last change.
	Repeatable bool
}

// Main reports whether the table may be one of the database main.
func (in Insert) Main() bool { return in.Database == "" || strings.EqualFold(in.Database, "main") }

// Inserts returns the INSERT and REPLACE statements in an SQLite text, in their order, and whether the text has other
// statements beside the first one. Offsets count from the beginning of the text. ok is false if the text cannot be read with certainty.
func Inserts(text string) (list []Insert, several, ok bool) {
	lx := newLexer(SQLite, text)
	for statements := 0; ; {
		p, more, err := nextPiece(&lx)
		if err != nil {
			return nil, true, false
		}
		if p.end > p.start {
			if statements++; statements > 1 {
				several = true
			}
			in, is, ok := parseInsert(text[p.start:p.end])
			if !ok {
				return nil, true, false
			}
			if in.Returning != "" {
				in.End += p.start
			}
			if is {
				list = append(list, in)
			}
		}
		if !more {
			return list, several, true
		}
	}
}

// HasInsert reports whether an SQLite text has an INSERT or REPLACE, or cannot be read with certainty.
func HasInsert(text string) bool {
	if strings.Contains(text, ";") {
		list, _, ok := Inserts(text)
		return len(list) > 0 || !ok
	}
	lx := newLexer(SQLite, text)
	t, _ := destroyVerb(&lx)
	return lx.isWord(t, "INSERT") || lx.isWord(t, "REPLACE")
}

// parseInsert reads one statement. is tells whether it is an INSERT or REPLACE.
func parseInsert(sql string) (in Insert, is, ok bool) {
	lx := newLexer(SQLite, sql)
	t, _ := destroyVerb(&lx)
	if !lx.isWord(t, "INSERT") && !lx.isWord(t, "REPLACE") {
		return in, false, true
	}
	if t = lx.next(); lx.isWord(t, "OR") {
		lx.next()
		t = lx.next()
	}
	if !lx.isWord(t, "INTO") {
		return in, true, false
	}
	in.Table = unquote(lx.text(lx.next()))
	if lx.peek().is('.') {
		lx.next()
		in.Database, in.Table = in.Table, unquote(lx.text(lx.next()))
	}
	if !lx.findTopWord("RETURNING") {
		return in, true, true
	}
	in.Repeatable = true
	from := -1
	for t = lx.next(); t.kind != tokEOF; t = lx.next() {
		if t.kind == tokBad || lx.isWord(t, "RETURNING") {
			return in, true, false
		}
		if from < 0 {
			from = t.start
		}
		in.End = t.end
		if t.kind == tokParam || lx.isWord(t, "SELECT") || lx.isWord(t, "LAST_INSERT_ROWID") || lx.isWord(t, "CHANGES") || lx.isWord(t, "TOTAL_CHANGES") {
			in.Repeatable = false
		}
	}
	if from < 0 {
		return in, true, false
	}
	in.Returning = sql[from:in.End]
	return in, true, true
}

// Trigger is what the text of a trigger of SQLite tells.
type Trigger struct {
	After bool     // it fires AFTER, not BEFORE or INSTEAD OF
	Verb  string   // "INSERT", "UPDATE" or "DELETE"; "" if the text cannot be read
	Key   bool     // it looks at the key of the new row, by NEW and the name of the column or one of the names of the rowid
	Last  bool     // it asks for last_insert_rowid()
	Told  []string // the tables that it inserts into before it asks
}

// ParseTrigger reads the text of a trigger. column is the one that is the table's key.
func ParseTrigger(create, column string) (tr Trigger) {
	lx := newLexer(SQLite, create)
	t := lx.next()
	for t.kind != tokEOF && t.kind != tokBad && !lx.isWord(t, "TRIGGER") {
		t = lx.next()
	}
	if t = lx.next(); lx.isWord(t, "IF") && lx.isWord(lx.peek(), "NOT") {
		lx.next()
		lx.next() // EXISTS
		lx.next()
	}
	if lx.peek().is('.') {
		lx.next()
		lx.next()
	}
	for t = lx.next(); t.kind != tokEOF && t.kind != tokBad && !lx.isWord(t, "ON"); t = lx.next() {
		tr.After = tr.After || lx.isWord(t, "AFTER")
		for _, verb := range [...]string{"INSERT", "UPDATE", "DELETE"} {
			if tr.Verb == "" && lx.isWord(t, verb) {
				tr.Verb = verb
			}
		}
	}
	tr.body(&lx, column)
	return tr
}

// body reads the rest of the text.
func (tr *Trigger) body(lx *lexer, column string) {
	var before, prev token
	var into []string
	done := 0 // how many of into belong to statements that have ended
	for t := lx.next(); t.kind != tokEOF && t.kind != tokBad; t = lx.next() {
		name := unquote(lx.text(t))
		switch {
		case lx.isWord(t, "LAST_INSERT_ROWID"):
			tr.Last, tr.Told = true, slices.Clone(into[:done])
		case prev.is('.') && strings.EqualFold(unquote(lx.text(before)), "NEW"):
			for _, key := range [...]string{column, "rowid", "oid", "_rowid_"} {
				tr.Key = tr.Key || strings.EqualFold(name, key)
			}
		case lx.isWord(prev, "INTO"):
			into = append(into, name)
		case t.is(';'):
			done = len(into)
		}
		before, prev = prev, t
	}
}
