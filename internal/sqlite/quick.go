package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// quickMost is how many compiled statements a connection keeps.
const quickMost = 256

// Quick returns a Querier on the same connection that keeps what it runs compiled: the
// statements of a pass and of an apply are always the same few, and compiling them costs more than
// running them. A Querier that is no connection got from Conn is returned as it is.
func (e *engine) Quick(q dialect.Querier) dialect.Querier {
	c, ok := q.(*sql.Conn)
	if !ok {
		return q
	}
	if k := e.quickOf(c); k != nil {
		return k
	}
	return q
}

func (e *engine) quickOf(c *sql.Conn) *quickConn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quick[c]
}

// quickConn is a connection with its compiled statements. SQLite compiles them again
// by itself when the schema has changed. Like the connection it serves one goroutine at a time.
type quickConn struct {
	*sql.Conn
	stmts    map[string]*sql.Stmt // those whose rows the caller reads
	compiled map[string]*compiled // all others

	texts map[collectKey]string

	notedOf, notedText string             // the outboxes that the last Noted looked at, and its query
	noted              map[int64][2]int64 // by outbox: the notes that it saw, for one Collect in the same transaction

	open  bool            // a transaction that Begin has begun runs
	whole map[int64]int64 // by outbox: how many notes there were in all when they were collected in it
	ahead []any           // of eachRow, emptied

	ends map[endsKey]string // the queries of Ends

	number int64 // tells it from others
}

// quickConns numbers them.
var quickConns atomic.Int64

func newQuickConn(c *sql.Conn) *quickConn {
	return &quickConn{Conn: c, stmts: make(map[string]*sql.Stmt), compiled: make(map[string]*compiled),
		texts: make(map[collectKey]string), noted: make(map[int64][2]int64), whole: make(map[int64]int64), ends: make(map[endsKey]string), number: quickConns.Add(1)}
}

// collectKey names a text of collectSQL.
type collectKey struct {
	tb     *table
	id     int64 // of the outbox
	images bool
	form   form
}

// form tells apart the texts that ask for the notes of a table.
type form int

const (
	byKey     form = iota // collectSQL
	everyNote             // notesSQL
	allKeys               // keysSQL
)

// collectText is collectSQL, which takes longer to write than to run.
func collectText(q dialect.Querier, tb *table, id int64, images bool) string {
	k, ok := q.(*quickConn)
	if !ok {
		return tb.collectSQL(id, images)
	}
	return k.text(collectKey{tb: tb, id: id, images: images}, func() string { return tb.collectSQL(id, images) })
}

// text returns the text of that name, which is written if it is not known yet.
func (k *quickConn) text(key collectKey, write func() string) string {
	text, ok := k.texts[key]
	if !ok {
		if len(k.texts) >= quickMost {
			clear(k.texts) // tables that are gone
		}
		text = write()
		k.texts[key] = text
	}
	return text
}

// stmt returns the compiled statement, which stays the connection's.
func (k *quickConn) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := k.stmts[query]; s != nil {
		return s, nil
	}
	if len(k.stmts) >= quickMost {
		for _, s := range k.stmts {
			_ = s.Close()
		}
		clear(k.stmts)
	}
	// It outlives the context, which binds only the compiling.
	s, err := k.Conn.PrepareContext(ctx, query)
	if err == nil {
		k.stmts[query] = s
	}
	return s, err
}

func (k *quickConn) forget() {
	for _, s := range k.stmts {
		_ = s.Close()
	}
	clear(k.stmts)
	k.forgetCompiled()
}

func (k *quickConn) forgetCompiled() {
	for _, s := range k.compiled {
		_ = s.Close()
	}
	clear(k.compiled)
}

// statement is stmt for what is run by the driver itself.
func (k *quickConn) statement(ctx context.Context, query string) (*compiled, error) {
	if s := k.compiled[query]; s != nil {
		return s, nil
	}
	if len(k.compiled) >= quickMost {
		k.forgetCompiled()
	}
	s, err := compile(ctx, k.Conn, query)
	if err != nil {
		return nil, err
	}
	k.compiled[query] = s
	return s, nil
}

func (k *quickConn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := k.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (k *quickConn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := k.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// compiled is a statement that is run by the driver itself: what database/sql does for each
// execution takes as long as a small statement. It belongs to one connection and to one goroutine at a time.
type compiled struct {
	conn  *sql.Conn
	query string
	stmt  interface {
		sqldriver.Stmt
		sqldriver.StmtExecContext
		sqldriver.StmtQueryContext
	}
	args []sqldriver.NamedValue // of the last execution, emptied
}

func compile(ctx context.Context, c *sql.Conn, query string) (*compiled, error) {
	s := &compiled{conn: c, query: query}
	err := c.Raw(func(dc any) error {
		stmt, err := dc.(sqldriver.ConnPrepareContext).PrepareContext(ctx, query)
		if err == nil {
			s.stmt = stmt.(interface {
				sqldriver.Stmt
				sqldriver.StmtExecContext
				sqldriver.StmtQueryContext
			})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ExecContext runs the statement as [sql.Stmt.ExecContext] does.
func (s *compiled) ExecContext(ctx context.Context, args ...any) (res sql.Result, err error) {
	if !s.take(args) {
		return s.conn.ExecContext(ctx, s.query, args...)
	}
	defer clear(s.args)
	err = s.conn.Raw(func(any) (err error) {
		res, err = s.stmt.ExecContext(ctx, s.args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// Close gives the statement up, which must be done before its connection is.
func (s *compiled) Close() error {
	return s.conn.Raw(func(any) error { return s.stmt.Close() })
}

// take makes driver's values of args by the rules of database/sql. It reports false for those
// that are left to it: it words its errors better.
func (s *compiled) take(args []any) bool {
	s.args = s.args[:0]
	for i, a := range args {
		v := sqldriver.NamedValue{Ordinal: i + 1}
		switch a := a.(type) {
		case int64, string, []byte, float64, nil:
			v.Value = a
		case int:
			v.Value = int64(a)
		case sql.NamedArg, sql.Out:
			return false
		default:
			var err error
			if v.Value, err = sqldriver.DefaultParameterConverter.ConvertValue(a); err != nil {
				return false
			}
		}
		s.args = append(s.args, v)
	}
	return true
}
