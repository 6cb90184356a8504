package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/memory"
	"github.com/ddb-project/ddb/internal/remote"
)

// maxGrowth is how many bytes the process may grow beside Go's memory, and twice that in it, while a statement of limited
// answers runs there.
const maxGrowth = 128 << 20

func init() { remote.RegisterError("memory.grown", memory.ErrGrown) }

type maxBytesKey struct{}

// WithMaxBytes returns a context under which no row of an answer has more than n bytes, nor the statement takes much more to make it.
func WithMaxBytes(ctx context.Context, n int64) context.Context {
	return context.WithValue(ctx, maxBytesKey{}, n)
}

func maxBytesOf(ctx context.Context) int64 {
	n, _ := ctx.Value(maxBytesKey{}).(int64)
	return n
}

// answerLimit is what holds for one statement. The zero value limits nothing.
type answerLimit struct {
	max  int64
	ctx  context.Context
	stop func()
	// fault says what the errors of a database mean that makes no values beyond the limit; nil for others
	fault func(error) dialect.Fault
}

// limitAnswer begins what WithMaxBytes asks for; the statement runs under the context that it returns.
func (g *Gate) limitAnswer(ctx context.Context) (context.Context, answerLimit) {
	n := maxBytesOf(ctx)
	if n <= 0 {
		return ctx, answerLimit{}
	}
	l := answerLimit{max: n}
	l.ctx, l.stop = memory.Watch(ctx, maxGrowth)
	if _, ok := g.dialect.(dialect.ValueLimiter); ok {
		l.fault = g.fault
	}
	return l.ctx, l
}

// end is for a statement without rows, or whose rows have been closed.
func (l answerLimit) end() {
	if l.stop != nil {
		l.stop()
	}
}

// rows hands the limit on to the rows of an answer, if there are any.
func (l answerLimit) rows(rows driver.Rows, err error) (driver.Rows, error) {
	if l.max == 0 {
		return rows, err
	}
	s, streamed := rows.(*streamedRows)
	if err != nil || !streamed {
		err = l.explain(err)
		l.end()
		return rows, err
	}
	after := s.after
	s.limit = l
	s.after = func() error {
		defer l.end()
		if after == nil {
			return nil
		}
		return after()
	}
	return s, nil
}

// explain recognises what has come of the limit.
func (l answerLimit) explain(err error) error {
	switch {
	case err == nil || l.max == 0 || errors.Is(err, fault.ErrTooLarge):
		return err
	case errors.Is(context.Cause(l.ctx), memory.ErrGrown), errors.Is(err, memory.ErrGrown):
		return fmt.Errorf("%w: the statement was ended, for %w; ask for less at once", fault.ErrTooLarge, memory.ErrGrown)
	case l.fault != nil && l.fault(err).Is(dialect.TooLarge), errors.Is(err, remote.ErrTooLarge):
		return fmt.Errorf("%w: rows of at most %d bytes are allowed, and wide ones only shorter values; ask for fewer columns or a part of the value: %w", fault.ErrTooLarge, l.max, err)
	}
	return err
}

// check refuses a row that is too large.
func (l answerLimit) check(values []any) error {
	if l.max == 0 {
		return nil
	}
	size := int64(0)
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			size += int64(len(v))
		case string:
			size += int64(len(v))
		}
	}
	if size > l.max {
		return fmt.Errorf("%w: a row has %d bytes, and %d are allowed; ask for fewer columns or a part of the value", fault.ErrTooLarge, size, l.max)
	}
	return nil
}

// guards reports whether a read takes a connection of its own to be ended or limited there.
func (g *Gate) guards(ctx context.Context) bool { return g.kills(ctx, nil) || maxBytesOf(ctx) > 0 }

// guardOn is killOn for a read on a connection of a pool of this process, with the limits of its values.
func (g *Gate) guardOn(ctx context.Context, db *sql.DB, conn *sql.Conn, query string) (release func() (killed bool), err error) {
	killed, err := g.killOn(ctx, db, conn)
	n := maxBytesOf(ctx)
	limiter, ok := g.dialect.(dialect.ValueLimiter)
	if err != nil || n <= 0 || !ok {
		return killed, err
	}
	restore := limiter.LimitValues(conn, query, n)
	return func() bool { restore(); return killed() }, nil
}
