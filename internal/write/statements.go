package write

import (
	"context"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
)

// StmtCache is how many prepared statements are kept on the write connection.
const StmtCache = 128

// preparedWrite is a statement of the write connection.
type preparedWrite struct {
	dialect.Stmt
	dialect.Program
}

// statement runs one statement of a group. It is spoiled if it has run but what the role
// adds to it has failed, so that it must not be committed.
func (w *Group) statement(r *writeRequest) (spoiled bool, err error) {
	if err := r.ctx.Err(); err != nil {
		return false, err
	}
	s, err := w.prepared(r)
	if err != nil {
		return false, err
	}
	ctx := r.ctx
	if s != nil && s.Brief {
		ctx = context.Background() // one that can end costs the driver a goroutine for each execution
	}
	number := w.Number()
	watch, err := keys.WatchMoves(ctx, w.Node, w.conn, number, r.query)
	if err != nil {
		return false, err
	}
	if s != nil {
		r.res, err = s.ExecContext(ctx, r.args...)
	} else {
		r.res, err = w.conn.ExecContext(ctx, r.query, r.args...)
	}
	if err != nil {
		return false, err
	}
	if number != 0 {
		if err = watch.Check(ctx, w.Node, w.conn, r.query); err == nil {
			r.res, err = keys.Moved(ctx, w.Node, w.conn, number, r.query, r.res)
		}
		if err != nil {
			return true, err
		}
	}
	if w.Hooks.Each != nil {
		var p dialect.Program
		if s != nil {
			p = s.Program
		}
		err = w.Hooks.Each(ctx, w.conn, p)
	}
	return err != nil, err
}

// Number returns the number of the node whose keys new rows get, or 0.
func (w *Group) Number() int64 {
	if w.Hooks.Number == nil || keys.Mover(w.Node) == nil {
		return 0
	}
	return w.Hooks.Number()
}

// prepared returns the request's statement from the cache, or nil for one that is better run directly: several
// statements in one string, or one never seen before.
func (w *Group) prepared(r *writeRequest) (*preparedWrite, error) {
	w.forgetOutdated()
	s, known := w.stmts[r.query]
	switch {
	case s != nil:
		return s, nil
	case known && strings.Contains(r.query, ";"):
		return nil, nil
	case known:
		s, err := w.compile(r)
		if err != nil {
			return nil, err
		}
		w.stmts[r.query] = s
		return s, nil
	}
	if len(w.stmts) >= StmtCache {
		for q, s := range w.stmts {
			if s != nil {
				s.Close()
			}
			delete(w.stmts, q)
			break
		}
	}
	w.stmts[r.query] = nil
	return nil, nil
}

func (w *Group) compile(r *writeRequest) (_ *preparedWrite, err error) {
	s := new(preparedWrite)
	if e, ok := w.Node.Engine.(dialect.Compiler); ok {
		s.Stmt, s.Program, err = e.Compile(r.ctx, w.conn, r.query, r.args)
	} else {
		s.Stmt, err = w.conn.PrepareContext(r.ctx, r.query)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// forgetOutdated empties the cache if tables have changed since it was filled, which it reports.
func (w *Group) forgetOutdated() bool {
	cat := w.Node.Tables.Load()
	if cat == w.cat {
		return false
	}
	w.ForgetStatements()
	w.cat = cat
	return true
}

// ForgetStatements empties the cache, since tables have changed.
func (w *Group) ForgetStatements() {
	for _, s := range w.stmts {
		if s != nil {
			s.Close()
		}
	}
	clear(w.stmts)
}
