package remote

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/ddb-project/ddb/internal/wire"
)

// rows reads a query's answer as its chunks arrive.
type rows struct {
	conn    *conn
	ctx     context.Context // of the query, ends the rows too
	columns []column
	started bool // a first chunk has come
	names   []string
	in      reader // the rest of the current chunk
	left    int    // rows in it
	endSet  bool   // the chunk is the last of its result set
	done    bool   // the chunk is the last of the answer
	err     error
}

var (
	_ driver.RowsNextResultSet              = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
	_ driver.RowsColumnTypeLength           = (*rows)(nil)
	_ driver.RowsColumnTypePrecisionScale   = (*rows)(nil)
)

// fetch waits for the next chunk and makes it the current one.
func (r *rows) fetch() error {
	m, err := r.conn.receive(r.ctx, kindQuery)
	if err != nil {
		return r.fail(err)
	}
	if r.ctx.Err() != nil && m.kind == kindChunk {
		r.stop(m, cancelGrace, false)
		return r.fail(r.ctx.Err())
	}
	var c chunk
	if err := r.conn.parse(r.ctx, kindQuery, m, kindChunk, &c); err != nil {
		r.finish()
		return r.fail(err)
	}
	if err := r.check(&c); err != nil {
		return r.fail(r.conn.lost(r.ctx, kindQuery, err))
	}
	r.conn.onToken(c.Token)
	r.started = true
	if c.NewSet {
		r.columns, r.names = c.Columns, nil
	}
	r.in, r.left, r.endSet, r.done = reader{buf: c.Rows}, c.NumRows, c.EndSet, c.Done
	if c.Done {
		r.finish()
	}
	return nil
}

func (r *rows) check(c *chunk) error {
	switch {
	case c.Seq != r.conn.seq:
		return errOutOfStep
	case c.NewSet != (!r.started || r.endSet):
		return fmt.Errorf("%w: result sets out of order", wire.ErrCorrupt)
	case c.NumRows < 0 || c.NumRows > len(c.Rows) || c.Done && !c.EndSet || len(c.Columns) > maxColumns: // each row takes a byte at least
		return fmt.Errorf("%w: a chunk of %d rows in %d bytes", wire.ErrCorrupt, c.NumRows, len(c.Rows))
	}
	return nil
}

// finish marks the answer as read, so that the connection can be used again.
func (r *rows) finish() {
	r.done = true
	if r.conn.rows == r {
		r.conn.rows = nil
	}
}

func (r *rows) fail(err error) error {
	r.err, r.left = err, 0
	return err
}

// Columns returns the names of the current result set's columns.
func (r *rows) Columns() []string {
	if r.names == nil {
		r.names = make([]string, len(r.columns))
		for i, c := range r.columns {
			r.names[i] = c.Name
		}
	}
	return r.names
}

// Next fills dest with the next row, waiting for it if need be until the
// query's context ends.
func (r *rows) Next(dest []driver.Value) error {
	for r.left == 0 {
		if r.err != nil {
			return r.err
		}
		if r.endSet {
			return io.EOF
		}
		if err := r.fetch(); err != nil {
			return err
		}
	}
	r.left--
	for i := range dest {
		dest[i] = r.in.value()
	}
	if r.in.err != nil {
		return r.fail(r.conn.lost(r.ctx, kindQuery, r.in.err))
	}
	return nil
}

// HasNextResultSet is asked at the end of a result set.
func (r *rows) HasNextResultSet() bool { return r.err == nil && !r.done }

// NextResultSet goes on to the next result set, skipping what is left of this.
func (r *rows) NextResultSet() error {
	for r.err == nil && !r.endSet {
		if err := r.fetch(); err != nil {
			return err
		}
	}
	switch {
	case r.err != nil:
		return r.err
	case r.done:
		return io.EOF
	}
	return r.fetch()
}

// Close stops the query and makes the connection ready for the next request.
// If the server does not stop in time, the connection is dropped instead.
func (r *rows) Close() error {
	r.left = 0
	if r.conn.rows != r {
		return nil
	}
	hard := r.ctx.Err() != nil
	grace := drainGrace
	switch {
	case hard:
		grace = cancelGrace
	case r.conn.inTx:
		grace = drainGraceTx
	}
	r.stop(message{}, grace, !hard)
	return nil
}

// stop cancels the query and drops the chunks that were under way, starting
// with m, until the answer ends. It gives the connection up after grace.
func (r *rows) stop(m message, grace time.Duration, soft bool) {
	if err := r.conn.sendCancel(soft); err != nil {
		r.conn.fail(err)
		return
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for {
		switch m.kind {
		case kindChunk:
			var c chunk
			if err := decode(m.payload, &c); err != nil {
				r.conn.fail(err)
				return
			}
			if r.conn.onToken(c.Token); c.Done {
				r.finish()
				return
			}
		case kindError:
			r.conn.parse(context.Background(), kindQuery, m, kindDone, nil) // drops a lost session
			r.finish()
			return
		}
		select {
		case m = <-r.conn.messages:
		case <-r.conn.gone:
			r.conn.fail(r.conn.readErr)
			return
		case <-timer.C:
			r.conn.fail(errors.New("the server did not stop the query in time"))
			return
		}
	}
}

// ColumnTypeDatabaseTypeName is the name that the server's driver gives.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string { return r.columns[i].Type }

// ColumnTypeNullable is what the server's driver knows.
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.columns[i].Nullable, r.columns[i].HasNull
}

// ColumnTypeLength is what the server's driver knows.
func (r *rows) ColumnTypeLength(i int) (length int64, ok bool) {
	return r.columns[i].Length, r.columns[i].HasLength
}

// ColumnTypePrecisionScale is what the server's driver knows.
func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return r.columns[i].Precision, r.columns[i].Scale, r.columns[i].HasSize
}

// ColumnTypeScanType is the type that the server's driver suggests, or any.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if t, ok := scanTypes[r.columns[i].Scan]; ok {
		return t
	}
	return reflect.TypeFor[any]()
}

// scanTypes are the types that drivers suggest for scanning, by name.
var scanTypes = typesByName(
	reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[int](), reflect.TypeFor[uint](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](),
	reflect.TypeFor[sql.RawBytes](), reflect.TypeFor[sql.NullBool](), reflect.TypeFor[sql.NullByte](),
	reflect.TypeFor[sql.NullInt16](), reflect.TypeFor[sql.NullInt32](), reflect.TypeFor[sql.NullInt64](),
	reflect.TypeFor[sql.NullFloat64](), reflect.TypeFor[sql.NullString](), reflect.TypeFor[sql.NullTime](),
	reflect.TypeFor[sql.Null[uint64]](), reflect.TypeFor[any](), reflect.TypeFor[*any](),
)

func typesByName(types ...reflect.Type) map[string]reflect.Type {
	byName := make(map[string]reflect.Type, len(types))
	for _, t := range types {
		byName[fmt.Sprint(t)] = t
	}
	return byName
}
