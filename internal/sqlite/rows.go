package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/ddb-project/ddb/dialect"
)

// How much of a result is read before its rows are given out.
const (
	rowsAhead  = 64
	bytesAhead = 1 << 20
)

// eachRow calls emit for every row of a query of so many columns. The values are good until emit
// returns. On a connection with compiled statements emit may run others of them.
func eachRow(ctx context.Context, q dialect.Querier, width int, query string, emit func(v []any) error, args ...any) error {
	if k, ok := q.(*quickConn); ok {
		return k.eachRow(ctx, width, query, emit, args)
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for s := newScanner(width); rows.Next(); {
		if err := s.scan(rows); err != nil {
			return err
		}
		if err := emit(s.values); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (k *quickConn) eachRow(ctx context.Context, width int, query string, emit func(v []any) error, args []any) (err error) {
	s, err := k.statement(ctx, query)
	if err != nil {
		return err
	}
	if !s.take(args) {
		return fmt.Errorf("arguments %T of a query of ddb's own", args)
	}
	r := rowReader{s: s, one: make([]sqldriver.Value, width), ahead: k.ahead[:0]}
	k.ahead = nil // emit may read others
	defer func() {
		err = errors.Join(err, r.close())
		clear(r.ahead)
		k.ahead = r.ahead
	}()
	for !r.over {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.ahead = r.ahead[:0]
		if err := s.conn.Raw(func(any) error { return r.read(ctx) }); err != nil {
			return err
		}
		for v := r.ahead; len(v) > 0; v = v[width:] {
			if err := emit(v[:width:width]); err != nil {
				return err
			}
		}
	}
	return nil
}

// first is the function of that name for a query of one column.
func (k *quickConn) first(ctx context.Context, to any, query string) error {
	err := sql.ErrNoRows
	read := k.eachRow(ctx, 1, query, func(v []any) error {
		if err != nil {
			err = convert(to, v[0])
		}
		return nil
	}, nil)
	return cmp.Or(read, err)
}

// convert sets a variable as a scan does.
func convert(to, v any) error {
	switch to := to.(type) {
	case *sql.NullInt64:
		return to.Scan(v)
	case *string:
		var s sql.NullString
		err := s.Scan(v)
		*to = s.String
		return err
	}
	return fmt.Errorf("a value of type %T", to)
}

// rowReader reads the rows of one execution, a few at a time: while the driver's connection is at hand
// nothing else can be run on it.
type rowReader struct {
	s     *compiled
	rows  sqldriver.Rows
	one   []sqldriver.Value
	ahead []any // the values of rows read
	over  bool
}

func (r *rowReader) read(ctx context.Context) (err error) {
	if r.rows == nil {
		if r.rows, err = r.s.stmt.QueryContext(ctx, r.s.args); err != nil {
			return err
		}
		clear(r.s.args)
	}
	for n, size := 0, 0; n < rowsAhead && size < bytesAhead; n++ {
		switch err := r.rows.Next(r.one); {
		case err == io.EOF:
			r.over = true
			return nil
		case err != nil:
			return err
		}
		for _, v := range r.one {
			switch b := v.(type) {
			case []byte:
				if b == nil {
					v = []byte{} // see values.go
				}
				size += len(b)
			case string:
				size += len(b)
			}
			r.ahead = append(r.ahead, v)
		}
	}
	return nil
}

func (r *rowReader) close() error {
	if r.rows == nil {
		return nil
	}
	return r.s.conn.Raw(func(any) error { return r.rows.Close() })
}

// keySet is a set of keys of a table whose keys are the same row exactly if they are equal in Go.
type keySet struct {
	numbers map[int64]struct{} // keys of one integer
	others  map[string]struct{}
	text    []byte
}

// add reports whether the key is new to the set.
func (s *keySet) add(key []any) bool {
	if len(key) == 1 {
		if n, ok := key[0].(int64); ok {
			if _, known := s.numbers[n]; known {
				return false
			}
			if s.numbers == nil {
				s.numbers = make(map[int64]struct{}, rowsAhead)
			}
			s.numbers[n] = struct{}{}
			return true
		}
	}
	s.text = s.text[:0]
	for _, v := range key {
		s.text = appendKey(s.text, v)
	}
	if _, known := s.others[string(s.text)]; known {
		return false
	}
	if s.others == nil {
		s.others = make(map[string]struct{}, rowsAhead)
	}
	s.others[string(s.text)] = struct{}{}
	return true
}

// appendKey appends a value so that different values, one after another, make different texts.
func appendKey(b []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
	case string:
		return append(binary.AppendUvarint(append(b, 's'), uint64(len(v))), v...)
	case []byte:
		return append(binary.AppendUvarint(append(b, 'b'), uint64(len(v))), v...)
	}
	return append(b, 'n')
}
