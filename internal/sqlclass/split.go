package sqlclass

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that [Split] and [ParseSchema] return, wrapped in an [*Error].
var (
	// ErrUnterminated means that a string, a quoted name or a comment never ends.
	ErrUnterminated = errors.New("not terminated")
	// ErrNUL means that a NUL byte stands outside of strings, where SQLite would
	// stop reading.
	ErrNUL = errors.New("not allowed in a statement")
	// ErrDelimiter means that a DELIMITER command has no usable argument.
	ErrDelimiter = errors.New("DELIMITER needs an argument without a backslash")
	// ErrNotSchema means that a statement does not change the schema.
	ErrNotSchema = errors.New("not a schema statement")
)

// Error says where in the text something is wrong.
type Error struct {
	Offset int    // in bytes from the beginning of the text
	What   string // what stands there
	Err    error  // one of the errors of this package
}

// Error implements the error interface. It quotes nothing from the statement,
// which may hold secrets.
func (e *Error) Error() string {
	return fmt.Sprintf("sqlclass: %s at byte %d: %v", e.What, e.Offset, e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Statement is one statement of a longer text.
type Statement struct {
	SQL    string // without the delimiter and without comments around it
	Kind   Kind
	Offset int // of SQL in the text, in bytes
	// Destructive says that the statement discards data, or whole objects, with
	// no condition: DROP, TRUNCATE, CREATE OR REPLACE of what holds rows, ALTER
	// that drops a column or a partition, DELETE and UPDATE without WHERE.
	Destructive bool
}

// Split cuts a script into statements at top-level semicolons, and in MySQL
// also follows the DELIMITER command of the mysql client. Empty statements are
// left out. The error is an [*Error] that wraps [ErrUnterminated],
// [ErrNUL] or [ErrDelimiter].
func Split(d Dialect, sql string) ([]Statement, error) {
	lx := newLexer(d, sql)
	var list []Statement
	for {
		p, more, err := nextPiece(&lx)
		if err != nil {
			return nil, err
		}
		if p.end > p.start {
			text := sql[p.start:p.end]
			list = append(list, Statement{
				SQL:         text,
				Kind:        Classify(d, text),
				Offset:      p.start,
				Destructive: destructive(d, text),
			})
		}
		if !more {
			return list, nil
		}
	}
}

// Unread returns an [*Error] if a database would run some of a text whose end this package does not know, so that kinds and
// states say nothing of it: SQLite takes a comment that never ends for one that does, and a NUL byte for the end of the text, and
// every database runs the statements before one that it cannot read.
func Unread(d Dialect, sql string) error {
	for lx := newLexer(d, sql); ; {
		switch t := lx.next(); t.kind {
		case tokEOF:
			return nil
		case tokBad:
			ends := d == SQLite && (lx.badWhat == badNUL || lx.badWhat == "comment")
			if ends || strings.IndexByte(sql, ';') >= 0 {
				return lx.failure()
			}
			return nil // nothing of it is run
		}
	}
}

// piece is the range of one statement.
type piece struct{ start, end int }

// nextPiece consumes one statement and its delimiter. more is false at the end
// of the text.
func nextPiece(lx *lexer) (p piece, more bool, err error) {
	ends := ender{dialect: lx.dialect}
	for {
		execEnd := lx.execEnd
		t := lx.next()
		if t.kind == tokBad {
			return p, false, lx.failure()
		}
		// An executable comment that closes between two tokens belongs to the first.
		if ends.tokens > 0 && lx.execEnd > execEnd {
			p.end = lx.execEnd
		}
		if t.kind == tokEOF {
			return p, false, nil
		}
		if t.kind == tokDelim {
			return p, true, nil
		}
		if ends.tokens == 0 && !t.exec && lx.dialect == MySQL && lx.isWord(t, "DELIMITER") {
			return p, true, lx.setDelimiter(t)
		}
		if ends.tokens == 0 && t.is(';') && !t.exec && lx.delim != "" {
			continue
		}
		// A semicolon in an executable comment never ends a piece: both would be broken.
		if ends.step(lx, t) && lx.delim == "" && !t.exec {
			return p, true, nil
		}
		if ends.tokens == 1 {
			if p.start = t.start; t.exec {
				p.start = lx.execStart
			}
		}
		p.end = t.end
	}
}

// failure returns the error of the tokBad that next returned.
func (lx *lexer) failure() *Error {
	err := ErrUnterminated
	if lx.badWhat == badNUL {
		err = ErrNUL
	}
	return &Error{Offset: lx.badAt, What: lx.badWhat, Err: err}
}

// setDelimiter consumes the rest of a DELIMITER line.
func (lx *lexer) setDelimiter(command token) error {
	line := lx.src[lx.pos:]
	if n := strings.IndexByte(line, '\n'); n >= 0 {
		line = line[:n]
	}
	lx.pos += len(line)
	arg := strings.Fields(line)
	if len(arg) == 0 || strings.ContainsAny(arg[0], "\\\x00") {
		return &Error{Offset: command.start, What: "command", Err: ErrDelimiter}
	}
	lx.delim = arg[0]
	if lx.delim == ";" {
		lx.delim = ""
	}
	return nil
}

// destructive reports whether any statement in sql discards data with no
// condition.
func destructive(d Dialect, sql string) bool {
	lx := newLexer(d, sql)
	for {
		p, more, err := nextPiece(&lx)
		if err != nil {
			return false
		}
		if p.end > p.start && destroys(d, sql[p.start:p.end]) {
			return true
		}
		if !more {
			return false
		}
	}
}
