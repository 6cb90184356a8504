package records

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb/internal/sqlclass"
)

// sample is how many rows of a result are read before the widths of its columns are fixed.
const sample = 500

// widest is the most that a column of a printed table takes.
const widest = 60

var yieldsRows = regexp.MustCompile(`(?is)^\s*(select|with|values|table|show|explain|describe|desc|pragma|check|analyze)\b|\breturning\b`)

var changesRows = regexp.MustCompile(`(?is)^\s*(with\b.*\)\s*)?(insert|update|delete|replace|load)\b`)

var returning = regexp.MustCompile(`(?i)\breturning\b`)

// statement returns the only statement of a text.
func (s *Store) statement(text string) (string, error) {
	class := sqlclass.MySQL
	if s.dialect == SQLite {
		class = sqlclass.SQLite
	}
	list, err := sqlclass.Split(class, text)
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", errors.New("there is no statement in the SQL")
	case len(list) > 1:
		return "", fmt.Errorf("%d statements, but one runs at a time", len(list))
	}
	return list[0].SQL, nil
}

// Run executes one statement and prints its rows as a table, or how many it changed.
func (s *Store) Run(ctx context.Context, w io.Writer, query string) error {
	query, err := s.statement(query)
	if err != nil {
		return err
	}
	if !yieldsRows.MatchString(query) || changesRows.MatchString(query) && !returning.MatchString(query) {
		res, err := s.db.ExecContext(ctx, query)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		said := "done"
		if changesRows.MatchString(query) {
			said = Rows(n, "changed")
		}
		_, err = fmt.Fprintln(w, said)
		return err
	}
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	p := printer{w: w, names: names}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		texts := make([]string, len(names))
		for i, v := range values {
			texts[i] = Show(plain(v, types[i].DatabaseTypeName()))
		}
		p.add(texts)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	p.flush()
	if p.err == nil {
		_, p.err = fmt.Fprintln(w, Rows(p.n, ""))
	}
	return p.err
}

// plain undoes what a driver makes of a value of a declared type.
func plain(v any, declared string) any {
	switch v := v.(type) {
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
	case time.Time:
		if strings.EqualFold(declared, "DATE") {
			return v.Format(time.DateOnly)
		}
		return v.Format("2006-01-02 15:04:05.999999")
	}
	return v
}

// PrintTable prints rows under names, as Run does.
func PrintTable(w io.Writer, names []string, rows [][]string) error {
	p := printer{w: w, names: names}
	for _, r := range rows {
		p.add(r)
	}
	p.flush()
	return p.err
}

// Rows says how many rows there were: "1 row changed".
func Rows(n int64, verb string) string {
	word := "rows"
	if n == 1 {
		word = "row"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", n, word, verb))
}

// printer aligns the columns of any number of rows while it holds only the first few.
type printer struct {
	w      io.Writer
	names  []string
	held   [][]string
	widths []int
	n      int64
	err    error
}

func (p *printer) add(row []string) {
	p.n++
	if p.widths != nil {
		p.line(row, " | ", " ")
		return
	}
	if p.held = append(p.held, row); len(p.held) == sample {
		p.flush()
	}
}

func (p *printer) flush() {
	if p.widths != nil {
		return
	}
	p.widths = make([]int, len(p.names))
	for _, row := range append([][]string{p.names}, p.held...) {
		for i, s := range row {
			p.widths[i] = min(max(p.widths[i], lipgloss.Width(s)), widest)
		}
	}
	p.line(p.names, " | ", " ")
	p.line(make([]string, len(p.names)), "-+-", "-")
	for _, row := range p.held {
		p.line(row, " | ", " ")
	}
	p.held = nil
}

func (p *printer) line(row []string, separator, fill string) {
	cells := make([]string, len(row))
	for i, s := range row {
		cells[i] = s + strings.Repeat(fill, max(p.widths[i]-lipgloss.Width(s), 0))
	}
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(strings.Join(cells, separator), " "))
	}
}
