package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"

	"github.com/ddb-project/ddb/internal/fault"
)

// streamedRows gives the rows of a node's *sql.Rows to database/sql.
type streamedRows struct {
	rows    *sql.Rows
	columns []string
	types   []*sql.ColumnType
	values  []any           // of the current row
	into    []any           // pointers to values
	after   func() error    // called when the rows are closed; may be nil
	ctx     context.Context // of a query that may be killed; may be nil
	limit   answerLimit

	asked bool // whether there is another result set, to which rows have gone on then
	more  bool // there is, or its error is
}

func streamRows(rows *sql.Rows, err error) (driver.Rows, error) {
	if err != nil {
		return nil, err
	}
	s := &streamedRows{rows: rows}
	if err := s.describe(); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	return s, nil
}

func (s *streamedRows) describe() (err error) {
	if s.columns, err = s.rows.Columns(); err != nil {
		return err
	}
	if s.types, err = s.rows.ColumnTypes(); err != nil {
		return err
	}
	// Scan knows *any but not *driver.Value, into which it stores no NULL.
	s.values, s.into = make([]any, len(s.columns)), make([]any, len(s.columns))
	for i := range s.values {
		s.into[i] = &s.values[i]
	}
	return nil
}

func (s *streamedRows) Columns() []string { return s.columns }

func (s *streamedRows) Close() error {
	err := s.rows.Close()
	if after := s.after; after != nil {
		s.after = nil
		return errors.Join(err, after())
	}
	return err
}

func (s *streamedRows) Next(dest []driver.Value) error {
	if s.asked {
		return io.EOF
	}
	if !s.rows.Next() {
		if err := s.rows.Err(); err != nil {
			if s.ctx != nil {
				err = ended(s.ctx, err)
			}
			return fault.Ours(s.limit.explain(err))
		}
		return io.EOF
	}
	if err := s.rows.Scan(s.into...); err != nil {
		return fault.Ours(s.limit.explain(err))
	}
	for i, v := range s.values {
		dest[i] = v
	}
	err := s.limit.check(s.values)
	if err != nil {
		s.limit.end() // or the driver of a server would read all rows that are left when they are closed
	}
	return err
}

// HasNextResultSet is asked at the end of a result set: rows that have no other are closed then, whether their reader does
// so or not. *sql.Rows tells only by going on.
func (s *streamedRows) HasNextResultSet() bool {
	if !s.asked {
		s.asked, s.more = true, s.rows.NextResultSet() || s.rows.Err() != nil
	}
	return s.more
}

func (s *streamedRows) NextResultSet() error {
	more := s.HasNextResultSet()
	s.asked = false
	if err := s.rows.Err(); err != nil {
		return err
	}
	if !more {
		return io.EOF
	}
	return s.describe()
}

func (s *streamedRows) ColumnTypeDatabaseTypeName(i int) string { return s.types[i].DatabaseTypeName() }
func (s *streamedRows) ColumnTypeLength(i int) (int64, bool)    { return s.types[i].Length() }
func (s *streamedRows) ColumnTypeNullable(i int) (bool, bool)   { return s.types[i].Nullable() }
func (s *streamedRows) ColumnTypeScanType(i int) reflect.Type   { return s.types[i].ScanType() }
func (s *streamedRows) ColumnTypePrecisionScale(i int) (int64, int64, bool) {
	return s.types[i].DecimalSize()
}

// noRows are those of a statement that returns none.
type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// bufferedRows are rows in memory.
type bufferedRows struct {
	*streamedRows
	list [][]driver.Value
}

// bufferRows reads all rows and closes them.
func bufferRows(rows *sql.Rows) (*bufferedRows, error) {
	s, err := streamRows(rows, nil)
	if err != nil {
		return nil, err
	}
	b := &bufferedRows{streamedRows: s.(*streamedRows)}
	for {
		row := make([]driver.Value, len(b.columns))
		if err := b.streamedRows.Next(row); err == io.EOF {
			return b, rows.Close()
		} else if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		b.list = append(b.list, row)
	}
}

func (b *bufferedRows) Close() error           { return nil }
func (b *bufferedRows) HasNextResultSet() bool { return false }
func (b *bufferedRows) NextResultSet() error   { return io.EOF }
func (b *bufferedRows) Next(dest []driver.Value) error {
	if len(b.list) == 0 {
		return io.EOF
	}
	copy(dest, b.list[0])
	b.list = b.list[1:]
	return nil
}

// oneRow is a result of one number.
type oneRow struct {
	name  string
	value int64
	done  bool
}

func (r *oneRow) Columns() []string { return []string{r.name} }
func (r *oneRow) Close() error      { return nil }

func (r *oneRow) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done, dest[0] = true, r.value
	return nil
}
