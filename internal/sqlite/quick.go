package sqlite

import (
	"context"
	"database/sql"

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
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.quick[c]; k != nil {
		return k
	}
	return q
}

// quickConn is a connection with its compiled statements. SQLite compiles them again
// by itself when the schema has changed. Like the connection it serves one goroutine at a time.
type quickConn struct {
	*sql.Conn
	stmts map[string]*sql.Stmt
	texts map[collectKey]string

	notedOf, notedText string             // the outboxes that the last Noted looked at, and its query
	noted              map[int64][2]int64 // by outbox: the notes that it saw, for one Collect in the same transaction

	endsOf **dialect.Table // the tables that ends is about begin here
	ends   string          // the query of Ends
}

// collectKey names a text of collectSQL.
type collectKey struct {
	tb     *table
	id     int64 // of the outbox
	images bool
	every  bool // the text of notesSQL
}

// collectText is collectSQL, which takes longer to write than to run.
func collectText(q dialect.Querier, tb *table, id int64, images bool) string {
	k, ok := q.(*quickConn)
	if !ok {
		return tb.collectSQL(id, images)
	}
	key := collectKey{tb: tb, id: id, images: images}
	text, ok := k.texts[key]
	if !ok {
		if len(k.texts) >= quickMost {
			clear(k.texts) // tables that are gone
		}
		text = tb.collectSQL(id, images)
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
		k.forget()
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
}

func (k *quickConn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := k.stmt(ctx, query)
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
