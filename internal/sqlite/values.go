package sqlite

import (
	"context"
	"database/sql"
	"math"
	"strings"
)

// What the driver (v1.60) does to values, and what ddb does about it:
//
//   - Text in a column declared DATE, DATETIME or TIMESTAMP is parsed into a
//     time.Time where it can be, which loses its form. Only the declared type of a
//     result column triggers that, and an expression has none: ddb reads +"column",
//     which is the same value with the same storage class.
//   - An empty BLOB is read as []byte(nil). As an any it is still no nil, so it can be
//     told from NULL; ddb makes it []byte{}, because binding []byte(nil) stores NULL.
//   - Text may hold NUL bytes and invalid UTF-8 both ways.

// scanner reads rows of n columns.
type scanner struct {
	values []any
	to     []any
}

func newScanner(n int) *scanner {
	s := &scanner{values: make([]any, n), to: make([]any, n)}
	for i := range s.values {
		s.to[i] = &s.values[i]
	}
	return s
}

// scan reads a row; the values are good until the next.
func (s *scanner) scan(rows *sql.Rows) error {
	if err := rows.Scan(s.to...); err != nil {
		return err
	}
	for i, v := range s.values {
		if b, ok := v.([]byte); ok && b == nil {
			s.values[i] = []byte{}
		}
	}
	return nil
}

// normalize makes keys that SQLite takes for equal numbers equal in Go.
func normalize(key []any) {
	for i, v := range key {
		// The bounds are exact: math.MaxInt64 is no float64.
		if f, ok := v.(float64); ok && f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
			key[i] = int64(f)
		}
	}
}

// preparer is what *sql.DB, *sql.Conn and *sql.Tx have beyond dialect.Querier.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// repeat returns one n times, with commas between.
func repeat(one string, n int) string {
	return strings.TrimSuffix(strings.Repeat(one+", ", n), ", ")
}

// read lists the stored columns of the row t so that the driver leaves them alone.
func (tb *table) read(row string) string {
	parts := make([]string, len(tb.Stored))
	for i, s := range tb.Stored {
		parts[i] = "+" + row + "." + quote(s)
	}
	return strings.Join(parts, ", ")
}
