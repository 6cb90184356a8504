package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// pageQuery reads rows in key order from behind the key after.
func (t *table) pageQuery(exprs []string, after []any, limit int) string {
	key := t.keyColumns()
	names := make([]string, len(key))
	for i, c := range key {
		names[i] = "t." + ident(c.name)
	}
	b := []byte("SELECT " + strings.Join(exprs, ", ") + " FROM " + t.sqlName() + " t FORCE INDEX (PRIMARY)")
	if after != nil {
		// (a, b) > (x, y) written out: as row values it would not use the index.
		b = append(b, " WHERE "...)
		for n := len(key); n > 0; n-- {
			if n < len(key) {
				b = append(b, " OR "...)
			}
			b = append(b, '(')
			for i := range n {
				op := "="
				if i == n-1 {
					op = ">"
				}
				if i > 0 {
					b = append(b, " AND "...)
				}
				b = append(b, key[i].compare()...)
				b = append(b, op...)
				b = key[i].appendLiteral(b, after[i])
			}
			b = append(b, ')')
		}
	}
	b = append(b, " ORDER BY "+strings.Join(names, ", ")+" LIMIT "...)
	return string(strconv.AppendInt(b, int64(limit), 10))
}

// Scan reads a page of a table. emit may use q.
func (e *engine) Scan(ctx context.Context, q dialect.Querier, dt *dialect.Table, after []any, limit int, emit func(values []any) error) (more bool, err error) {
	t, err := e.info(ctx, q, dt)
	if err != nil {
		return false, err
	}
	if after != nil {
		if err := checkKey(t, after); err != nil {
			return false, fmt.Errorf("mysql: scan: %w", err)
		}
	}
	r := &rowReader{t: t}
	r.stored("t")
	var s *spool
	err = e.neutral(ctx, q, func(q dialect.Querier) (err error) {
		s, err = collect(ctx, q, t.pageQuery(r.exprs, after, limit), r.cells)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("mysql: scan %s: %w", t.sqlName(), wrap(err))
	}
	defer s.close()
	if err := s.each(len(r.cells), emit); err != nil {
		return false, err
	}
	return s.rows == limit, nil
}

// Lookup reads and locks rows by key. Each key that is not just an integer is a SELECT of its own in
// one UNION, with its number: only the server knows which keys are the same by its collations.
func (e *engine) Lookup(ctx context.Context, q dialect.Querier, dt *dialect.Table, keys [][]any, emit func(dialect.Row) error) error {
	t, err := e.info(ctx, q, dt)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := checkKey(t, k); err != nil {
			return fmt.Errorf("mysql: look up: %w", err)
		}
	}
	most := maxLookup
	if t.integerKey() {
		most = maxLookupIntegers
	}
	for len(keys) > 0 {
		part := keys[:min(most, len(keys))]
		keys = keys[len(part):]
		if err := e.lookup(ctx, q, t, part, emit); err != nil {
			return fmt.Errorf("mysql: look up %s: %w", t.sqlName(), wrap(err))
		}
	}
	return nil
}

func (e *engine) lookup(ctx context.Context, q dialect.Querier, t *table, keys [][]any, emit func(dialect.Row) error) error {
	r := &rowReader{t: t}
	r.add("", flagColumn)
	r.stored("t")
	columns := strings.Join(r.exprs[1:], ", ")
	query, ok := t.byIntegers(columns, keys)
	if !ok {
		query = t.oneByOne(columns, keys)
	}
	var s *spool
	err := e.neutral(ctx, q, func(q dialect.Querier) (err error) {
		s, err = collect(ctx, q, query, r.cells)
		return err
	})
	if err != nil {
		return err
	}
	defer s.close()
	answers := dialect.Answers{Keys: keys, Emit: emit}
	err = s.each(len(r.cells), func(v []any) error {
		return answers.Found(int(v[0].(int64)), dialect.Row{Key: t.ownKey(v[1:]), Values: v[1:]})
	})
	if err != nil {
		return err
	}
	return answers.End()
}

// oneByOne is the query of lookup for any keys.
func (t *table) oneByOne(columns string, keys [][]any) string {
	var b []byte
	for i, k := range keys {
		if i > 0 {
			b = append(b, " UNION ALL "...)
		}
		b = append(b, fmt.Sprintf("(SELECT %d, %s FROM %s t WHERE ", i, columns, t.sqlName())...)
		b = appendKey(b, t, k)
		b = append(b, " FOR UPDATE)"...)
	}
	return string(b)
}

// integerKey reports whether the key is one column of integers.
func (t *table) integerKey() bool {
	return len(t.Key) == 1 && t.keyColumns()[0].kind == kindInt && strings.Contains(t.keyColumns()[0].typ, "int")
}

// byIntegers is the query of lookup for keys that are one integer each. Joined with a list
// the server looks up each of them, as in Clear, and has one SELECT to prepare instead of one for each.
func (t *table) byIntegers(columns string, keys [][]any) (query string, ok bool) {
	if !t.integerKey() {
		return "", false
	}
	c := t.keyColumns()[0]
	typ := "BIGINT"
	if strings.Contains(c.typ, "unsigned") {
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
	return string(b) + "]', '$[*]' COLUMNS (i FOR ORDINALITY, k " + typ + " PATH '$')) d STRAIGHT_JOIN " + t.sqlName() +
		" t FORCE INDEX (PRIMARY) ON t." + ident(c.name) + "=d.k ORDER BY d.i FOR UPDATE", true
}

// Wipe drops views, tables, sequences and routines of the replicated databases.
func (e *engine) Wipe(ctx context.Context, c *sql.Conn) error {
	err := e.neutral(ctx, c, func(q dialect.Querier) error {
		rows, err := texts(ctx, q, "SELECT @@foreign_key_checks")
		if err != nil {
			return err
		}
		if err := exec(ctx, q, "SET foreign_key_checks=0"); err != nil {
			return err
		}
		err = e.wipe(ctx, q)
		if berr := exec(context.WithoutCancel(ctx), q, "SET foreign_key_checks="+rows[0][0].String); err == nil {
			err = berr
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("mysql: wipe: %w", wrap(err))
	}
	return nil
}

func (e *engine) wipe(ctx context.Context, q dialect.Querier) error {
	if err := exec(ctx, q, "DELETE FROM "+e.Own("counters")); err != nil {
		return err
	}
	for _, db := range slices.Backward(e.databases()) {
		tables, err := texts(ctx, q, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA="+text(db)+
			" ORDER BY TABLE_TYPE='VIEW' DESC, TABLE_TYPE='SEQUENCE'")
		if err != nil {
			return err
		}
		for _, r := range tables {
			what := "TABLE"
			if r[1].String == "VIEW" || r[1].String == "SEQUENCE" {
				what = r[1].String
			}
			if err := exec(ctx, q, "DROP "+what+" IF EXISTS "+qualified(db, r[0].String)); err != nil {
				return err
			}
		}
		routines, err := texts(ctx, q, "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA="+text(db))
		if err != nil {
			return err
		}
		for _, r := range routines {
			if err := exec(ctx, q, "DROP "+r[0].String+" IF EXISTS "+qualified(db, r[1].String)); err != nil {
				return err
			}
		}
	}
	return nil
}
