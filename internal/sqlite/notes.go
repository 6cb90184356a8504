package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// Ends returns, for each of the tables, the id of the last note in its outbox, 0 if there is none.
func (e *engine) Ends(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]int64, error) {
	ends := make([]int64, len(tables))
	for from := 0; from < len(tables); from += notedAtOnce {
		part := tables[from:min(from+notedAtOnce, len(tables))]
		err := eachRow(ctx, q, len(part), endsText(q, part), func(v []any) error {
			for i := range part {
				ends[from+i], _ = v[i].(int64)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("last notes: %w", err)
		}
	}
	return ends, nil
}

// endsKey names tables: a part of a slice that nobody changes.
type endsKey struct {
	first **dialect.Table
	n     int
}

// endsText writes the query of Ends, or takes the one that it wrote last for the same tables.
func endsText(q dialect.Querier, tables []*dialect.Table) string {
	k, ok := q.(*quickConn)
	key := endsKey{&tables[0], len(tables)}
	if ok && k.ends[key] != "" {
		return k.ends[key]
	}
	var b strings.Builder
	for i, t := range tables {
		if i == 0 {
			b.WriteString("SELECT ")
		} else {
			b.WriteString(", ")
		}
		if t.ID == 0 || t.Refusal != "" {
			b.WriteString("0")
			continue
		}
		fmt.Fprintf(&b, "coalesce((SELECT max(id) FROM %s), 0)", outbox(t.ID))
	}
	if ok {
		if len(k.ends) >= quickMost {
			clear(k.ends) // of catalogues that are gone
		}
		k.ends[key] = b.String()
	}
	return b.String()
}

// CollectNotes emits every note of a table, not only each row's first, in the order in which they were made:
// the row as it stands now, and in Base as it was before the change that the note tells of. known is false for a
// note without that image. The row's slices are good until emit returns.
func (e *engine) CollectNotes(ctx context.Context, q dialect.Querier, t *dialect.Table, emit func(id int64, known bool, r dialect.Row) error) (notes dialect.Notes, err error) {
	notes.Table = t
	tb, err := e.info(ctx, q, t)
	if err != nil {
		return notes, fmt.Errorf("collect: %w", err)
	}
	k, n := len(tb.Key), len(tb.Stored)
	var first, id int64
	err = eachRow(ctx, q, k+n+1+n+1, notesText(q, tb, t.ID), func(v []any) error {
		id = v[len(v)-1].(int64)
		if notes.Count++; notes.Count == 1 {
			first = id
		}
		known := v[k+n] != nil
		return emit(id, known, tb.noted(v, true))
	})
	if err != nil {
		return notes, fmt.Errorf("collect %s: %w", t.Name, err)
	}
	if notes.Count > 0 {
		notes.Ranges = [][2]int64{{first, id}}
		remember(q, notes)
	}
	return notes, nil
}

// notesSQL joins the notes with their rows, in the columns of collectSQL and the id.
func (tb *table) notesSQL(id int64) string {
	return fmt.Sprintf("SELECT %s, %s, o.existed, %s, o.id FROM %s o LEFT JOIN main.%s t ON %s ORDER BY o.id",
		columns("o.k", len(tb.Key)), tb.read("t"), columns("o.o", len(tb.Stored)), outbox(id), quote(tb.Name), tb.onNote())
}

func notesText(q dialect.Querier, tb *table, id int64) string {
	k, ok := q.(*quickConn)
	if !ok {
		return tb.notesSQL(id)
	}
	return k.text(collectKey{tb: tb, id: id, form: everyNote}, func() string { return tb.notesSQL(id) })
}
