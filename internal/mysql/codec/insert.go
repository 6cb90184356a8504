package codec

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
)

// Insert gathers tuples for an INSERT and sends it when it is big enough.
type Insert struct {
	ctx        context.Context
	q          dialect.Querier
	limit      int // bytes
	head, tail string
	buf        []byte
	rows       int
}

// NewInsert returns a statement that begins with head, such as INSERT INTO t (a, b) VALUES, and ends with tail. It is
// sent on q before it has more than limit bytes.
func NewInsert(ctx context.Context, q dialect.Querier, limit int, head, tail string) *Insert {
	return &Insert{ctx: ctx, q: q, limit: limit, head: head, tail: tail}
}

// Full reports whether a tuple of that many bytes would make the statement too big.
func (s *Insert) Full(width int) bool { return s.rows > 0 && len(s.buf)+width > s.limit }

// Row begins a tuple: append its values to what it returns and pass that to End.
func (s *Insert) Row() []byte {
	if s.rows == 0 {
		s.buf = append(s.buf[:0], s.head...)
	} else {
		s.buf = append(s.buf, ',')
	}
	return append(s.buf, '(')
}

// End ends the tuple that Row has begun.
func (s *Insert) End(b []byte) {
	s.buf = append(b, ')')
	s.rows++
}

// Next sends the statement if little more would fit.
func (s *Insert) Next() error {
	if len(s.buf) < s.limit*3/4 {
		return nil
	}
	return s.Flush()
}

// Flush sends the tuples that there are, if any.
func (s *Insert) Flush() error {
	if s.rows == 0 {
		return nil
	}
	s.rows = 0
	_, err := s.q.ExecContext(s.ctx, string(append(s.buf, s.tail...)))
	return err
}

// AppendTuple appends the values without parentheses.
func AppendTuple(b []byte, columns []Column, values []any) []byte {
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.AppendLiteral(b, values[i])
	}
	return b
}
