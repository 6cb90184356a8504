package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

var errTooMany = errors.New("console: too many statements run at once")

// sqlRequest is the body of POST /api/sql.
type sqlRequest struct {
	SQL         string `json:"sql"`
	Args        []any  `json:"args"`
	Consistency string `json:"consistency"` // "", session, eventual, strong, or a duration: bounded staleness
	Node        string `json:"node"`        // the node that must answer reads; "" for any
	MaxRows     int    `json:"maxRows"`
	Explain     bool   `json:"explain"` // show the plan instead
}

// context returns a context whose reads are as the request asks.
func (in *sqlRequest) context(ctx context.Context) (context.Context, error) {
	switch in.Consistency {
	case "":
	case "session":
		ctx = ddb.WithConsistency(ctx, ddb.Session)
	case "eventual":
		ctx = ddb.WithConsistency(ctx, ddb.Eventual)
	case "strong":
		ctx = ddb.WithConsistency(ctx, ddb.Strong)
	default:
		d, err := time.ParseDuration(in.Consistency)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("consistency %q is none of session, eventual, strong, nor a duration such as 2s", in.Consistency)
		}
		ctx = ddb.WithMaxStaleness(ctx, d)
	}
	if in.Node != "" {
		ctx = ddb.WithNode(ctx, in.Node)
	}
	return ctx, nil
}

// sql runs one statement, or several one after the other.
func (h *Handler) sql(w http.ResponseWriter, r *http.Request) {
	var in sqlRequest
	if !readJSON(w, r, h.opts.MaxBody, &in) {
		return
	}
	list, err := h.parse(&in)
	if err != nil {
		h.failWith(w, err)
		return
	}
	ctx, err := in.context(r.Context())
	if err != nil {
		h.failWith(w, err)
		return
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	default:
		h.failWith(w, errTooMany)
		return
	}
	ctx, cancel := context.WithTimeout(ddb.WithKill(ctx), h.opts.Timeout)
	defer cancel()
	s := h.newScript(w, r)
	defer s.release()
	s.args = in.Args
	if in.MaxRows > 0 {
		s.maxRows = min(in.MaxRows, s.maxRows)
	}
	at, err := s.run(ctx, list)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("stopped after the console's limit of %v: %w", h.opts.Timeout, context.DeadlineExceeded)
		}
		h.sqlFailed(w, s, list, at, err)
		return
	}
	s.reply()
}

// sqlFailed tells which statement failed, and what those before it gave.
func (h *Handler) sqlFailed(w http.ResponseWriter, s *script, list []sqlclass.Statement, at int, err error) {
	s.breakOff(err)
	body := append([]byte(`{"error":`), appendText(nil, err.Error())...)
	if at < len(list) {
		body = append(body, `,"statement":`...)
		body = strconv.AppendInt(body, int64(at), 10)
		body = append(body, `,"offset":`...)
		body = strconv.AppendInt(body, int64(list[at].Offset), 10)
	}
	if len(list) > 1 {
		body = append(body, `,"results":[`...)
		body = appendAll(body, s.results)
		body = append(body, ']')
	}
	replyBytes(w, hint(w, h.statusOf(err)), append(body, '}'))
}

func (h *Handler) parse(in *sqlRequest) ([]sqlclass.Statement, error) {
	list, err := sqlclass.Split(h.class, in.SQL)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("there is no statement in sql")
	}
	if len(list) > 1 && len(in.Args) > 0 {
		return nil, errors.New("args go with a single statement only")
	}
	for i, a := range in.Args {
		v, ok := argument(a)
		if !ok {
			return nil, fmt.Errorf("args[%d] must be null, a boolean, a number, a string, or {\"base64\": \"...\"}", i)
		}
		in.Args[i] = v
	}
	if in.Explain {
		prefix := "EXPLAIN "
		if h.class == sqlclass.SQLite {
			prefix = "EXPLAIN QUERY PLAN "
		}
		for i, s := range list {
			if word := firstWord(s.SQL); word != "EXPLAIN" && word != "ANALYZE" {
				list[i].SQL = prefix + s.SQL
			}
			list[i].Kind = sqlclass.Classify(h.class, list[i].SQL)
			list[i].Destructive = false
		}
	}
	return list, nil
}

// split tells what a text of statements holds, so that a caller can ask before it destroys something.
func (h *Handler) split(w http.ResponseWriter, r *http.Request) {
	var in struct {
		SQL string `json:"sql"`
	}
	if !readJSON(w, r, h.opts.MaxBody, &in) {
		return
	}
	list, err := sqlclass.Split(h.class, in.SQL)
	if err != nil {
		body := map[string]any{"error": err.Error()}
		if bad, ok := errors.AsType[*sqlclass.Error](err); ok {
			body["offset"] = bad.Offset
		}
		reply(w, http.StatusBadRequest, body)
		return
	}
	type statement struct {
		SQL         string `json:"sql"`
		Kind        string `json:"kind"`
		Offset      int    `json:"offset"`
		Destructive bool   `json:"destructive"`
	}
	out := make([]statement, len(list))
	for i, s := range list {
		out[i] = statement{s.SQL, s.Kind.String(), s.Offset, s.Destructive}
	}
	reply(w, http.StatusOK, map[string]any{"statements": out})
}

func firstWord(text string) string {
	word := strings.TrimLeft(text, " \t\r\n(")
	if i := strings.IndexFunc(word, func(r rune) bool { return !(r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') }); i >= 0 {
		word = word[:i]
	}
	return strings.ToUpper(word)
}
