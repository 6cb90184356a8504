package console

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// statementReader cuts a file of SQL into statements while it is read, so that only one (or a
// line of several) is in memory.
type statementReader struct {
	class sqlclass.Dialect
	r     *bufio.Reader
	max   int   // bytes of one statement
	read  int64 // bytes so far
	line  int64 // number of the last line read

	buf   []byte // what has been read of the next statement
	delim string // "" for ;
	queue []sqlclass.Statement
	ended bool

	// The lexical state behind buf: a quote that is open, '-' in a comment to the
	// end of the line, '*' in a comment, 0 outside.
	state     byte
	escaped   bool
	prev, pre byte // the last two bytes outside of quotes
	fresh     int  // bytes since a comment began, to see whether it is an executable one
}

func newStatementReader(d sqlclass.Dialect, r io.Reader, limit int) *statementReader {
	return &statementReader{class: d, r: bufio.NewReaderSize(r, 256<<10), max: limit}
}

// sandbox begins the line with which newer versions of mariadb-dump tell the client to run no commands of its own.
var sandbox = []byte(`/*M!999999\-`)

// next returns the next statement, or io.EOF.
func (s *statementReader) next() (sqlclass.Statement, error) {
	for len(s.queue) == 0 {
		if s.ended {
			return sqlclass.Statement{}, io.EOF
		}
		if err := s.fill(); err != nil {
			return sqlclass.Statement{}, err
		}
	}
	st := s.queue[0]
	s.queue = s.queue[1:]
	return st, nil
}

// fill reads one line.
func (s *statementReader) fill() error {
	start, before := len(s.buf), s.state
	for {
		piece, err := s.r.ReadSlice('\n')
		s.read += int64(len(piece))
		if len(s.buf)+len(piece) > s.max {
			return fmt.Errorf("line %d: a statement has more than %d bytes, the limit of an import", s.line+1, s.max)
		}
		s.buf = append(s.buf, piece...)
		s.feed(piece)
		if err == bufio.ErrBufferFull {
			continue
		}
		s.line++
		if err == io.EOF {
			s.ended = true
			return s.finish()
		}
		if err != nil {
			return err
		}
		break
	}
	line := s.buf[start:]
	if before == 0 && bytes.HasPrefix(line, sandbox) {
		s.buf, s.state = s.buf[:start], 0
		return nil
	}
	if before == 0 && s.class == sqlclass.MySQL && len(bytes.TrimSpace(s.buf[:start])) == 0 && s.command(line) {
		s.buf, s.state = s.buf[:0], 0
		return nil
	}
	if s.state == 0 {
		return s.cut()
	}
	return nil
}

// command follows the command DELIMITER of the client.
func (s *statementReader) command(line []byte) bool {
	words := strings.Fields(string(line[:min(len(line), 100)]))
	if len(words) != 2 || !strings.EqualFold(words[0], "DELIMITER") {
		return false
	}
	if s.delim = words[1]; s.delim == ";" {
		s.delim = ""
	}
	return true
}

// probe is a statement that is seen as one of its own only if what stands before it is complete.
const probe = "\n;SELECT 1"

// cut takes the statements out of buf if the last of them is complete.
func (s *statementReader) cut() error {
	text := bytes.TrimSpace(s.buf)
	if s.delim != "" {
		if body, ok := bytes.CutSuffix(text, []byte(s.delim)); ok {
			s.add(string(bytes.TrimSpace(body)))
		}
		return nil
	}
	if !bytes.HasSuffix(text, []byte(";")) {
		if len(s.buf) > 0 && len(text) == 0 {
			s.buf = s.buf[:0]
		}
		return nil
	}
	list, err := sqlclass.Split(s.class, string(text)+probe)
	if err != nil || len(list) == 0 || list[len(list)-1].SQL != probe[2:] {
		return nil // in the body of a trigger, for one
	}
	s.queue = append(s.queue, list[:len(list)-1]...)
	s.buf = s.buf[:0]
	return nil
}

func (s *statementReader) add(text string) {
	if text != "" {
		s.queue = append(s.queue, sqlclass.Statement{SQL: text, Kind: sqlclass.Classify(s.class, text)})
	}
	s.buf = s.buf[:0]
}

// finish takes what stands at the end of the file, with or without a semicolon.
func (s *statementReader) finish() error {
	list, err := sqlclass.Split(s.class, string(s.buf))
	if err != nil {
		return fmt.Errorf("line %d: the file ends within a statement: %w", s.line, err)
	}
	s.queue, s.buf = append(s.queue, list...), nil
	return nil
}

// feed follows quotes and comments.
func (s *statementReader) feed(piece []byte) {
	mysql := s.class == sqlclass.MySQL
	for _, b := range piece {
		switch {
		case s.escaped:
			s.escaped = false
			continue
		case s.state == 0:
			s.outside(b, mysql)
		case s.state == '-':
			if b == '\n' {
				s.leave()
			}
		case s.state == '*':
			s.fresh++
			if mysql && b == '!' && (s.fresh == 1 || s.fresh == 2 && s.prev == 'M') {
				s.leave() // what an executable comment holds is code
			} else if b == '/' && s.prev == '*' && s.fresh > 1 {
				s.leave()
				continue
			}
			s.prev = b
		case b == '\\' && mysql && s.state != '`':
			s.escaped = true
		case b == s.state:
			s.leave()
		}
	}
}

func (s *statementReader) leave() { s.state, s.prev, s.pre = 0, 0, 0 }

func (s *statementReader) outside(b byte, mysql bool) {
	switch {
	case b == '\'' || b == '"' || b == '`':
		s.state = b
	case b == '[' && !mysql:
		s.state = ']'
	case b == '#' && mysql:
		s.state = '-'
	case b == '-' && s.prev == '-' && !mysql:
		s.state = '-'
	case b <= ' ' && s.prev == '-' && s.pre == '-' && mysql:
		if b != '\n' {
			s.state = '-'
		}
	case b == '*' && s.prev == '/':
		s.state, s.fresh, b = '*', 0, 0
	}
	s.pre, s.prev = s.prev, b
}
