package mysql

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
)

// insert gathers tuples for an INSERT and sends it when it is big enough.
type insert struct {
	ctx        context.Context
	q          dialect.Querier
	limit      int // bytes
	head, tail string
	buf        []byte
	rows       int
}

func newInsert(ctx context.Context, q dialect.Querier, limit int, head, tail string) *insert {
	return &insert{ctx: ctx, q: q, limit: limit, head: head, tail: tail}
}

// full reports whether a tuple of that many bytes would make the statement too big.
func (s *insert) full(width int) bool { return s.rows > 0 && len(s.buf)+width > s.limit }

// row begins a tuple: append its values to what it returns and pass that to end.
func (s *insert) row() []byte {
	if s.rows == 0 {
		s.buf = append(s.buf[:0], s.head...)
	} else {
		s.buf = append(s.buf, ',')
	}
	return append(s.buf, '(')
}

// end ends the tuple that row has begun.
func (s *insert) end(b []byte) {
	s.buf = append(b, ')')
	s.rows++
}

// next sends the statement if little more would fit.
func (s *insert) next() error {
	if len(s.buf) < s.limit*3/4 {
		return nil
	}
	return s.flush()
}

// flush sends the tuples that there are, if any.
func (s *insert) flush() error {
	if s.rows == 0 {
		return nil
	}
	s.rows = 0
	_, err := s.q.ExecContext(s.ctx, string(append(s.buf, s.tail...)))
	return err
}

// appendTuple appends the values without parentheses.
func appendTuple(b []byte, columns []column, values []any) []byte {
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendLiteral(b, values[i])
	}
	return b
}
