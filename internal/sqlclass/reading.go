package sqlclass

import "strings"

// reading is one of the ways in which a MySQL text can be read. The zero value is that of the default sql_mode on a
// server that runs every executable comment.
type reading struct {
	plainSingle bool // a backslash in '...' is a character
	plainDouble bool // so is one in "..."
	skipExec    bool // executable comments are comments
	nbspIsSpace bool // a byte that is nbsp is white space, as in latin1
}

// readings lists those other than the default that differ in what the text holds. Backslashes escape in strings, which
// '...' always is, and "..." unless ANSI_QUOTES makes it a name; under NO_BACKSLASH_ESCAPES they escape nowhere.
func readings(sql string) []reading {
	which := 0
	if strings.IndexByte(sql, '\\') >= 0 {
		which |= 1
	}
	if hasExecutable(sql) {
		which |= 2
	}
	if strings.IndexByte(sql, nbsp) >= 0 {
		which |= 4
	}
	return otherReadings[which]
}

// nbsp is a space in latin1 and its kin, and half of a letter in UTF-8.
const nbsp = 0xA0

// otherReadings lists the readings of a text with backslashes (1), executable comments (2) and bytes that are nbsp (4).
var otherReadings = func() (sets [8][]reading) {
	for which := range sets {
		list := []reading{{}}
		if which&1 != 0 {
			list = append(list, reading{plainSingle: true, plainDouble: true}, reading{plainDouble: true})
		}
		if which&2 != 0 {
			for _, r := range list {
				r.skipExec = true
				list = append(list, r)
			}
		}
		if which&4 != 0 {
			for _, r := range list {
				r.nbspIsSpace = true
				list = append(list, r)
			}
		}
		sets[which] = list[1:]
	}
	return sets
}()

func hasExecutable(sql string) bool {
	return strings.Contains(sql, "/*!") || strings.Contains(sql, "/*M!")
}

// in returns a lexer for the text in another reading.
func (r reading) in(sql string) lexer {
	lx := newLexer(MySQL, sql)
	lx.reading = r
	return lx
}

// alwaysRead reports whether a MySQL text that is a Read in the default reading is nothing else in any other.
func alwaysRead(sql string) bool {
	others := readings(sql)
	if len(others) == 0 {
		return true
	}
	if hasExecutable(sql) && !oneVersion(sql) {
		return false
	}
	for _, r := range others {
		lx := r.in(sql)
		if classify(&lx) != Read && !r.harmless(sql) {
			return false
		}
	}
	return true
}

// harmless reports whether a server that reads the text so runs nothing: it is empty, or one statement with a literal or
// comment that never ends, which is an error of syntax.
func (r reading) harmless(sql string) bool {
	lx := r.in(sql)
	for first := true; ; first = false {
		switch t := lx.next(); {
		case t.kind == tokEOF:
			return first
		case t.kind == tokBad:
			return lx.badWhat != badNUL
		case t.is(';') || t.kind == tokDelim:
			return false
		}
	}
}

// oneVersion reports whether the executable comments of a text are all run or all not, whatever the server: they name
// the same version. Servers disagree whether the sixth digit is part of it, too.
func oneVersion(sql string) bool {
	head := ""
	for {
		at := strings.Index(sql, "/*")
		if at < 0 {
			return true
		}
		sql = sql[at+2:]
		h := strings.TrimPrefix(sql, "M")
		if !strings.HasPrefix(h, "!") {
			continue
		}
		n := 1
		for n < len(h) && isDigit(h[n]) {
			n++
		}
		if n > 6 && n < len(h) && isNameByte(h[n]) {
			return false
		}
		h = sql[:len(sql)-len(h)+n]
		if head != "" && h != head {
			return false
		}
		head = h
	}
}
