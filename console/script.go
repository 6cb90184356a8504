package console

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// script runs the statements of one request on one session, so that BEGIN, SET and
// user variables mean what they say. One goroutine uses it.
type script struct {
	h       *Handler
	caller  caller
	args    []any
	maxRows int
	types   []string // of the columns, where they are known better than by the answer
	bytes   int64    // of all results

	out   *lateWriter // to the client
	alone bool        // there is one statement, so its rows can go out while they come in
	large bool        // it has one of the places for large answers

	conn    *sql.Conn
	tx      *sql.Tx
	results []*result
}

// session is what *sql.Conn and *sql.Tx have in common.
type session interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// run returns the index of the statement that failed. None runs if one of them is not allowed.
func (s *script) run(ctx context.Context, list []sqlclass.Statement) (at int, err error) {
	for i, st := range list {
		if err := s.h.c.Allow(st.SQL, s.caller.access.rights()); err != nil {
			return i, s.refused(st, err)
		}
	}
	s.alone = len(list) == 1
	if s.conn, err = s.h.c.Conn(ctx); err != nil {
		return 0, err
	}
	defer func() {
		if s.tx != nil {
			err = errors.Join(err, s.tx.Rollback())
		}
		err = errors.Join(err, s.conn.Close())
	}()
	for i, st := range list {
		res, err := s.one(ctx, st)
		s.record(st, res, err)
		if err != nil {
			return i, err
		}
		s.results = append(s.results, res)
	}
	if s.tx != nil {
		return len(list) - 1, errors.New("the statements leave a transaction open, so it was rolled back; end them with COMMIT or ROLLBACK")
	}
	return 0, nil
}

// refused says which access the statement takes, if there is one.
func (s *script) refused(st sqlclass.Statement, err error) error {
	for _, a := range []Access{Write, Admin} {
		if a > s.caller.access && s.h.c.Allow(st.SQL, a.rights()) == nil {
			return fmt.Errorf("%w; your access is %s, and this takes %s", err, s.caller.access, a)
		}
	}
	return err
}

// one runs a statement.
func (s *script) one(ctx context.Context, st sqlclass.Statement) (*result, error) {
	start := time.Now()
	res := &result{}
	var err error
	switch {
	case st.Kind == sqlclass.TxControl:
		err = s.control(ctx, st.SQL)
	case givesRows(st):
		err = s.query(ctx, st, res)
	default:
		var done sql.Result
		if done, err = s.session().ExecContext(ddb.WithMaxBytes(ctx, s.h.opts.MaxBytes), st.SQL, s.args...); err == nil {
			res.RowsAffected, _ = done.RowsAffected() // not every statement counts
			if word := firstWord(st.SQL); word == "INSERT" || word == "REPLACE" {
				res.LastInsertID, _ = done.LastInsertId()
			}
		}
	}
	res.Elapsed = time.Since(start)
	if res.Node == "" {
		res.Node = s.h.writer()
	}
	res.LSN = s.h.lsnOf(res.Node)
	return res, err
}

func (s *script) session() session {
	if s.tx != nil {
		return s.tx
	}
	return s.conn
}

// control begins and ends the transaction of the session.
func (s *script) control(ctx context.Context, text string) error {
	word := firstWord(text)
	plain := len(strings.Fields(text)) <= 2 || !strings.Contains(strings.ToUpper(text), " TO ")
	switch {
	case word == "BEGIN" || word == "START":
		if s.tx != nil {
			return errors.New("a transaction is open already")
		}
		// Who may only read does not hold the place of the one writer, which is SQLite's.
		tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: s.caller.access == Read})
		s.tx = tx
		return err
	case s.tx == nil:
		return fmt.Errorf("%s without BEGIN: each request is a session of its own, so send the whole transaction at once", word)
	case word == "COMMIT" || word == "END":
		tx := s.tx
		s.tx = nil
		return tx.Commit()
	case word == "ROLLBACK" && plain:
		tx := s.tx
		s.tx = nil
		return tx.Rollback()
	}
	_, err := s.tx.ExecContext(ctx, text)
	return err
}

var (
	quoted    = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"`)
	returning = regexp.MustCompile(`(?i)\bRETURNING\b`)
)

// givesRows reports whether a statement is to be run as a query.
func givesRows(st sqlclass.Statement) bool {
	switch st.Kind {
	case sqlclass.Read:
		return true
	case sqlclass.Schema:
		return false
	}
	switch firstWord(st.SQL) {
	case "SELECT", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "VALUES", "TABLE", "CALL", "PRAGMA", "CHECK", "CHECKSUM", "ANALYZE", "OPTIMIZE", "REPAIR":
		return true
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		return len(st.SQL) < 1<<20 && returning.MatchString(quoted.ReplaceAllString(st.SQL, "''"))
	case "WITH":
		upper := strings.ToUpper(quoted.ReplaceAllString(st.SQL, "''"))
		writes := strings.Contains(upper, "INSERT") || strings.Contains(upper, "UPDATE") || strings.Contains(upper, "DELETE")
		return !writes || returning.MatchString(upper)
	}
	return false
}

// writer returns the id of the node that writes go to.
func (h *Handler) writer() string {
	if h.c.Role() == ddb.Snap {
		return h.c.ID()
	}
	for _, n := range h.c.Nodes() {
		if n.Role == ddb.Master {
			return n.ID
		}
	}
	return "master"
}

// realID replaces the name that a follower has for its master before it knows better.
func (h *Handler) realID(id string) string {
	if id == "master" {
		return h.writer()
	}
	return id
}

func (h *Handler) lsnOf(id string) ddb.LSN {
	if id == h.c.ID() {
		return h.c.Position().LSN
	}
	for _, n := range h.c.Nodes() {
		if n.ID == id {
			return n.LSN
		}
	}
	return 0
}

// logged is a statement in the log.
type logged struct {
	ID        uint64    `json:"id"`
	At        time.Time `json:"at"`
	Caller    string    `json:"caller"`
	SQL       string    `json:"sql"`
	Node      string    `json:"node"`
	ElapsedMs float64   `json:"elapsedMs"`
	Rows      int64     `json:"rows"`
	Error     string    `json:"error,omitempty"`
}

// statementLog remembers the last statements that came through this console.
type statementLog struct {
	mu   sync.Mutex
	size int
	next uint64
	list []logged // the oldest first
}

const loggedBytes = 2000 // of a statement's text that the log keeps

func (s *script) record(st sqlclass.Statement, res *result, err error) {
	text := sqlclass.Public(st.SQL)
	if len(text) > loggedBytes {
		text = strings.ToValidUTF8(text[:loggedBytes], "") + " …"
	}
	e := logged{At: time.Now().Add(-res.Elapsed), Caller: s.caller.name, SQL: text, Node: res.Node,
		ElapsedMs: float64(res.Elapsed.Microseconds()) / 1000, Rows: res.RowsAffected + int64(res.count)}
	switch {
	case err != nil && sqlclass.Public(st.SQL) != st.SQL:
		e.Error = "not kept, as it may quote the password"
	case err != nil:
		e.Error = err.Error()
	}
	l := &s.h.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	e.ID = l.next
	if l.list = append(l.list, e); len(l.list) > l.size {
		l.list = append(l.list[:0], l.list[len(l.list)-l.size:]...)
	}
}

// newest returns up to n statements, the newest first, of everybody or of one caller.
func (l *statementLog) newest(n int, caller string) []logged {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]logged, 0, min(n, len(l.list)))
	for i := len(l.list) - 1; i >= 0 && len(out) < n; i-- {
		if caller == "" || l.list[i].Caller == caller {
			out = append(out, l.list[i])
		}
	}
	return out
}
