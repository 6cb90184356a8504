package write

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"sync"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/store"
)

// Pool knows the connections of a pool through which ddb writes on a database with many writers: what each was
// told, so that it is told once, and the statements that it holds compiled. A driver that compiles a statement for
// each use, as go-sql-driver/mysql does for those with arguments, needs three round trips for it; these need one.
type Pool struct {
	mu    sync.Mutex
	known map[any]*connState // by the driver's connection
}

// Limits of what is known of a pool.
const (
	maxKnown      = 1024     // connections; those that the pool has closed are not told apart
	maxCompiled   = 32       // statements on a connection
	compiledConns = 256      // open connections up to which statements are kept compiled
	compiledText  = 16 << 10 // bytes of a statement's text
)

// connState is what is known of one connection. Only who holds the connection uses it.
type connState struct {
	number   int64 // of the node whose keys it hands out; 0: none
	Single   bool  // its statements are marked as transactions by themselves; set by internal/snap
	compiles bool
	compiled []compiledStmt // the one used last is first
}

type compiledStmt struct {
	text string
	stmt driver.Stmt
}

// Conn is a connection of a pool with what is known of it.
type Conn struct {
	*sql.Conn
	*connState
	node *store.Store
}

// Conn takes a connection from the node's pool whose handed-out keys are the node's. number is 0 while it has none.
func (o *Pool) Conn(ctx context.Context, n *store.Store, number int64) (Conn, error) {
	c, err := n.DB.Conn(ctx)
	if err != nil {
		return Conn{}, err
	}
	var s *connState
	err = c.Raw(func(dc any) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if s = o.known[dc]; s != nil {
			return nil
		}
		if o.known == nil || len(o.known) >= maxKnown {
			o.known = make(map[any]*connState)
		}
		s = &connState{compiles: n.DB.Stats().OpenConnections <= compiledConns}
		o.known[dc] = s
		return nil
	})
	if sharer, ok := n.Engine.(dialect.KeySharer); ok && err == nil && s.number != number {
		s.number = number
		err = sharer.ShareKeys(ctx, c, keys.Step, number)
	}
	if err != nil {
		store.Drop(c) // it counts as told
		return Conn{}, err
	}
	return Conn{c, s, n}, nil
}

// Exec is ExecContext with a statement that stays compiled.
func (c Conn) Exec(ctx context.Context, query string, args []any) (res sql.Result, err error) {
	if !c.compiles || len(args) == 0 || len(query) > compiledText {
		return c.ExecContext(ctx, query, args...)
	}
	ran := false
	err = c.Raw(func(dc any) error {
		stmt, err := c.compile(ctx, dc, query)
		if err != nil {
			return err
		}
		values, ok := bind(dc, stmt, args)
		if !ok {
			return nil
		}
		res, err = stmt.(driver.StmtExecContext).ExecContext(ctx, values)
		if ran = !c.node.Fault(err).Is(dialect.StatementLost); !ran {
			c.forget(query)
		}
		return err
	})
	if ran || errors.Is(err, driver.ErrBadConn) {
		return res, err
	}
	return c.ExecContext(ctx, query, args...) // what went wrong, it says better
}

var errNotCompiled = errors.New("the driver keeps no statement compiled")

// compile returns the statement, which is the first of the list then.
func (s *connState) compile(ctx context.Context, dc any, text string) (driver.Stmt, error) {
	for i, c := range s.compiled {
		if c.text == text {
			copy(s.compiled[1:i+1], s.compiled[:i])
			s.compiled[0] = c
			return c.stmt, nil
		}
	}
	p, ok := dc.(driver.ConnPrepareContext)
	if !ok {
		return nil, errNotCompiled
	}
	stmt, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if _, ok := stmt.(driver.StmtExecContext); !ok {
		return nil, errors.Join(errNotCompiled, stmt.Close())
	}
	if len(s.compiled) == maxCompiled {
		s.forget(s.compiled[maxCompiled-1].text)
	}
	s.compiled = slices.Insert(s.compiled, 0, compiledStmt{text, stmt})
	return stmt, nil
}

// forget lets a statement go.
func (s *connState) forget(text string) {
	s.compiled = slices.DeleteFunc(s.compiled, func(c compiledStmt) bool {
		if c.text == text {
			c.stmt.Close() // fails only if the connection is lost, and the statement with it
		}
		return c.text == text
	})
}

// bind converts arguments as database/sql does. ok is false for those that need more.
func bind(dc any, stmt driver.Stmt, args []any) (values []driver.NamedValue, ok bool) {
	if n := stmt.NumInput(); n >= 0 && n != len(args) {
		return nil, false
	}
	checker, ok := stmt.(driver.NamedValueChecker)
	if !ok {
		checker, ok = dc.(driver.NamedValueChecker)
	}
	values = make([]driver.NamedValue, len(args))
	for i, a := range args {
		switch a.(type) {
		case sql.NamedArg, sql.Out:
			return nil, false
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		err := driver.ErrSkip
		if ok {
			err = checker.CheckNamedValue(&values[i])
		}
		if errors.Is(err, driver.ErrSkip) {
			values[i].Value, err = driver.DefaultParameterConverter.ConvertValue(a)
		}
		if err != nil {
			return nil, false
		}
	}
	return values, true
}
