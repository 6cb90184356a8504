package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// A key that AUTO_INCREMENT has handed out is not handed out again when its row is gone, by a node either that is made the
// master later. Of a row that a node has once had, the table's own counter knows. What came and went before the
// node had it, between two entries or among entries that it applied together, is kept in ddb's own table counters, in the
// transaction of the entry, because to raise a table's counter takes an ALTER TABLE, which would end that. RaiseCounters
// does it later: before schema statements, which have their own say about counters, and before the node writes itself.

// remember keeps the keys of deleted rows from being handed out anew. Where as many rows have been deleted as there were
// keys, all were here, and the table's own counter is beyond them.
func (w *writer) remember(absent [][]any, deleted bool) error {
	i := w.t.AutoKey()
	if i < 0 || deleted {
		return nil
	}
	var highest uint64
	for _, k := range absent {
		highest = max(highest, handedOut(k[i]))
	}
	if highest == 0 {
		return nil
	}
	return w.rows.remember(w.ctx, w.q, w.t.Table, highest)
}

// handedOut is a value of an AUTO_INCREMENT column; 0 for one that only a program can have given it.
func handedOut(v any) uint64 {
	switch v := v.(type) {
	case int64:
		return uint64(max(v, 0))
	case uint64:
		return v
	case float64:
		if v >= 1<<64 {
			return math.MaxUint64
		}
		return uint64(max(v, 0))
	}
	return 0
}

func (a *Applier) remember(ctx context.Context, q dialect.Querier, t *dialect.Table, highest uint64) error {
	_, err := q.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (db, name, highest) VALUES (%s, %s, %d) ON DUPLICATE KEY UPDATE highest=GREATEST(highest, VALUES(highest))",
		a.server.Own("counters"), lang.Text(t.Database), lang.Text(t.Name), highest))
	if err != nil {
		return fmt.Errorf("table %s: AUTO_INCREMENT: %w", lang.Qualified(t.Database, t.Name), err)
	}
	return nil
}

// Remember notes that the values of the table's AUTO_INCREMENT column up to highest have been handed out.
func (a *Applier) Remember(ctx context.Context, q dialect.Querier, t *dialect.Table, highest uint64) error {
	if err := a.remember(ctx, q, t, highest); err != nil {
		return lang.Wrap(err)
	}
	return nil
}

// NextKey returns the value that the table's AUTO_INCREMENT column has next, 0 if there is no such column. It is one of now,
// not of q's transaction.
func (a *Applier) NextKey(ctx context.Context, q dialect.Querier, t *dialect.Table) (uint64, error) {
	next, err := a.nextKey(ctx, q, t.Database, t.Name)
	if err != nil {
		return 0, fmt.Errorf("table %s: AUTO_INCREMENT: %w", lang.Qualified(t.Database, t.Name), lang.Wrap(err))
	}
	return next, nil
}

func (a *Applier) nextKey(ctx context.Context, q dialect.Querier, db, name string) (uint64, error) {
	rows, err := lang.Texts(ctx, q, "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(db)+" AND TABLE_NAME="+lang.Text(name))
	if err != nil || len(rows) == 0 || !rows[0][0].Valid {
		return 0, err
	}
	return strconv.ParseUint(rows[0][0].String, 10, 64)
}

// RaiseCounters makes the tables' own counters know what Remember and Apply have noted. It ends a transaction that q is in.
func (a *Applier) RaiseCounters(ctx context.Context, q dialect.Querier) error {
	rows, err := lang.Texts(ctx, q, "SELECT db, name, highest FROM "+a.server.Own("counters"))
	if err != nil {
		return fmt.Errorf("raise AUTO_INCREMENT: %w", lang.Wrap(err))
	}
	for _, r := range rows {
		if err := a.raise(ctx, q, r[0].String, r[1].String, r[2].String); err != nil {
			return fmt.Errorf("raise AUTO_INCREMENT of table %s: %w", lang.Qualified(r[0].String, r[1].String), err)
		}
	}
	if len(rows) > 0 {
		if err := lang.Exec(ctx, q, "DELETE FROM "+a.server.Own("counters")); err != nil {
			return fmt.Errorf("raise AUTO_INCREMENT: %w", err)
		}
	}
	return nil
}

// raise never lowers a counter, as ALTER TABLE would down to the highest row.
func (a *Applier) raise(ctx context.Context, q dialect.Querier, db, name, highest string) error {
	used, err := strconv.ParseUint(highest, 10, 64)
	if err != nil {
		return err
	}
	next, err := a.nextKey(ctx, q, db, name)
	if err != nil || next == 0 || next > used {
		return lang.Wrap(err) // where next is 0, the table or its column is gone
	}
	err = lang.Exec(ctx, q, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT=%d", lang.Qualified(db, name), max(used, used+1)))
	if errors.Is(err, dialect.ErrPrivilege) {
		return fmt.Errorf("keys up to %d have been handed out, which only ALTER TABLE can tell it: GRANT ALTER ON %s.* TO ddb's user: %w", used, lang.Ident(db), err)
	}
	return err
}
