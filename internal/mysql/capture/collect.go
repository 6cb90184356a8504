package capture

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// clearChunk is how many notes one DELETE names.
const clearChunk = 10000

// notedChunk is how many outboxes one query of Noted asks about.
const notedChunk = 200

// Noted asks about all outboxes at once.
func (c *Capture) Noted(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]*dialect.Table, error) {
	var asked, noted []*dialect.Table
	for _, t := range tables {
		if t.ID != 0 {
			asked = append(asked, t)
		}
	}
	for len(asked) > 0 {
		part := asked[:min(notedChunk, len(asked))]
		asked = asked[len(part):]
		var b strings.Builder
		b.WriteString("SELECT ")
		for i, t := range part {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "EXISTS(SELECT 1 FROM %s)", c.outboxes.Name(t.ID))
		}
		rows, err := lang.Texts(ctx, q, b.String())
		if err != nil {
			return nil, fmt.Errorf("look for notes: %w", lang.Wrap(err))
		}
		for i, t := range part {
			if rows[0][i].String == "1" {
				noted = append(noted, t)
			}
		}
	}
	return noted, nil
}

// Collect reads the notes and the rows that they name. emit may use q.
func (c *Capture) Collect(ctx context.Context, q dialect.Querier, dt *dialect.Table, emit func(dialect.Row) error) (n dialect.Notes, err error) {
	t, err := c.current.Table(ctx, q, dt)
	if err != nil {
		return dialect.Notes{Table: dt}, err
	}
	r, query, at := c.collectQuery(t, "")
	n, err = c.emitNoted(ctx, q, t, r, "", query, at, emit)
	n.Table = dt
	return n, err
}

// collectQuery joins the keys of the notes that the condition selects with their rows, whose values begin at.
func (c *Capture) collectQuery(t *catalog.Table, where string) (r *codec.Reader, query string, at int) {
	r = &codec.Reader{}
	AddKey(r, t, "o")
	r.Add(Present(t), codec.Flag)
	at = r.AddColumns("t", t.StoredColumns)
	return r, "SELECT " + strings.Join(r.Exprs, ", ") + " FROM (SELECT DISTINCT " + KeyNames(t) + " FROM " + c.outboxes.Name(t.ID) + where + ") o LEFT JOIN " +
		t.SQLName() + " t ON " + MatchKey(t, "t", "o"), at
}

// emitNoted emits what the query of r gives for the notes that the condition selects. The row's values begin at.
func (c *Capture) emitNoted(ctx context.Context, q dialect.Querier, t *catalog.Table, r *codec.Reader, where, query string, at int, emit func(dialect.Row) error) (n dialect.Notes, err error) {
	var s *codec.Spool
	err = c.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		if n, err = c.seen(ctx, q, t, where); err != nil || n.Count == 0 {
			return err
		}
		s, err = r.Collect(ctx, q, query)
		return err
	})
	if err == nil && s != nil {
		defer s.Close()
		base := at + len(t.StoredColumns) // whether the row existed, and what it was then
		err = s.Each(func(v []any) error {
			row := dialect.Row{Key: v[:len(t.Key)]}
			if v[len(t.Key)] == int64(1) {
				row.Values = v[at:base]
				row.Key = t.OwnKey(row.Values)
			}
			if len(v) > base && v[base] == int64(1) {
				row.Base = v[base+1:]
			}
			return emit(row)
		})
	}
	if err != nil {
		return n, fmt.Errorf("collect %s: %w", t.SQLName(), lang.Wrap(err))
	}
	return n, nil
}

// CollectImages reads this connection's notes. The first note of a key tells what the
// row was before the transaction.
func (c *Capture) CollectImages(ctx context.Context, q dialect.Querier, dt *dialect.Table, emit func(dialect.Row) error) (n dialect.Notes, err error) {
	t, err := c.current.Table(ctx, q, dt)
	if err != nil {
		return dialect.Notes{Table: dt}, err
	}
	r := &codec.Reader{}
	AddKey(r, t, "o")
	r.Add(Present(t), codec.Flag)
	at := r.AddColumns("t", t.StoredColumns)
	r.Add("o.existed", codec.Flag)
	AddImages(r, t, "o")
	out, mine := c.outboxes.Name(t.ID), " WHERE conn=CONNECTION_ID() AND tx=IFNULL(@ddb_tx, 0)"
	query := "SELECT " + strings.Join(r.Exprs, ", ") + " FROM (SELECT MIN(id) AS id FROM " + out + mine + " GROUP BY " + KeyNames(t) + ") f" +
		" STRAIGHT_JOIN " + out + " o ON o.id=f.id LEFT JOIN " + t.SQLName() + " t ON " + MatchKey(t, "t", "o") + " ORDER BY f.id"
	n, err = c.emitNoted(ctx, q, t, r, mine, query, at, emit)
	n.Table = dt
	return n, err
}

// Clear deletes notes one by one through the primary key, never by a range: on a
// small table, or by outdated statistics, the server may choose to read the whole
// table for a range, and would then wait for another writer's uncommitted note, or
// lock the end of the table, where everybody inserts. Joined with a list of ids it
// can only look up each one, which locks just that record.
func (c *Capture) Clear(ctx context.Context, q dialect.Querier, n dialect.Notes) error {
	if n.Count == 0 {
		return nil
	}
	return c.deleteIDs(ctx, q, c.outboxes.Name(n.Table.ID), n.Ranges)
}

// DropBatches deletes the batches with those ids.
func (c *Capture) DropBatches(ctx context.Context, q dialect.Querier, ids []int64) error {
	ranges := make([][2]int64, len(ids))
	for i, id := range ids {
		ranges[i] = [2]int64{id, id}
	}
	return c.deleteIDs(ctx, q, c.outboxes.server.Own("batches"), ranges)
}

// deleteIDs deletes rows by their ids, see Clear.
func (c *Capture) deleteIDs(ctx context.Context, q dialect.Querier, table string, ranges [][2]int64) error {
	var b []byte
	count := 0
	flush := func() error {
		if count == 0 {
			return nil
		}
		_, err := q.ExecContext(ctx, "DELETE o FROM JSON_TABLE('["+string(b)+"]', '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) d"+
			" STRAIGHT_JOIN "+table+" o FORCE INDEX (PRIMARY) ON o.id=d.id")
		b, count = b[:0], 0
		return err
	}
	for _, r := range ranges {
		for id := r[0]; id <= r[1]; id++ {
			if count > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, id, 10)
			if count++; count == clearChunk {
				if err := flush(); err != nil {
					return fmt.Errorf("delete from %s: %w", table, lang.Wrap(err))
				}
			}
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("delete from %s: %w", table, lang.Wrap(err))
	}
	return nil
}

// Cascaded tells by the notes that have come since. What others note meanwhile is not in the transaction's snapshot, which
// its first look at an outbox makes if it has none yet.
func (c *Capture) Cascaded(ctx context.Context, q dialect.Querier, tables []*dialect.Table) (func(func(*dialect.Table, dialect.Row) error) error, error) {
	type watched struct {
		dt    *dialect.Table
		t     *catalog.Table
		since string // condition
	}
	var list []watched
	for _, dt := range tables {
		if dt.ID == 0 || dt.Refusal != "" {
			continue
		}
		t, err := c.current.Table(ctx, q, dt)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(t.Foreign, func(f catalog.ForeignKey) bool { return catalog.Acts(f.OnDelete) || catalog.Acts(f.OnUpdate) }) {
			continue
		}
		rows, err := lang.Texts(ctx, q, "SELECT COALESCE(MAX(id),0) FROM "+c.outboxes.Name(t.ID))
		if err != nil {
			return nil, fmt.Errorf("cascaded %s: %w", t.SQLName(), lang.Wrap(err))
		}
		list = append(list, watched{dt, t, " WHERE id>" + rows[0][0].String})
	}
	if len(list) == 0 {
		return nil, nil
	}
	return func(emit func(*dialect.Table, dialect.Row) error) error {
		for _, w := range list {
			r, query, at := c.collectQuery(w.t, w.since)
			if _, err := c.emitNoted(ctx, q, w.t, r, w.since, query, at, func(r dialect.Row) error { return emit(w.dt, r) }); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// seen reads the ids of the notes that the condition selects. Mostly they are one run,
// which a glance at its ends and number tells.
func (c *Capture) seen(ctx context.Context, q dialect.Querier, t *catalog.Table, where string) (dialect.Notes, error) {
	n := dialect.Notes{Table: t.Table}
	rows, err := lang.Texts(ctx, q, "SELECT MIN(id), MAX(id), COUNT(*) FROM "+c.outboxes.Name(t.ID)+where)
	if err != nil {
		return n, err
	}
	first, _ := strconv.ParseInt(rows[0][0].String, 10, 64)
	last, _ := strconv.ParseInt(rows[0][1].String, 10, 64)
	n.Count, _ = strconv.ParseInt(rows[0][2].String, 10, 64)
	switch n.Count {
	case 0:
		return n, nil
	case last - first + 1:
		n.Ranges = [][2]int64{{first, last}}
		return n, nil
	}
	ids, err := q.QueryContext(ctx, "SELECT id FROM "+c.outboxes.Name(t.ID)+where+" ORDER BY id")
	if err != nil {
		return n, err
	}
	defer ids.Close()
	for ids.Next() {
		var id int64
		if err := ids.Scan(&id); err != nil {
			return n, err
		}
		if k := len(n.Ranges); k > 0 && n.Ranges[k-1][1] == id-1 {
			n.Ranges[k-1][1] = id
		} else {
			n.Ranges = append(n.Ranges, [2]int64{id, id})
		}
	}
	return n, ids.Err()
}
