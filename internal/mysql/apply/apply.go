package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// Limits of what is sent to the server at once.
const (
	maxInline         = 256 << 10 // bytes of one value that still go into the statement of its row
	maxKeys           = 400       // keys in one DELETE
	maxLookup         = 50        // keys in one Lookup statement
	maxLookupIntegers = 1000      // the same, where they are integers
)

// Applier writes and reads rows by key.
type Applier struct {
	server   *server.Server
	sessions *sessions.Sessions
	current  *catalog.Current
	NoLoad   atomic.Bool // LOAD DATA LOCAL has been refused, and is not tried again
}

// New returns what writes and reads the tables of s.
func New(s *server.Server, on *sessions.Sessions, tables *catalog.Current) *Applier {
	return &Applier{server: s, sessions: on, current: tables}
}

// writer carries out one Apply.
type writer struct {
	rows *Applier
	ctx  context.Context
	q    dialect.Querier
	t    *catalog.Table
}

// Apply writes the rows. On a connection for Batch, foreign keys act on deletes and are
// checked on writes, and rows may come in any order; see batch.
func (a *Applier) Apply(ctx context.Context, q dialect.Querier, dt *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	t, err := a.current.Table(ctx, q, dt)
	if err != nil {
		return err
	}
	w := &writer{rows: a, ctx: ctx, t: t}
	var absent, all [][]any
	present := make([]dialect.Row, 0, len(rows))
	for _, r := range rows {
		if err := catalog.CheckKey(t, r.Key); err != nil {
			return err
		}
		all = append(all, r.Key)
		if r.Values == nil {
			absent = append(absent, r.Key)
			continue
		}
		if len(r.Values) != len(t.StoredColumns) {
			return fmt.Errorf("row of %s has %d values for %d columns: %w", t.SQLName(), len(r.Values), len(t.StoredColumns), dialect.ErrSchemaMismatch)
		}
		present = append(present, r)
	}
	p, _ := a.sessions.Purpose(q)
	return a.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		w.q = q
		gone := absent
		switch {
		case p == dialect.Batch && mode == dialect.Strict:
			return w.batch(absent, present)
		case mode == dialect.Strict && t.Unique:
			gone = all
		}
		// After an error nothing else may be sent: a deadlock ends the transaction, and what follows would commit by itself.
		deleted, err := w.delete(gone, maxKeys)
		if err == nil && p == dialect.Replay {
			err = w.remember(absent, deleted == int64(len(gone)))
		}
		if err != nil {
			return err
		}
		switch {
		case p == dialect.Replay && mode == dialect.Replace:
			return w.replace(present)
		case mode == dialect.Replace:
			return w.insert(present, "REPLACE INTO ", "")
		case t.Unique:
			return w.insert(present, "INSERT INTO ", "")
		}
		return w.insert(present, "INSERT INTO ", w.onDuplicate())
	})
}

// onDuplicate makes an INSERT set every column of a row that exists, its key too,
// whose letter case may differ.
func (w *writer) onDuplicate() string {
	set := make([]string, len(w.t.StoredColumns))
	for i, c := range w.t.StoredColumns {
		set[i] = lang.Ident(c.Name) + "=VALUES(" + lang.Ident(c.Name) + ")"
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ",")
}

// delete removes rows by key, n with a statement, and returns how many there were.
func (w *writer) delete(keys [][]any, n int) (deleted int64, err error) {
	var b []byte
	for len(keys) > 0 {
		b = append(b[:0], "DELETE FROM "...)
		b = append(b, w.t.SQLName()...)
		b = append(b, " WHERE "...)
		part := keys[:min(n, len(keys))]
		keys = keys[len(part):]
		b = catalog.AppendKeys(b, w.t, part)
		res, err := w.q.ExecContext(w.ctx, string(b))
		if err != nil {
			return 0, w.fail(err, part)
		}
		were, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		deleted += were
	}
	return deleted, nil
}

// insert writes rows with as few statements as their size allows.
func (w *writer) insert(rows []dialect.Row, verb, tail string) error {
	names := make([]string, len(w.t.StoredColumns))
	for i, c := range w.t.StoredColumns {
		names[i] = lang.Ident(c.Name)
	}
	limit := w.rows.server.StatementSize
	st := codec.NewInsert(w.ctx, w.q, limit, verb+w.t.SQLName()+" ("+strings.Join(names, ",")+") VALUES ", tail)
	first := 0 // of the rows in the statement
	for i, r := range rows {
		width := 0
		for _, v := range r.Values {
			width += codec.Size(v)
		}
		if st.Full(width) {
			if err := st.Flush(); err != nil {
				return w.fail(err, keysOf(rows[first:i]))
			}
			first = i
		}
		if width > limit/2 {
			if err := w.large(st, r); err != nil {
				return w.fail(err, [][]any{r.Key})
			}
			first = i + 1
			continue
		}
		st.End(codec.AppendTuple(st.Row(), w.t.StoredColumns, r.Values))
	}
	if err := st.Flush(); err != nil {
		return w.fail(err, keysOf(rows[first:]))
	}
	return nil
}

func keysOf(rows []dialect.Row) [][]any {
	keys := make([][]any, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	return keys
}

// large writes one row whose big values are first put together in user variables, so
// that no statement is bigger than the server or the driver takes.
func (w *writer) large(st *codec.Insert, r dialect.Row) error {
	if err := st.Flush(); err != nil {
		return err
	}
	literals, used, err := w.literals(r)
	if err != nil {
		return err
	}
	b := st.Row()
	for i, l := range literals {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l...)
	}
	st.End(b)
	return errors.Join(st.Flush(), w.forget(used))
}

// literals returns the row's values as SQL, big ones as the names of the variables used.
func (w *writer) literals(r dialect.Row) (list [][]byte, used []string, err error) {
	list = make([][]byte, len(r.Values))
	for i, c := range w.t.StoredColumns {
		data, ok := codec.AsBytes(r.Values[i])
		if !ok || len(data) <= min(maxInline, w.rows.server.StatementSize/(4+len(r.Values))) {
			list[i] = c.AppendLiteral(nil, r.Values[i])
			continue
		}
		name := fmt.Sprintf("@ddb_v%d", i)
		if err := w.assemble(name, data); err != nil {
			return nil, nil, err
		}
		used = append(used, name)
		list[i] = []byte(name)
	}
	return list, used, nil
}

// forget frees the memory of variables.
func (w *writer) forget(used []string) error {
	if len(used) == 0 {
		return nil
	}
	_, err := w.q.ExecContext(w.ctx, "SET "+strings.Join(used, "=NULL, ")+"=NULL")
	return err
}

// assemble builds the value in a user variable piece by piece.
func (w *writer) assemble(name string, data []byte) error {
	piece := w.rows.server.StatementSize / 2
	var b []byte
	for at := 0; at < len(data); at += piece {
		b = append(b[:0], "SET "...)
		b = append(b, name...)
		b = append(b, '=')
		if at > 0 {
			b = append(b, "CONCAT("...)
			b = append(b, name...)
			b = append(b, ',')
		}
		b = append(b, "_binary'"...)
		b = codec.AppendEscaped(b, data[at:min(at+piece, len(data))])
		b = append(b, '\'')
		if at > 0 {
			b = append(b, ')')
		}
		if _, err := w.q.ExecContext(w.ctx, string(b)); err != nil {
			return err
		}
	}
	rows, err := lang.Texts(w.ctx, w.q, "SELECT LENGTH("+name+")")
	if err != nil {
		return err
	}
	if rows[0][0].String != fmt.Sprint(len(data)) {
		return fmt.Errorf("a value of %d bytes is more than this server takes: SET GLOBAL max_allowed_packet to at least as much as on the master", len(data))
	}
	return nil
}

// fail names the table, and the key where only one row can be meant.
func (w *writer) fail(err error, keys [][]any) error {
	at := ""
	if len(keys) == 1 {
		at = fmt.Sprintf(" key %s", codec.Describe(keys[0]))
	}
	switch lang.Errno(err) {
	case lang.ErDupEntry, lang.ErRowReferenced, lang.ErNoReferenced, lang.ErCheckMaria, lang.ErCheckMySQL:
		return fmt.Errorf("table %s%s: %w: %w", w.t.SQLName(), at, dialect.ErrDiverged, err)
	case lang.ErBadField, lang.ErValueCount, lang.ErNoSuchTable:
		return fmt.Errorf("table %s: %w: %w", w.t.SQLName(), dialect.ErrSchemaMismatch, err)
	}
	return fmt.Errorf("apply to table %s%s: %w", w.t.SQLName(), at, lang.Wrap(err))
}
