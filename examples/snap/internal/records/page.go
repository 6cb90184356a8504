package records

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// countLimit is how many rows are counted for "of 1,234" before it says "more than".
const countLimit = 100_000

// View is what a list shows: the rows of a table that pass a filter, in the order of the key.
type View struct {
	Table  *Table
	Filter Filter
}

// Page is a part of a View. It is immutable.
type Page struct {
	Rows  []Row
	First int64 // number of the first row, from 1; 0 if it is not known
	Total int64 // rows in the view
	Over  bool  // Total is only a lower limit: there are more
	More  bool  // rows follow
	Less  bool  // rows precede

	view View
}

// First returns the first n rows.
func (s *Store) First(ctx context.Context, v View, n int) (Page, error) {
	total, over, err := s.count(ctx, v)
	if err != nil {
		return Page{}, err
	}
	p := Page{view: v, First: 1, Total: total, Over: over}
	p.Rows, p.More, err = s.seek(ctx, v, nil, false, 0, n)
	return p, err
}

// Last returns the last n rows.
func (s *Store) Last(ctx context.Context, v View, n int) (Page, error) {
	total, over, err := s.count(ctx, v)
	if err != nil {
		return Page{}, err
	}
	if len(v.Table.Key) == 0 {
		return s.keyless(ctx, Page{view: v, Total: total, Over: over}, max(total-int64(n), 0), n)
	}
	p := Page{view: v, Total: total, Over: over}
	if p.Rows, p.Less, err = s.seek(ctx, v, nil, true, 0, n); err != nil {
		return p, err
	}
	if !over {
		p.First = max(total-int64(len(p.Rows))+1, 1)
	}
	return p, nil
}

// Next returns the n rows after the page; the page itself if there are none.
func (s *Store) Next(ctx context.Context, p Page, n int) (Page, error) {
	if !p.More || len(p.Rows) == 0 {
		return p, nil
	}
	next := p
	next.Less = true
	if p.First > 0 {
		next.First = p.First + int64(len(p.Rows))
	}
	var err error
	next.Rows, next.More, err = s.seek(ctx, p.view, p.Rows[len(p.Rows)-1], false, next.First-1, n)
	if err == nil && len(next.Rows) == 0 {
		p.More = false // they were deleted meanwhile
		return p, nil
	}
	next.counted()
	return next, err
}

// Previous returns the n rows before the page; the page itself if there are none.
func (s *Store) Previous(ctx context.Context, p Page, n int) (Page, error) {
	if !p.Less || len(p.Rows) == 0 {
		return p, nil
	}
	if len(p.view.Table.Key) == 0 {
		return s.keyless(ctx, p, max(p.First-1-int64(n), 0), n)
	}
	previous := p
	previous.More = true
	var err error
	previous.Rows, previous.Less, err = s.seek(ctx, p.view, p.Rows[0], true, 0, n)
	if err != nil {
		return p, err
	}
	if len(previous.Rows) < n || !previous.Less {
		return s.First(ctx, p.view, n) // a full page, and a true number again
	}
	previous.First = max(p.First-int64(len(previous.Rows)), 0)
	return previous, nil
}

// Again reads the page once more, with n rows from the same first row on.
func (s *Store) Again(ctx context.Context, p Page, n int) (Page, error) {
	if !p.Less || len(p.Rows) == 0 {
		return s.First(ctx, p.view, n)
	}
	total, over, err := s.count(ctx, p.view)
	if err != nil {
		return p, err
	}
	again := p
	again.Total, again.Over = total, over
	if len(p.view.Table.Key) == 0 {
		return s.keyless(ctx, again, p.First-1, n)
	}
	before, _, err := s.seek(ctx, p.view, p.Rows[0], true, 0, 1)
	if err != nil || len(before) == 0 {
		return s.First(ctx, p.view, n)
	}
	again.Rows, again.More, err = s.seek(ctx, p.view, before[0], false, 0, n)
	if err == nil && len(again.Rows) == 0 {
		return s.Last(ctx, p.view, n)
	}
	again.counted()
	return again, err
}

func (s *Store) keyless(ctx context.Context, p Page, offset int64, n int) (Page, error) {
	var err error
	p.Rows, p.More, err = s.seek(ctx, p.view, nil, false, offset, n)
	p.First, p.Less = offset+1, offset > 0
	return p, err
}

// counted lifts a total that rows have outgrown since it was counted.
func (p *Page) counted() {
	if end := p.First + int64(len(p.Rows)) - 1; !p.Over && end > p.Total {
		p.Total = end
	}
}

// seek reads at most n rows behind the row from, or before it, in ascending order, and whether
// there are more beyond. A table without a key is read by offset.
func (s *Store) seek(ctx context.Context, v View, from Row, back bool, offset int64, n int) ([]Row, bool, error) {
	t := v.Table
	where, args := v.Filter.conditions()
	if from != nil && len(t.Key) > 0 {
		cond, more := t.beyond(from, back)
		where, args = append(where, cond), append(args, more...)
	}
	tail := ""
	if len(where) > 0 {
		tail = " WHERE " + strings.Join(where, " AND ")
	}
	var order []string
	for _, c := range t.KeyColumns() {
		o := t.dialect.quote(c.Name)
		if back {
			o += " DESC"
		}
		order = append(order, o)
	}
	if t.rowid {
		order = []string{"rowid"}
	}
	if len(order) > 0 {
		tail += " ORDER BY " + strings.Join(order, ", ")
	}
	tail += " LIMIT ?"
	args = append(args, n+1)
	if len(t.Key) == 0 {
		tail, args = tail+" OFFSET ?", append(args, offset)
	}
	rows, err := s.rows(ctx, t, tail, args)
	if err != nil {
		return nil, false, err
	}
	more := len(rows) > n
	if more {
		rows = rows[:n]
	}
	if back {
		slices.Reverse(rows)
	}
	return rows, more, nil
}

// beyond is the condition for the keys after (or before) that of the row. It is written out rather than
// compared as one tuple, because MariaDB uses an index only so.
func (t *Table) beyond(row Row, back bool) (string, []any) {
	sign := " > ?"
	if back {
		sign = " < ?"
	}
	var terms []string
	var args []any
	for i, k := range t.Key {
		var term []string
		for _, before := range t.Key[:i] {
			term, args = append(term, t.dialect.quote(t.Columns[before].Name)+" = ?"), append(args, row[before])
		}
		term, args = append(term, t.dialect.quote(t.Columns[k].Name)+sign), append(args, row[k])
		terms = append(terms, strings.Join(term, " AND "))
	}
	return "(" + strings.Join(terms, " OR ") + ")", args
}

func (s *Store) count(ctx context.Context, v View) (int64, bool, error) {
	where, args := v.Filter.conditions()
	query := "SELECT COUNT(*) FROM (SELECT 1 FROM " + v.Table.dialect.quote(v.Table.Name)
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := s.db.QueryContext(ctx, query+" LIMIT ?) AS t", append(args, countLimit+1)...)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	var n int64
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, false, err
		}
	}
	return min(n, countLimit), n > countLimit, rows.Err()
}

// Range says what part of the view the page is: "rows 21 to 40 of 1234".
func (p Page) Range() string {
	if len(p.Rows) == 0 {
		return "no rows"
	}
	total := fmt.Sprint(p.Total)
	if p.Over {
		total = "more than " + total
	}
	if p.First == 0 && !p.More {
		return fmt.Sprintf("the last %s of %s", Rows(int64(len(p.Rows)), ""), total)
	}
	if p.First == 0 {
		return fmt.Sprintf("%s of %s", Rows(int64(len(p.Rows)), ""), total)
	}
	return fmt.Sprintf("rows %d to %d of %s", p.First, p.First+int64(len(p.Rows))-1, total)
}
