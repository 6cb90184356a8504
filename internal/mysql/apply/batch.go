package apply

import (
	"errors"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// batch writes rows on the master, where foreign keys act. The rows are the outcome of a
// transaction and may come in an order in which no constraint would hold: a child
// before its parent in the same table, a unique value before it is free. Rows that
// are refused are tried again after the others, until none gets in.
func (w *writer) batch(gone [][]any, rows []dialect.Row) error {
	if _, err := retry(gone, func(key []any) error { _, err := w.delete([][]any{key}, 1); return err }); err != nil {
		return err
	}
	if !w.t.Unique {
		err := w.insert(rows, "INSERT INTO ", w.onDuplicate())
		if lang.Errno(err) == lang.ErNoReferenced || lang.Unfit(err) {
			_, err = retry(rows, func(r dialect.Row) error {
				return w.fitting(r, func() error { return w.insert([]dialect.Row{r}, "INSERT INTO ", w.onDuplicate()) })
			})
		}
		return err
	}
	exists := make(map[*any]bool, len(rows)) // by the address of the key's first value
	if err := w.existing(rows, exists); err != nil {
		return err
	}
	left, err := retry(rows, func(r dialect.Row) error {
		if exists[&r.Key[0]] {
			return w.fitting(r, func() error { return w.update(r) })
		}
		return w.add(r)
	})
	if len(left) < 2 || lang.Errno(err) != lang.ErDupEntry {
		return err
	}
	return w.exchange(left)
}

// exchange writes rows that exchange unique values in a ring: all of them go away before
// any comes back, and nothing may cascade from that.
func (w *writer) exchange(rows []dialect.Row) error {
	if err := lang.Exec(w.ctx, w.q, "SET foreign_key_checks=0"); err != nil {
		return err
	}
	_, err := w.delete(keysOf(rows), 1)
	if ferr := lang.Exec(w.ctx, w.q, "SET foreign_key_checks=1"); err == nil {
		err = ferr
	}
	if err != nil {
		return err
	}
	_, err = retry(rows, w.add)
	return err
}

// add writes a row whose key is not there.
func (w *writer) add(r dialect.Row) error {
	return w.fitting(r, func() error { return w.insert([]dialect.Row{r}, "INSERT INTO ", "") })
}

// existing marks the rows whose keys are there, and locks them.
func (w *writer) existing(rows []dialect.Row, exists map[*any]bool) error {
	for part := range slices.Chunk(rows, maxLookup) {
		i := 0
		err := w.rows.lookup(w.ctx, w.q, w.t, keysOf(part), func(r dialect.Row) error {
			exists[&part[i].Key[0]] = r.Values != nil
			i++
			return nil
		})
		if err != nil {
			return w.fail(err, nil)
		}
	}
	return nil
}

// update writes a row that exists in its place, so that its children stay.
func (w *writer) update(r dialect.Row) error {
	literals, used, err := w.literals(r)
	if err != nil {
		return w.fail(err, [][]any{r.Key})
	}
	b := append([]byte("UPDATE "), w.t.SQLName()...)
	b = append(b, " SET "...)
	for i, c := range w.t.StoredColumns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, lang.Ident(c.Name)...)
		b = append(b, '=')
		b = append(b, literals[i]...)
	}
	b = append(b, " WHERE "...)
	b = catalog.AppendKey(b, w.t, r.Key)
	_, err = w.q.ExecContext(w.ctx, string(b))
	if err = errors.Join(err, w.forget(used)); err != nil {
		return w.fail(err, [][]any{r.Key})
	}
	return nil
}

// retry calls do for each of list, and again for those that a constraint refused as
// long as others succeed. It returns those that are left with the last error.
func retry[T any](list []T, do func(T) error) ([]T, error) {
	for len(list) > 0 {
		var left []T
		var refused error
		for _, x := range list {
			err := do(x)
			if err == nil {
				continue
			}
			if !errors.Is(err, dialect.ErrDiverged) {
				return list, err
			}
			left, refused = append(left, x), err
		}
		if len(left) == len(list) {
			return left, refused
		}
		list = left
	}
	return nil, nil
}
