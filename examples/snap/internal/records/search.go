package records

import (
	"errors"
	"fmt"
	"strings"
)

// Filter is the condition of a search. The zero Filter passes all rows.
type Filter struct {
	Text  string // for people
	where []string
	args  []any
}

func (f Filter) conditions() ([]string, []any) {
	return append([]string(nil), f.where...), append([]any(nil), f.args...)
}

// ConditionHelp tells how to write the condition of a column.
const ConditionHelp = `text contains it, a number equals it · = <> < <= > >= value · 5..9 · ~part · NULL · NOT NULL · empty: any`

// SearchText finds the rows that have the text in any column.
func (t *Table) SearchText(text string) (Filter, error) {
	if text == "" {
		return Filter{}, errors.New("type what to search for")
	}
	f := Filter{Text: fmt.Sprintf("%q in any column", text)}
	var any []string
	for _, c := range t.Columns {
		any, f.args = append(any, t.like(c)), append(f.args, pattern(text))
	}
	f.where = []string{"(" + strings.Join(any, " OR ") + ")"}
	return f, nil
}

// SearchColumns finds the rows that meet all conditions, one text for each column.
func (t *Table) SearchColumns(texts []string) (Filter, error) {
	var f Filter
	var said []string
	for i, c := range t.Columns {
		text := strings.TrimSpace(texts[i])
		if text == "" {
			continue
		}
		where, args, err := t.condition(c, text)
		if err != nil {
			return f, fmt.Errorf("%s: %w", c.Name, err)
		}
		f.where, f.args = append(f.where, where), append(f.args, args...)
		said = append(said, c.Name+" "+text)
	}
	if len(said) == 0 {
		return f, errors.New("type a condition for at least one column")
	}
	f.Text = strings.Join(said, " and ")
	return f, nil
}

// CheckCondition reports what is wrong with the condition of a column, or nil.
func (t *Table) CheckCondition(c Column, text string) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	_, _, err := t.condition(c, text)
	return err
}

func (t *Table) condition(c Column, text string) (string, []any, error) {
	name := t.dialect.quote(c.Name)
	switch strings.ToUpper(text) {
	case "NULL":
		return name + " IS NULL", nil, nil
	case "NOT NULL":
		return name + " IS NOT NULL", nil, nil
	}
	if part, ok := strings.CutPrefix(text, "~"); ok {
		return t.like(c), []any{pattern(strings.TrimSpace(part))}, nil
	}
	for _, op := range []string{"<=", ">=", "<>", "!=", "<", ">", "="} {
		if rest, ok := strings.CutPrefix(text, op); ok {
			v, err := t.operand(c, rest)
			return name + " " + op + " ?", []any{v}, err
		}
	}
	if from, to, ok := strings.Cut(text, ".."); ok && c.domain.kind != textKind {
		low, err := t.operand(c, from)
		high, err2 := t.operand(c, to)
		return name + " BETWEEN ? AND ?", []any{low, high}, errors.Join(err, err2)
	}
	if c.domain.kind == textKind || c.domain.kind == anyKind || c.domain.kind == jsonKind {
		plain, _ := unquote(text)
		return t.like(c), []any{pattern(plain)}, nil
	}
	v, err := t.operand(c, text)
	return name + " = ?", []any{v}, err
}

// operand reads the value of a comparison. Length limits do not bind a search.
func (t *Table) operand(c Column, text string) (any, error) {
	c.Null, c.domain.runes, c.domain.bytes = false, 0, 0
	v, err := c.Parse(strings.TrimSpace(text))
	if err == nil && !v.Given {
		err = errors.New("a value is missing behind the comparison")
	}
	return v.V, err
}

func (t *Table) like(c Column) string { return t.dialect.asText(c.Name) + " LIKE ? ESCAPE '!'" }

func pattern(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}
