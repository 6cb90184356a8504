package records

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Field is one line of a form.
type Field struct {
	Column  Column
	Initial string // what the form opens with
	Empty   string // what an empty text stands for, to be shown in its place
	hold    bool   // of an existing row: an empty text is NULL, not the default
}

// InsertFields returns the form of a new row.
func (t *Table) InsertFields() []Field {
	var list []Field
	for _, c := range t.Columns {
		if !c.Generated {
			list = append(list, Field{Column: c})
		}
	}
	return list
}

// longestInput is how many bytes of text an input can sensibly hold. What is longer is left as it is.
const longestInput = 16 << 10

// UpdateFields returns the form of an existing row, filled in, without what is computed or too long to type. A
// NULL is an empty text, to which nobody can type by mistake.
func (t *Table) UpdateFields(row Row) []Field {
	var list []Field
	for i, c := range t.Columns {
		text := Format(row[i])
		if row[i] == nil {
			text = ""
		}
		if !c.Generated && len(text) <= longestInput {
			list = append(list, Field{c, text, "NULL", true})
		}
	}
	return list
}

// KeyFields returns the form that asks for a key.
func (t *Table) KeyFields() []Field {
	var list []Field
	for _, c := range t.KeyColumns() {
		c.Auto, c.Default = false, ""
		list = append(list, Field{Column: c})
	}
	return list
}

// Check reports why the text cannot stand in the field, or nil.
func (f Field) Check(text string) error {
	if f.hold && text == f.Initial {
		return nil // what the database accepted once
	}
	return f.column().Check(text)
}

// Describe tells a person what the field takes.
func (f Field) Describe() string { return f.column().Describe() }

// column is what the field's column demands here: in a row that exists, nothing is handed out or defaulted.
func (f Field) column() Column {
	c := f.Column
	if f.hold {
		c.Auto, c.Default = false, ""
	}
	return c
}

// checkAll names the first field that is wrong.
func checkAll(fields []Field, texts []string) error {
	if len(fields) != len(texts) {
		return fmt.Errorf("%d values for %d fields", len(texts), len(fields))
	}
	for i, f := range fields {
		if err := f.Check(texts[i]); err != nil {
			return fmt.Errorf("%s: %w", f.Column.Name, err)
		}
	}
	return nil
}

// Insert adds a row from the texts of InsertFields and returns its name for people, such as
// "id 7", or "" if the table has no key.
func (s *Store) Insert(ctx context.Context, t *Table, texts []string) (string, error) {
	fields := t.InsertFields()
	if err := checkAll(fields, texts); err != nil {
		return "", err
	}
	var names, marks []string
	var args []any
	given := make(map[string]any)
	for i, f := range fields {
		v, err := f.Column.Parse(texts[i])
		if err != nil {
			return "", err
		}
		if v.Given {
			names, marks, args = append(names, t.dialect.quote(f.Column.Name)), append(marks, "?"), append(args, v.V)
			given[f.Column.Name] = v.V
		}
	}
	query := "INSERT INTO " + t.dialect.quote(t.Name) + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
	if len(names) == 0 && t.dialect == SQLite {
		query = "INSERT INTO " + t.dialect.quote(t.Name) + " DEFAULT VALUES"
	}
	res, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return "", t.explain(err)
	}
	var key []string
	for _, c := range t.KeyColumns() {
		v, ok := given[c.Name]
		if id, err := res.LastInsertId(); !ok && c.Auto && err == nil {
			v, ok = id, true
		}
		if ok {
			key = append(key, c.Name+" "+Show(v))
		}
	}
	return strings.Join(key, ", "), nil
}

// Change is one column of an update.
type Change struct {
	Column   Column
	Old, New any
}

// Changes returns what the texts of UpdateFields change in the row, or ErrNothing.
func (t *Table) Changes(row Row, texts []string) ([]Change, error) {
	fields := t.UpdateFields(row)
	if err := checkAll(fields, texts); err != nil {
		return nil, err
	}
	var list []Change
	for i, f := range fields {
		if texts[i] == f.Initial {
			continue
		}
		v, err := f.Column.Parse(texts[i])
		if err != nil {
			return nil, err
		}
		old := row[t.index(f.Column.Name)]
		if Format(v.V) != Format(old) {
			list = append(list, Change{f.Column, old, v.V})
		}
	}
	if len(list) == 0 {
		return nil, ErrNothing
	}
	return list, nil
}

func (t *Table) index(name string) int {
	for i, c := range t.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// Update writes the changes to the row, provided that these columns still are as they were shown.
func (s *Store) Update(ctx context.Context, t *Table, row Row, changes []Change) error {
	if len(t.Key) == 0 {
		return ErrNoKey
	}
	var set []string
	var args []any
	for _, c := range changes {
		set, args = append(set, t.dialect.quote(c.Column.Name)+" = ?"), append(args, c.New)
	}
	where, more := t.whereKey(row)
	for _, c := range changes {
		if c.Column.comparable(t.dialect) {
			where, more = append(where, t.dialect.quote(c.Column.Name)+t.dialect.same()), append(more, c.Old)
		}
	}
	res, err := s.db.ExecContext(ctx, "UPDATE "+t.dialect.quote(t.Name)+" SET "+strings.Join(set, ", ")+" WHERE "+strings.Join(where, " AND "), append(args, more...)...)
	if err != nil {
		return t.explain(err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return s.unaffected(ctx, t, row)
}

// unaffected tells a row that is gone or changed from one to which the update made no difference
// (MariaDB counts only rows that end up different).
func (s *Store) unaffected(ctx context.Context, t *Table, row Row) error {
	now, err := s.Reload(ctx, t, row)
	if errors.Is(err, ErrNoRow) {
		return ErrChanged
	}
	if err != nil {
		return err
	}
	for i := range row {
		if Format(now[i]) != Format(row[i]) {
			return ErrChanged
		}
	}
	return ErrNothing
}

// Delete removes the row, provided that it still is as it was shown.
func (s *Store) Delete(ctx context.Context, t *Table, row Row) error {
	if len(t.Key) == 0 {
		return ErrNoKey
	}
	where, args := t.whereKey(row)
	for i, c := range t.Columns {
		if !c.Key && c.comparable(t.dialect) {
			where, args = append(where, t.dialect.quote(c.Name)+t.dialect.same()), append(args, row[i])
		}
	}
	res, err := s.db.ExecContext(ctx, "DELETE FROM "+t.dialect.quote(t.Name)+" WHERE "+strings.Join(where, " AND "), args...)
	if err != nil {
		return t.explain(err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrChanged
}

// comparable reports whether a value that was read compares equal to itself in SQL. A FLOAT of
// MariaDB is read as a rounded decimal, and a BIT as a number.
func (c Column) comparable(d Dialect) bool {
	return d == SQLite || c.domain.kind != floatKind && c.domain.kind != bitsKind && c.domain.kind != anyKind
}
