package apply

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Scan reads a page of a table. emit may use q.
func (a *Applier) Scan(ctx context.Context, q dialect.Querier, dt *dialect.Table, after []any, limit int, emit func(values []any) error) (more bool, err error) {
	t, err := a.current.Table(ctx, q, dt)
	if err != nil {
		return false, err
	}
	if after != nil {
		if err := catalog.CheckKey(t, after); err != nil {
			return false, fmt.Errorf("scan: %w", err)
		}
	}
	r := &codec.Reader{}
	r.AddColumns("t", t.StoredColumns)
	var s *codec.Spool
	err = a.sessions.Neutral(ctx, q, func(q dialect.Querier) (err error) {
		s, err = r.Collect(ctx, q, t.PageQuery(r.Exprs, after, limit))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("scan %s: %w", t.SQLName(), lang.Wrap(err))
	}
	defer s.Close()
	if err := s.Each(emit); err != nil {
		return false, err
	}
	return s.Rows == limit, nil
}

// Lookup reads and locks rows by key. Each key that is not just an integer is a SELECT of its own in
// one UNION, with its number: only the server knows which keys are the same by its collations.
func (a *Applier) Lookup(ctx context.Context, q dialect.Querier, dt *dialect.Table, keys [][]any, emit func(dialect.Row) error) error {
	t, err := a.current.Table(ctx, q, dt)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := catalog.CheckKey(t, k); err != nil {
			return fmt.Errorf("look up: %w", err)
		}
	}
	most := maxLookup
	if t.IntegerKey() {
		most = maxLookupIntegers
	}
	for len(keys) > 0 {
		part := keys[:min(most, len(keys))]
		keys = keys[len(part):]
		if err := a.lookup(ctx, q, t, part, emit); err != nil {
			return fmt.Errorf("look up %s: %w", t.SQLName(), lang.Wrap(err))
		}
	}
	return nil
}

func (a *Applier) lookup(ctx context.Context, q dialect.Querier, t *catalog.Table, keys [][]any, emit func(dialect.Row) error) error {
	r := &codec.Reader{}
	r.Add("", codec.Flag)
	r.AddColumns("t", t.StoredColumns)
	columns := strings.Join(r.Exprs[1:], ", ")
	query, ok := byIntegers(t, columns, keys)
	if !ok {
		query = oneByOne(t, columns, keys)
	}
	var s *codec.Spool
	err := a.sessions.Neutral(ctx, q, func(q dialect.Querier) (err error) {
		s, err = r.Collect(ctx, q, query)
		return err
	})
	if err != nil {
		return err
	}
	defer s.Close()
	answers := dialect.Answers{Keys: keys, Emit: emit}
	err = s.Each(func(v []any) error {
		return answers.Found(int(v[0].(int64)), dialect.Row{Key: t.OwnKey(v[1:]), Values: v[1:]})
	})
	if err != nil {
		return err
	}
	return answers.End()
}

// oneByOne is the query of lookup for any keys.
func oneByOne(t *catalog.Table, columns string, keys [][]any) string {
	var b []byte
	for i, k := range keys {
		if i > 0 {
			b = append(b, " UNION ALL "...)
		}
		b = append(b, fmt.Sprintf("(SELECT %d, %s FROM %s t WHERE ", i, columns, t.SQLName())...)
		b = catalog.AppendKey(b, t, k)
		b = append(b, " FOR UPDATE)"...)
	}
	return string(b)
}

// byIntegers is the query of lookup for keys that are one integer each. Joined with a list
// the server looks up each of them, as in Clear, and has one SELECT to prepare instead of one for each.
func byIntegers(t *catalog.Table, columns string, keys [][]any) (query string, ok bool) {
	if !t.IntegerKey() {
		return "", false
	}
	c := t.KeyColumns()[0]
	typ := "BIGINT"
	if strings.Contains(c.Type, "unsigned") {
		typ += " UNSIGNED"
	}
	b := []byte("SELECT d.i-1, " + columns + " FROM JSON_TABLE('[")
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		switch v := k[0].(type) {
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case uint64:
			b = strconv.AppendUint(b, v, 10)
		default:
			return "", false
		}
	}
	return string(b) + "]', '$[*]' COLUMNS (i FOR ORDINALITY, k " + typ + " PATH '$')) d STRAIGHT_JOIN " + t.SQLName() +
		" t FORCE INDEX (PRIMARY) ON t." + lang.Ident(c.Name) + "=d.k ORDER BY d.i FOR UPDATE", true
}
