package sqlclass

// Insert is what the text of an INSERT or REPLACE of SQLite tells.
type Insert struct {
	Database, Table string // Database is "" where the text names none
	Returning       string // the list behind RETURNING, "" where there is none
	End             int    // offset behind that list in the text
	// Repeatable: a SELECT with the list yields for a row what RETURNING yields. It is not so with parameters,
	// subqueries, and functions that ask for the connection's last change.
	Repeatable bool
}

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
