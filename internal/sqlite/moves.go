package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

// What the triggers of keys.go have done, and what SQLite is made to tell of it.

// Moves returns how many rows were ever moved.
func (e *engine) Moves(ctx context.Context, q dialect.Querier) (count int64, err error) {
	return count, dialect.ScanOne(ctx, e.Quick(q), []any{&count}, "SELECT coalesce(sum(moves), 0) FROM main."+keyTable)
}

// MovedTo returns the key that the table's last row was moved to, if that was handed was.
func (e *engine) MovedTo(ctx context.Context, q dialect.Querier, table string, was int64) (key int64, ok bool, err error) {
	err = dialect.ScanOne(ctx, e.Quick(q), []any{&key}, "SELECT last FROM main."+keyTable+" WHERE lower(tbl) = lower(?) AND was = ?", table, was)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return key, err == nil, err
}

// MovesOf tells of the rows of one table.
func (e *engine) MovesOf(ctx context.Context, q dialect.Querier, t *dialect.Table) (moves int64, was sql.NullInt64, last int64, err error) {
	err = dialect.ScanOne(ctx, e.Quick(q), []any{&moves, &was, &last}, "SELECT coalesce(max(moves), 0), max(was), coalesce(max(last), 0) FROM main."+keyTable+" WHERE tbl = ?", t.Name)
	return moves, was, last, err
}

// HighestKey returns the highest key of the range that the table has, or that a row was moved to. Keys of a table with AUTOINCREMENT only rise.
func (e *engine) HighestKey(ctx context.Context, q dialect.Querier, t *dialect.Table, lo, hi int64) (highest int64, rising bool, err error) {
	key := ticked(t.HandedOutKey())
	err = dialect.ScanOne(ctx, e.Quick(q), []any{&highest, &rising}, fmt.Sprintf(
		"SELECT max(coalesce(max(%s), 0), coalesce((SELECT max(%s) FROM main.%s WHERE %s >= %d AND %s < %d), %d)), "+
			"EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 AND sql LIKE '%%AUTOINCREMENT%%') "+
			"FROM main."+keyTable+" k WHERE k.tbl = ?1", lastOwn(lo, hi), key, ticked(t.Name), key, lo, key, hi, lo-1), t.Name)
	return highest, rising, err
}

// Told returns last_insert_rowid() and changes().
func (e *engine) Told(ctx context.Context, q dialect.Querier) (key, changes int64, err error) {
	return key, changes, dialect.ScanOne(ctx, e.Quick(q), []any{&key, &changes}, "SELECT last_insert_rowid(), changes()")
}

// Tell makes last_insert_rowid() and changes() tell these.
func (e *engine) Tell(ctx context.Context, q dialect.Querier, key, changes int64) error {
	query, args := `INSERT INTO main."_ddb_last" (id) VALUES (?)`, []any{key}
	if changes > 1 {
		query, args = `INSERT INTO main."_ddb_last" (id) SELECT ?1 FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2) SELECT i FROM n)`, []any{key, changes}
	}
	if _, err := e.Quick(q).ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("put last_insert_rowid() right: %w", err)
	}
	return nil
}

// BeginMoves begins a transaction with the lock.
func (e *engine) BeginMoves(ctx context.Context, q dialect.Querier) error {
	_, err := q.ExecContext(ctx, "BEGIN IMMEDIATE")
	return err
}

// LockMoves takes the lock: the table that it deletes from is empty.
func (e *engine) LockMoves(ctx context.Context, q dialect.Querier) error {
	_, err := q.ExecContext(ctx, `DELETE FROM main."_ddb_last"`)
	return err
}

// UsedKeys returns the share of the range that is used up.
func (e *engine) UsedKeys(ctx context.Context, q dialect.Querier, t *dialect.Table, lo, hi int64) (column string, used float64, err error) {
	column = t.HandedOutKey()
	if column == "" {
		return "", 0, nil
	}
	key := ticked(column)
	var highest int64
	err = dialect.ScanOne(ctx, q, []any{&highest}, fmt.Sprintf("SELECT coalesce(max(%s), %d) FROM %s WHERE %s >= %d AND %s < %d", key, lo, ticked(t.Name), key, lo, key, hi))
	return column, float64(highest-lo) / float64(hi-lo), err
}

// NarrowKeys tells of none: every rowid has 63 bits.
func (e *engine) NarrowKeys(*dialect.Table, int64, int64) (column string, keys int64, cure string) {
	return "", 0, ""
}
