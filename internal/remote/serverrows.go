package remote

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"time"
)

// answerQuery runs a query and sends its rows as they come. A send waits while
// the client does not read, so no more than a chunk is held.
func (s *session) answerQuery(ctx context.Context, j *job) error {
	rows, err := s.query(j)
	if err != nil {
		return s.sendError(ctx, j, err)
	}
	defer rows.Close()
	a := &rowSender{session: s, job: j, rows: rows}
	if err := a.sendSets(); err != nil {
		if a.broken {
			return err
		}
		rows.Close() // before the answer, since the next request may follow it
		return s.sendError(ctx, j, err)
	}
	rows.Close()
	a.chunk.EndSet, a.chunk.Done = true, true
	return a.flush()
}

// rowSender packs rows into chunks.
type rowSender struct {
	session *session
	job     *job
	rows    *sql.Rows
	chunk   chunk
	began   time.Time // when the chunk's first row came
	broken  bool      // the error is one of the stream
}

// sendSets sends all but the last chunk.
func (a *rowSender) sendSets() error {
	for {
		if err := a.startSet(); err != nil {
			return err
		}
		stopped, err := a.sendRows()
		if err != nil || stopped {
			return err
		}
		if !a.rows.NextResultSet() {
			return a.rows.Err()
		}
		a.chunk.EndSet = true
		if err := a.flush(); err != nil {
			return err
		}
	}
}

func (a *rowSender) startSet() error {
	types, err := a.rows.ColumnTypes()
	if err != nil {
		return err
	}
	if len(types) > maxColumns {
		return fmt.Errorf("result of %d columns: %w", len(types), ErrTooLarge)
	}
	a.chunk.NewSet = true
	a.chunk.Columns = make([]column, len(types))
	for i, t := range types {
		a.chunk.Columns[i] = newColumn(t)
	}
	return nil
}

func newColumn(t *sql.ColumnType) column {
	c := column{Name: t.Name(), Type: t.DatabaseTypeName()}
	if scan := t.ScanType(); scan != nil && scan != reflect.TypeFor[any]() {
		c.Scan = scan.String()
	}
	c.Nullable, c.HasNull = t.Nullable()
	c.Length, c.HasLength = t.Length()
	c.Precision, c.Scale, c.HasSize = t.DecimalSize()
	return c
}

// sendRows sends the rows of one result set, and reports whether the client
// stopped it.
func (a *rowSender) sendRows() (stopped bool, err error) {
	values := make([]any, len(a.chunk.Columns))
	dest := make([]any, len(values))
	for i := range dest {
		dest[i] = &values[i]
	}
	for a.rows.Next() {
		select {
		case <-a.job.soft:
			return true, nil
		default:
		}
		if err := a.rows.Scan(dest...); err != nil {
			return false, err
		}
		if err := a.add(values); err != nil {
			return false, err
		}
	}
	return false, a.rows.Err()
}

func (a *rowSender) add(values []any) (err error) {
	if a.chunk.NumRows == 0 {
		a.began = time.Now()
	}
	before := len(a.chunk.Rows)
	for _, v := range values {
		if a.chunk.Rows, err = appendValue(a.chunk.Rows, v); err != nil {
			return err
		}
	}
	limit := maxFrame - frameReserve - chunkBytes
	if most := a.job.Header.MaxBytes; most > 0 {
		limit = int(min(int64(limit), most+frameReserve)) // the reader counts the values alone
	}
	if size := len(a.chunk.Rows) - before; size > limit {
		a.chunk.Rows = nil
		return fmt.Errorf("row of %d bytes, limit %d: %w", size, limit, ErrTooLarge)
	}
	a.chunk.NumRows++
	if len(a.chunk.Rows) >= chunkBytes || time.Since(a.began) > chunkAge {
		return a.flush()
	}
	return nil
}

// flush sends the chunk and starts the next, in the same memory unless a large
// row has made it unusually big.
func (a *rowSender) flush() error {
	a.chunk.Seq, a.chunk.Token = a.job.Seq, a.session.token()
	if err := a.session.send(kindChunk, &a.chunk); err != nil {
		a.broken = true
		return err
	}
	buf := a.chunk.Rows[:0]
	if cap(buf) > 4*chunkBytes {
		buf = nil
	}
	a.chunk = chunk{Rows: buf}
	return nil
}
