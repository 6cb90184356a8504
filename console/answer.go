package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/memory"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Limits of answers beside Options.MaxBytes.
const (
	smallAnswer  = 1 << 20          // bytes that an answer, and each row of it, may have beside any number of others
	largeAnswers = 2                // answers beyond it that are in the making at once
	largeWait    = 10 * time.Second // for one of these places
	pieceBytes   = 64 << 10         // of a large answer that are sent at once
)

// result is what one statement gave.
type result struct {
	Columns      []column
	rows         []byte // the rows as JSON, with commas between, but those that are sent already
	count        int
	truncated    bool
	RowsAffected int64
	LastInsertID int64
	Node         string
	LSN          ddb.LSN
	Elapsed      time.Duration
}

// appendFields writes the fields of the result without the braces.
func (r *result) appendFields(b []byte) []byte {
	b = append(b, `"rows":[`...)
	b = append(b, r.rows...)
	return r.appendRest(b)
}

// appendRest writes what follows the rows: a column without a type gets its from them.
func (r *result) appendRest(b []byte) []byte {
	columns, err := json.Marshal(r.Columns)
	if err != nil || r.Columns == nil {
		columns = []byte("[]")
	}
	b = append(b, `],"columns":`...)
	b = append(b, columns...)
	b = append(b, `,"rowsAffected":`...)
	b = strconv.AppendInt(b, r.RowsAffected, 10)
	b = append(b, `,"lastInsertId":`...)
	b = strconv.AppendInt(b, r.LastInsertID, 10)
	b = append(b, `,"node":`...)
	b = appendText(b, r.Node)
	b = append(b, `,"lsn":`...)
	b = strconv.AppendUint(b, uint64(r.LSN), 10)
	b = append(b, `,"elapsedMs":`...)
	b = strconv.AppendFloat(b, float64(r.Elapsed.Microseconds())/1000, 'f', 3, 64)
	if r.truncated {
		b = append(b, `,"truncated":true`...)
	}
	return b
}

func appendAll(b []byte, list []*result) []byte {
	for i, r := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = r.appendFields(b)
		b = append(b, '}')
	}
	return b
}

func (r *result) appendRow(values []any, d sqlclass.Dialect) {
	if r.count > 0 {
		r.rows = append(r.rows, ',')
	}
	r.count++
	r.rows = append(r.rows, '[')
	for i, v := range values {
		if i > 0 {
			r.rows = append(r.rows, ',')
		}
		r.Columns[i].learn(v)
		r.rows = r.Columns[i].appendValue(r.rows, v, d)
	}
	r.rows = append(r.rows, ']')
}

// newScript prepares the run of a request's statements. The caller releases it when the answer is sent.
func (h *Handler) newScript(w http.ResponseWriter, r *http.Request) *script {
	return &script{h: h, caller: callerOf(r), maxRows: h.opts.MaxRows,
		out: &lateWriter{w: w, control: http.NewResponseController(w), patience: h.patience.piece,
			begin: func() { w.Header().Set("Content-Type", "application/json") }}}
}

// enlarge waits for a place for a large answer.
func (s *script) enlarge(ctx context.Context) error {
	if s.large {
		return nil
	}
	patience := time.NewTimer(largeWait)
	defer patience.Stop()
	select {
	case s.h.large <- struct{}{}:
		s.large = true
		return nil
	case <-patience.C:
		return fmt.Errorf("%w: %d answers of more than %d bytes are in the making", errTooMany, largeAnswers, smallAnswer)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *script) release() {
	if s.large {
		<-s.h.large
		s.large = false
	}
}

// errLarge: a probe has found that the answer is a large one.
var errLarge = errors.New("console: a large answer")

// query reads the rows as JSON, up to the limits. Nobody can tell before whether an answer of SQLite is large, so it is tried
// as a small one first. A server makes it in its own memory, and the types of the columns tell how large a row can be.
func (s *script) query(ctx context.Context, st sqlclass.Statement, res *result) error {
	if st.Kind != sqlclass.Read || s.large || s.h.class != sqlclass.SQLite {
		return s.rows(ctx, st, res, false)
	}
	before := s.bytes
	err := s.rows(ctx, st, res, true)
	if !errors.Is(err, errLarge) && !errors.Is(err, ddb.ErrTooLarge) || errors.Is(err, memory.ErrGrown) {
		return err
	}
	if err := s.enlarge(ctx); err != nil {
		return err
	}
	*res, s.bytes = result{}, before
	return s.rows(ctx, st, res, false)
}

// rows runs a query. A probe ends where the answer is found to be large.
func (s *script) rows(ctx context.Context, st sqlclass.Statement, res *result, probe bool) (err error) {
	row := s.h.opts.MaxBytes
	if probe {
		row = min(row, smallAnswer)
	}
	ctx, cancel := context.WithCancel(ddb.WithMaxBytes(ctx, row))
	defer cancel()
	rows, err := s.session().QueryContext(ddb.WithAnswer(ctx, &res.Node), st.SQL, s.args...)
	if err != nil {
		return err
	}
	whole := false
	defer func() {
		if whole || !s.alone { // what follows needs the session
			err = errors.Join(err, rows.Close())
			return
		}
		cancel() // or the driver of a server would read all that is left
		rows.Close()
	}()
	if res.Node != "" {
		res.Node = s.h.realID(res.Node)
	}
	if res.Columns, err = describe(rows); err != nil {
		return err
	}
	if slices.ContainsFunc(res.Columns, func(c column) bool { return long[c.Type] }) && s.h.class != sqlclass.SQLite {
		if err := s.enlarge(ctx); err != nil {
			return err
		}
	}
	values := make([]any, len(res.Columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if res.count >= s.maxRows || s.bytes >= s.h.opts.MaxBytes {
			res.truncated = true
			return nil
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		size := len(res.rows)
		res.appendRow(values, s.h.class)
		s.bytes += int64(len(res.rows) - size)
		if err := s.grown(ctx, res, probe); err != nil {
			return err
		}
	}
	whole = true
	return rows.Err()
}

// long are the types of a server whose values may be larger than a small answer.
var long = map[string]bool{"LONGTEXT": true, "LONGBLOB": true, "MEDIUMTEXT": true, "MEDIUMBLOB": true, "JSON": true}

// grown does what a row more in the answer asks for.
func (s *script) grown(ctx context.Context, res *result, probe bool) error {
	if s.bytes > smallAnswer {
		if probe {
			return errLarge
		}
		if err := s.enlarge(ctx); err != nil {
			return err
		}
	}
	if s.large && s.alone && len(res.rows) > pieceBytes {
		return s.send(res)
	}
	return nil
}

// send writes the rows that there are to the client.
func (s *script) send(res *result) error {
	if !s.out.begun {
		if _, err := s.out.Write([]byte(`{"rows":[`)); err != nil {
			return err
		}
	}
	_, err := s.out.Write(res.rows)
	if res.rows = res.rows[:0]; cap(res.rows) > 2*pieceBytes {
		res.rows = nil // a large row has made it that large
	}
	return err
}

// reply ends the answer of a success: the last statement's result, and all of them if there are several.
func (s *script) reply() {
	last := s.results[len(s.results)-1]
	for i, t := range s.types {
		last.Columns[i].Type = t
	}
	var b []byte
	if s.out.begun {
		b = last.appendRest(append(b, last.rows...))
	} else {
		b = last.appendFields(append(b, '{'))
	}
	if len(s.results) > 1 {
		_, _ = s.out.Write(append(b, `,"results":[`...)) // a client that has gone is nobody's error
		for i, r := range s.results {
			b = append(b[:0], '{')
			if i > 0 {
				b = append(b[:0], ",{"...)
			}
			_, _ = s.out.Write(append(r.appendFields(b), '}'))
		}
		b = append(b[:0], ']')
	}
	_, _ = s.out.Write(append(b, '}'))
}

// breakOff cuts the connection if a part of the answer is sent already, so that the client sees that it is not whole.
func (s *script) breakOff(err error) {
	if s.out.begun {
		s.h.opts.Logger.Debug("an answer has broken off", "error", err)
		panic(http.ErrAbortHandler)
	}
}
