package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

const (
	notedFew    = 16 // up to so many outboxes one statement finds the ends of their notes too
	notedAtOnce = 64 // how many outboxes one statement looks at: to compile a longer one takes longer for each
)

// Noted returns the tables whose outbox is not empty. A connection with compiled statements remembers which notes
// it has seen, for the Collect that comes next, if the tables are few.
func (e *engine) Noted(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]*dialect.Table, error) {
	k, _ := q.(*quickConn)
	with := make([]*dialect.Table, 0, len(tables))
	for _, t := range tables {
		if t.ID != 0 && t.Refusal == "" {
			with = append(with, t)
		}
	}
	if len(with) <= notedFew {
		return notedOf(ctx, q, k, with)
	}
	// In the order of their making, so that one more leaves the texts of the other statements as they are.
	byID := slices.SortedFunc(slices.Values(with), func(a, b *dialect.Table) int { return cmp.Compare(a.ID, b.ID) })
	found := make(map[*dialect.Table]bool)
	for chunk := range slices.Chunk(byID, notedAtOnce) {
		err := eachRow(ctx, q, 1, anyNoted(chunk), func(v []any) error {
			found[chunk[v[0].(int64)]] = true
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("noted: %w", err)
		}
	}
	return slices.DeleteFunc(with, func(t *dialect.Table) bool { return !found[t] }), nil
}

// notedOf is Noted for a few tables that have outboxes.
func notedOf(ctx context.Context, q dialect.Querier, k *quickConn, tables []*dialect.Table) (out []*dialect.Table, err error) {
	if len(tables) == 0 {
		return nil, nil
	}
	err = eachRow(ctx, q, 3, notedText(k, tables), func(v []any) error {
		t := tables[v[0].(int64)]
		out = append(out, t)
		if k != nil {
			k.noted[t.ID] = [2]int64{v[1].(int64), v[2].(int64)}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("noted: %w", err)
	}
	return out, nil
}

// anyNoted is the query for the positions of the tables that have notes.
func anyNoted(tables []*dialect.Table) string {
	b := make([]byte, 0, 64*len(tables))
	for i, t := range tables {
		if i > 0 {
			b = append(b, " UNION ALL "...)
		}
		b = strconv.AppendInt(append(b, "SELECT "...), int64(i), 10)
		b = strconv.AppendInt(append(b, ` WHERE EXISTS (SELECT 1 FROM "`+prefix+`out_`...), t.ID, 10)
		b = append(b, `")`...)
	}
	return string(b)
}

// notedText is the query of notedOf. k, if there is one, keeps the last text.
func notedText(k *quickConn, tables []*dialect.Table) string {
	var b strings.Builder
	if k != nil {
		for _, t := range tables {
			b.WriteByte(' ')
			b.WriteString(strconv.FormatInt(t.ID, 10))
		}
		if ids := b.String(); ids == k.notedOf {
			return k.notedText
		} else {
			k.notedOf = ids
		}
		b.Reset()
	}
	for i, t := range tables {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&b, "SELECT * FROM (SELECT %d, (SELECT min(id) FROM %[2]s) AS lo, (SELECT max(id) FROM %[2]s)) WHERE lo IS NOT NULL", i, outbox(t.ID))
	}
	if k != nil {
		k.notedText = b.String()
	}
	return b.String()
}

// seen returns the range of the notes that q sees. SQLite finds either end at once, but not both together.
func (e *engine) seen(ctx context.Context, q dialect.Querier, t *dialect.Table) (dialect.Notes, error) {
	notes := dialect.Notes{Table: t}
	if k, ok := q.(*quickConn); ok {
		if r, ok := k.noted[t.ID]; ok {
			delete(k.noted, t.ID)
			notes.Ranges, notes.Count = [][2]int64{r}, r[1]-r[0]+1
			return notes, nil
		}
	}
	var lo, hi sql.NullInt64
	err := each(ctx, q, fmt.Sprintf("SELECT (SELECT min(id) FROM %[1]s), (SELECT max(id) FROM %[1]s)", outbox(t.ID)), []any{&lo, &hi}, func() error { return nil })
	if err == nil && lo.Valid {
		notes.Ranges, notes.Count = [][2]int64{{lo.Int64, hi.Int64}}, hi.Int64-lo.Int64+1
	}
	return notes, err
}

// Collect emits each noted key with its row.
func (e *engine) Collect(ctx context.Context, q dialect.Querier, t *dialect.Table, emit func(dialect.Row) error) (dialect.Notes, error) {
	return e.collect(ctx, q, t, false, emit)
}

// CollectImages emits each noted key with its row and the row's previous image. As
// SQLite has one writer, notes that are not the transaction's own are those of
// clients that wrote past ddb before it began; they belong to no batch yet and join this one.
func (e *engine) CollectImages(ctx context.Context, q dialect.Querier, t *dialect.Table, emit func(dialect.Row) error) (dialect.Notes, error) {
	return e.collect(ctx, q, t, true, emit)
}

func (e *engine) collect(ctx context.Context, q dialect.Querier, t *dialect.Table, images bool, emit func(dialect.Row) error) (dialect.Notes, error) {
	tb, err := e.info(ctx, q, t)
	if err != nil {
		return dialect.Notes{}, fmt.Errorf("collect: %w", err)
	}
	notes, err := e.seen(ctx, q, t)
	if k, ok := q.(*quickConn); ok && err == nil && notes.Count > 0 && notes.Count <= fewNotes && !images && t.ExactKey {
		notes, err = k.collectFew(ctx, tb, notes, emit)
	} else if err == nil && notes.Count > 0 {
		r := notes.Ranges[0]
		err = e.emitNoted(ctx, q, tb, collectText(q, tb, t.ID, images), []any{r[0], r[1]}, images, emit)
	}
	if err != nil {
		return dialect.Notes{}, fmt.Errorf("collect %s: %w", t.Name, err)
	}
	return notes, nil
}

// fewNotes is how many notes are told apart here instead of by SQLite, which would sort them first.
const fewNotes = 1024

// collectFew is collect for all notes that there are, if they are few.
func (k *quickConn) collectFew(ctx context.Context, tb *table, notes dialect.Notes, emit func(dialect.Row) error) (dialect.Notes, error) {
	id := notes.Table.ID
	text := k.text(collectKey{tb: tb, id: id, form: allKeys}, func() string { return tb.keysSQL(id) })
	n := len(tb.Key)
	var seen keySet
	notes.Count = 0
	err := eachRow(ctx, k, n+len(tb.Stored), text, func(v []any) error {
		notes.Count++
		if row := tb.noted(v, false); notes.Ranges[0][0] == notes.Ranges[0][1] || seen.add(row.Key) {
			return emit(row)
		}
		return nil
	})
	remember(k, notes)
	return notes, err
}

// keysSQL joins all notes with their rows, in the columns of collectSQL.
func (tb *table) keysSQL(id int64) string {
	return fmt.Sprintf("SELECT %s, %s FROM %s o LEFT JOIN main.%s t ON %s",
		columns("o.k", len(tb.Key)), tb.read("t"), outbox(id), quote(tb.Name), tb.onNote())
}

// onNote compares the key of the row t with that of the note o, by the collation of the key's index.
func (tb *table) onNote() string {
	on := make([]string, len(tb.Key))
	for i, k := range tb.Key {
		on[i] = fmt.Sprintf("%s = o.k%d", tb.collate(i, "t."+quote(tb.Stored[k])), i+1)
	}
	return strings.Join(on, " AND ")
}

// remember notes that a collection has seen every note of an outbox, so that Clear may empty it in the same transaction.
func remember(q dialect.Querier, notes dialect.Notes) {
	if k, ok := q.(*quickConn); ok && k.open {
		k.whole[notes.Table.ID] = notes.Count
	}
}

// collectSQL joins the distinct keys noted with their rows. Keys are grouped and
// joined by the collation of the key's index, so that the index serves and keys that
// are the same row come once.
func (tb *table) collectSQL(id int64, images bool) string {
	n := len(tb.Key)
	group := make([]string, n)
	for i := range tb.Key {
		group[i] = tb.collate(i, fmt.Sprintf("k%d", i+1))
	}
	extra := ""
	if images {
		extra = ", o.existed, " + columns("o.o", len(tb.Stored))
	}
	first := fmt.Sprintf("(SELECT min(id) AS first FROM %s WHERE id BETWEEN ? AND ? GROUP BY %s) f CROSS JOIN %s o ON o.id = f.first",
		outbox(id), strings.Join(group, ", "), outbox(id))
	if !images {
		first = fmt.Sprintf("(SELECT %s FROM %s WHERE id BETWEEN ? AND ? GROUP BY %s) o", columns("k", n), outbox(id), strings.Join(group, ", "))
	}
	return fmt.Sprintf("SELECT %s, %s%s FROM %s LEFT JOIN main.%s t ON %s",
		columns("o.k", n), tb.read("t"), extra, first, quote(tb.Name), tb.onNote())
}

// emitNoted runs the query of collectSQL.
func (e *engine) emitNoted(ctx context.Context, q dialect.Querier, tb *table, query string, args []any, images bool, emit func(dialect.Row) error) error {
	width := len(tb.Key) + len(tb.Stored)
	if images {
		width += 1 + len(tb.Stored)
	}
	return eachRow(ctx, q, width, query, func(v []any) error { return emit(tb.noted(v, images)) }, args...)
}

// noted makes a row of the columns of collectSQL. A key is never NULL in a row that is there.
func (tb *table) noted(v []any, images bool) dialect.Row {
	k, n := len(tb.Key), len(tb.Stored)
	row := dialect.Row{Key: v[:k:k]}
	if values := v[k : k+n : k+n]; values[tb.Key[0]] != nil {
		row.Values = values
		for i, c := range tb.Key { // as it stands, not as it was noted
			row.Key[i] = row.Values[c]
		}
	}
	normalize(row.Key)
	if images {
		switch v[k+n] {
		case nil: // noted without an image: by Touch, or before the mode was Images
			row.Base = row.Values
		case int64(0):
		default:
			row.Base = v[k+n+1 : k+n+1+n]
		}
	}
	return row
}

// Clear deletes the notes seen. In the transaction that has collected all there are it empties the outbox, which
// does not look at each of them.
func (e *engine) Clear(ctx context.Context, q dialect.Querier, n dialect.Notes) error {
	from := "DELETE FROM " + outbox(n.Table.ID)
	if k, ok := q.(*quickConn); ok && k.whole[n.Table.ID] > 0 && k.whole[n.Table.ID] == n.Count {
		delete(k.whole, n.Table.ID)
		res, err := k.ExecContext(ctx, from)
		if err == nil {
			var gone int64
			if gone, err = res.RowsAffected(); err == nil && gone != n.Count {
				err = fmt.Errorf("%d notes were cleared of %d that were collected", gone, n.Count)
			}
		}
		if err != nil {
			return fmt.Errorf("clear %s: %w", n.Table.Name, err)
		}
		return nil
	}
	for _, r := range n.Ranges {
		if _, err := q.ExecContext(ctx, from+" WHERE id BETWEEN ? AND ?", r[0], r[1]); err != nil {
			return fmt.Errorf("clear %s: %w", n.Table.Name, err)
		}
	}
	return nil
}

// Touch notes keys as if their rows had changed.
func (e *engine) Touch(ctx context.Context, q dialect.Querier, t *dialect.Table, keys [][]any) error {
	tb, err := e.info(ctx, q, t)
	if err != nil {
		return fmt.Errorf("touch: %w", err)
	}
	cols := columns("k", len(tb.Key))
	if keys == nil {
		_, err = q.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM main.%s t", outbox(t.ID), cols, tb.key("t", ", ", plain), quote(t.Name)))
	}
	query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", outbox(t.ID), cols, repeat("?", len(tb.Key)))
	for _, key := range keys {
		if err != nil {
			break
		}
		if len(key) != len(tb.Key) {
			return fmt.Errorf("touch %s: %w: %d key values for %d key columns", t.Name, dialect.ErrSchemaMismatch, len(key), len(tb.Key))
		}
		_, err = q.ExecContext(ctx, query, key...)
	}
	if err != nil {
		return fmt.Errorf("touch %s: %w", t.Name, err)
	}
	return nil
}

// Cascaded tells by the notes that have come since. SQLite has one writer, so they are all the transaction's own.
func (e *engine) Cascaded(ctx context.Context, q dialect.Querier, tables []*dialect.Table) (func(func(*dialect.Table, dialect.Row) error) error, error) {
	type watched struct {
		t    *dialect.Table
		tb   *table
		last int64 // note before
	}
	var list []watched
	for _, t := range tables {
		if t.ID == 0 || t.Refusal != "" {
			continue
		}
		w := watched{t: t}
		var err error
		if w.tb, err = e.info(ctx, q, t); err == nil && w.tb.cascaded {
			err = each(ctx, q, "SELECT coalesce(max(id), 0) FROM "+outbox(t.ID), []any{&w.last}, func() error { return nil })
			list = append(list, w)
		}
		if err != nil {
			return nil, fmt.Errorf("cascaded: %w", err)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return func(emit func(*dialect.Table, dialect.Row) error) error {
		for _, w := range list {
			err := e.emitNoted(ctx, q, w.tb, w.tb.collectSQL(w.t.ID, false), []any{w.last + 1, int64(math.MaxInt64)}, false, func(r dialect.Row) error { return emit(w.t, r) })
			if err != nil {
				return fmt.Errorf("cascaded %s: %w", w.t.Name, err)
			}
		}
		return nil
	}, nil
}
