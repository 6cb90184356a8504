package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// countTime limits the counting of rows for the schema: big tables show none.
const countTime = 1500 * time.Millisecond

type tableJSON struct {
	Database string       `json:"database"`
	Name     string       `json:"name"`
	Rows     *int64       `json:"rows"` // nil if counting took too long
	Columns  []columnJSON `json:"columns"`
	Refusal  string       `json:"refusal,omitempty"`
}

type columnJSON struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Nullable  bool   `json:"nullable"`
	Key       bool   `json:"key"`
	Generated bool   `json:"generated,omitempty"`
}

// userTables lists the tables without ddb's own.
func (h *Handler) userTables(ctx context.Context) ([]*dialect.Table, error) {
	list, err := h.c.Tables(ctx)
	return slices.DeleteFunc(list, func(t *dialect.Table) bool { return t.Own }), err
}

// tables describes the schema. Rows are counted on whichever node reads go to.
func (h *Handler) tables(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	list, err := h.userTables(ctx)
	if err != nil {
		h.failWith(w, err)
		return
	}
	count, stop := context.WithTimeout(ctx, countTime)
	defer stop()
	out := make([]tableJSON, 0, len(list))
	for _, t := range list {
		j := tableJSON{Database: t.Database, Name: t.Name, Refusal: t.Refusal, Columns: make([]columnJSON, 0, len(t.Columns))}
		for _, c := range t.Columns {
			key := slices.ContainsFunc(t.Key, func(i int) bool { return i < len(t.Stored) && t.Stored[i] == c.Name })
			j.Columns = append(j.Columns, columnJSON{c.Name, c.Type, c.Nullable, key, c.Generated})
		}
		var n int64
		if h.c.QueryRowContext(count, "SELECT count(*) FROM "+h.tableName(t)).Scan(&n) == nil {
			j.Rows = &n
		}
		out = append(out, j)
	}
	reply(w, http.StatusOK, map[string]any{"tables": out})
}

// quote makes a name an identifier of the dialect.
func (h *Handler) quote(name string) string { return quoteFor(h.class, name) }

func quoteFor(d sqlclass.Dialect, name string) string {
	if d == sqlclass.MySQL {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func (h *Handler) tableName(t *dialect.Table) string {
	if t.Database == "" {
		return h.quote(t.Name)
	}
	return h.quote(t.Database) + "." + h.quote(t.Name)
}

// browse is a page of a table's rows.
type browse struct {
	table         *dialect.Table
	column        string // of filter; "" for any
	filter        string // text that the row must contain
	order         string
	desc          bool
	limit, offset int64
}

// rows answers with a page of a table: ?database=&table=&column=&filter=&order=&desc=1&limit=&offset=&node=&consistency=.
func (h *Handler) rows(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	q := r.URL.Query()
	in := sqlRequest{Node: q.Get("node"), Consistency: q.Get("consistency")}
	ctx, err := in.context(ctx)
	if err != nil {
		h.failWith(w, err)
		return
	}
	b := browse{column: q.Get("column"), filter: q.Get("filter"), order: q.Get("order"), desc: q.Get("desc") == "1", limit: 100}
	for name, to := range map[string]*int64{"limit": &b.limit, "offset": &b.offset} {
		if text := q.Get(name); text != "" {
			if *to, err = strconv.ParseInt(text, 10, 64); err != nil || *to < 0 {
				fail(w, http.StatusBadRequest, name+" must be a whole number")
				return
			}
		}
	}
	b.limit = min(b.limit, int64(h.opts.MaxRows))
	list, err := h.userTables(ctx)
	if err != nil {
		h.failWith(w, err)
		return
	}
	at := slices.IndexFunc(list, func(t *dialect.Table) bool {
		return t.Name == q.Get("table") && (t.Database == q.Get("database") || q.Get("database") == "")
	})
	if at < 0 {
		fail(w, http.StatusNotFound, fmt.Sprintf("there is no table %q", q.Get("table")))
		return
	}
	b.table = list[at]
	query, args, err := b.query(h)
	if err != nil {
		h.failWith(w, err)
		return
	}
	s := h.newScript(w, r)
	defer s.release()
	s.args, s.maxRows = args, int(b.limit)
	for _, c := range b.table.Columns {
		s.types = append(s.types, c.Type) // an expression has none
	}
	if _, err := s.run(ctx, []sqlclass.Statement{{SQL: query, Kind: sqlclass.Read}}); err != nil {
		s.breakOff(err)
		h.failWith(w, err)
		return
	}
	s.reply()
}

// query makes the statement of a page. On SQLite each column is read as an expression, because the driver
// would turn text of a declared date into a time and show it otherwise than it is stored.
func (b *browse) query(h *Handler) (query string, args []any, err error) {
	var columns, match []string
	known := map[string]bool{}
	for _, c := range b.table.Columns {
		name := h.quote(c.Name)
		known[c.Name] = true
		text := "CAST(" + name + " AS CHAR)"
		if h.class == sqlclass.SQLite {
			columns = append(columns, "+"+name+" AS "+name)
			text = "CAST(" + name + " AS TEXT)"
		} else {
			columns = append(columns, name)
		}
		if b.filter != "" && (b.column == "" || b.column == c.Name) {
			match = append(match, text+" LIKE ? ESCAPE '!'")
			args = append(args, "%"+strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(b.filter)+"%")
		}
	}
	for _, name := range []string{b.column, b.order} {
		if name != "" && !known[name] {
			return "", nil, fmt.Errorf("table %s has no column %q", b.table.Name, name)
		}
	}
	query = "SELECT " + strings.Join(columns, ", ") + " FROM " + h.tableName(b.table)
	if len(match) > 0 {
		query += " WHERE " + strings.Join(match, " OR ")
	}
	var order []string
	if b.order != "" {
		order = append(order, h.quote(b.table.Name)+"."+h.quote(b.order)+map[bool]string{true: " DESC"}[b.desc])
	}
	for _, i := range b.table.Key { // pages must not overlap
		if name := b.table.Stored[i]; name != b.order {
			order = append(order, h.quote(b.table.Name)+"."+h.quote(name))
		}
	}
	if len(order) > 0 {
		query += " ORDER BY " + strings.Join(order, ", ")
	}
	return query + fmt.Sprintf(" LIMIT %d OFFSET %d", b.limit, b.offset), args, nil
}

func numberParam(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// journal describes the last entries, the newest first: ?n=100.
func (h *Handler) journal(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	list, err := h.c.Tail(ctx, numberParam(r, "n", 100))
	if err != nil {
		h.failWith(w, err)
		return
	}
	type table struct {
		Table   string `json:"table"`
		Written int    `json:"written"`
		Deleted int    `json:"deleted"`
	}
	type entry struct {
		Epoch   uint64            `json:"epoch"`
		LSN     ddb.LSN           `json:"lsn"`
		At      time.Time         `json:"at"`
		Bytes   int64             `json:"bytes"`
		Schema  []string          `json:"schema"`
		Tables  []table           `json:"tables"`
		Batches map[string]uint64 `json:"batches"`
	}
	out := make([]entry, 0, len(list))
	for _, e := range list {
		j := entry{e.Epoch, e.LSN, e.At, e.Bytes, nil, nil, e.Batches}
		for _, s := range e.Schema {
			j.Schema = append(j.Schema, sqlclass.Public(s))
		}
		for _, t := range e.Tables {
			j.Tables = append(j.Tables, table{t.Table, t.Present, t.Absent})
		}
		out = append(out, j)
	}
	reply(w, http.StatusOK, map[string]any{"entries": out})
}

// statements shows the log: to administrators everybody's, to others their own.
func (h *Handler) statements(w http.ResponseWriter, r *http.Request) {
	who := callerOf(r)
	only := who.name
	if who.access == Admin {
		only = ""
	}
	reply(w, http.StatusOK, map[string]any{"statements": h.log.newest(numberParam(r, "n", 200), only)})
}

type conflictJSON struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Database string    `json:"database"`
	Table    string    `json:"table"`
	Key      string    `json:"key"`
	Base     string    `json:"base"`
	Local    string    `json:"local"`
	Remote   string    `json:"remote"`
	Origin   string    `json:"origin"`
	Batch    uint64    `json:"batch"`
	Policy   string    `json:"policy"`
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason"`
	State    string    `json:"state"`
}

func (h *Handler) conflicts(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	list, err := h.c.Conflicts(ctx)
	if err != nil {
		h.failWith(w, err)
		return
	}
	out := make([]conflictJSON, 0, len(list))
	for _, c := range list {
		out = append(out, conflictJSON(c))
	}
	reply(w, http.StatusOK, map[string]any{"conflicts": out})
}

// settleConflict takes {"action": "retry"} or {"action": "dismiss"}.
func (h *Handler) settleConflict(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Action string `json:"action"`
	}
	if !readJSON(w, r, h.opts.MaxBody, &in) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	var err error
	switch in.Action {
	case "retry":
		err = h.c.RetryConflict(ctx, r.PathValue("id"))
	case "dismiss":
		err = h.c.DismissConflict(ctx, r.PathValue("id"))
	default:
		err = errors.New(`action must be "retry" or "dismiss"`)
	}
	if err != nil {
		h.failWith(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"id": r.PathValue("id"), "action": in.Action})
}

// setNode takes {"maintenance": true} to send a node no reads, false to let it back in.
func (h *Handler) setNode(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Maintenance *bool `json:"maintenance"`
	}
	if !readJSON(w, r, h.opts.MaxBody, &in) {
		return
	}
	if in.Maintenance == nil {
		fail(w, http.StatusBadRequest, `the body must be {"maintenance": true} or {"maintenance": false}`)
		return
	}
	if err := h.c.Maintain(r.PathValue("id"), *in.Maintenance); err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	reply(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "maintenance": *in.Maintenance})
}

// forgetNode takes a node that will not come back off the list.
func (h *Handler) forgetNode(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	err := h.c.Forget(ctx, id)
	switch {
	case errors.Is(err, ddb.ErrOptions):
		fail(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ddb.ErrBusy): // it is connected
		fail(w, http.StatusConflict, err.Error())
	case err != nil:
		h.failWith(w, err)
	default:
		reply(w, http.StatusOK, map[string]any{"id": id, "forgotten": true})
	}
}
