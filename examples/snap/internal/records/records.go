// Package records lists, finds and changes the rows of tables whose shape is known
// only at run time: it reads the catalogue, checks what a person typed, writes the SQL and
// pages through results. It draws nothing, so that a screen and plain lines share it.
package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Errors of a lookup or a change.
var (
	// ErrNoRow: no row has that key.
	ErrNoRow = errors.New("no row has this key")
	// ErrChanged: the row is no longer as it was shown, so nothing was written.
	ErrChanged = errors.New("the row was changed or deleted meanwhile; nothing was written")
	// ErrNoKey: the table has no primary key, so one row of it cannot be named.
	ErrNoKey = errors.New("the table has no primary key, so one row of it cannot be told from another")
	// ErrNothing: the form changes nothing.
	ErrNothing = errors.New("nothing to change")
)

// DB is what this package needs of a database; *ddb.Cluster and *sql.DB have it.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Dialect is the kind of SQL that the database speaks.
type Dialect int

// The dialects.
const (
	SQLite Dialect = iota
	MariaDB
)

// Store is the tables of one database. It is safe for concurrent use.
type Store struct {
	db      DB
	dialect Dialect
}

// New returns the tables of db.
func New(db DB, dialect Dialect) *Store { return &Store{db, dialect} }

func (d Dialect) quote(name string) string {
	if d == MariaDB {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// same is the comparison that finds NULL equal to NULL.
func (d Dialect) same() string {
	if d == MariaDB {
		return " <=> ?"
	}
	return " IS ?"
}

// output is the expression that reads a column. On SQLite it hides the declared type,
// from which the driver would take licence to turn text into times and booleans.
func (d Dialect) output(name string) string {
	if d == SQLite {
		return "+" + d.quote(name)
	}
	return d.quote(name)
}

func (d Dialect) asText(name string) string {
	if d == MariaDB {
		return "CAST(" + d.quote(name) + " AS CHAR)"
	}
	return "CAST(" + d.quote(name) + " AS TEXT)"
}

// Table is one table of the user's.
type Table struct {
	Name    string
	Columns []Column
	Key     []int // the primary key, as indexes into Columns, in key order

	dialect Dialect
	rowid   bool // without a primary key, but SQLite keeps an order of its own
}

// Row is one row: a value for each of Table.Columns.
type Row []any

// KeyColumns returns the columns of the primary key.
func (t *Table) KeyColumns() []Column {
	list := make([]Column, len(t.Key))
	for i, k := range t.Key {
		list[i] = t.Columns[k]
	}
	return list
}

// KeyText names a row by its key, for people: "id 7".
func (t *Table) KeyText(row Row) string {
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = t.Columns[k].Name + " " + Show(row[k])
	}
	return strings.Join(parts, ", ")
}

// Find returns the row with the key, given as typed into the fields of KeyFields.
func (s *Store) Find(ctx context.Context, t *Table, texts []string) (Row, error) {
	if len(t.Key) == 0 {
		return nil, ErrNoKey
	}
	where, args := make([]string, len(t.Key)), make([]any, len(t.Key))
	for i, c := range t.KeyColumns() {
		v, err := c.Parse(texts[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		where[i], args[i] = t.dialect.quote(c.Name)+" = ?", v.V
	}
	return s.one(ctx, t, where, args)
}

// Reload reads the row again.
func (s *Store) Reload(ctx context.Context, t *Table, row Row) (Row, error) {
	where, args := t.whereKey(row)
	return s.one(ctx, t, where, args)
}

func (t *Table) whereKey(row Row) (where []string, args []any) {
	for _, k := range t.Key {
		where, args = append(where, t.dialect.quote(t.Columns[k].Name)+" = ?"), append(args, row[k])
	}
	return where, args
}

func (s *Store) one(ctx context.Context, t *Table, where []string, args []any) (Row, error) {
	list, err := s.rows(ctx, t, " WHERE "+strings.Join(where, " AND ")+" LIMIT 1", args)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNoRow
	}
	return list[0], nil
}

// rows reads rows; tail is what follows the table in the statement, and limits how many they are.
func (s *Store) rows(ctx context.Context, t *Table, tail string, args []any) ([]Row, error) {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = t.dialect.output(c.Name)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+strings.Join(names, ", ")+" FROM "+t.dialect.quote(t.Name)+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Row
	for rows.Next() {
		row, into := make(Row, len(t.Columns)), make([]any, len(t.Columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, c := range t.Columns {
			row[i] = c.own(row[i])
		}
		list = append(list, row)
	}
	return list, rows.Err()
}
