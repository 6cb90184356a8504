package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
)

// What the server does with names and with tables, as its variables and its catalogue of catalogues tell.

// GivesKeys reports whether MySQL gives a table without a primary key one of its own.
func (s *Server) GivesKeys(ctx context.Context, q dialect.Querier) (bool, error) {
	var name, value string
	return found(dialect.ScanOne(ctx, q, []any{&name, &value}, "SHOW VARIABLES LIKE 'sql_generate_invisible_primary_key'"))
}

// HasTable reports whether any database has a table of the name.
func (s *Server) HasTable(ctx context.Context, q dialect.Querier, name string) (bool, error) {
	var one int
	return found(dialect.ScanOne(ctx, q, []any{&one}, "SELECT 1 FROM information_schema.TABLES WHERE TABLE_NAME = ? LIMIT 1", name))
}

// FoldsNames reports whether the server's files lie where names that differ in case are the same.
func (s *Server) FoldsNames(ctx context.Context, q dialect.Querier) (bool, error) {
	var folds int
	if err := dialect.ScanOne(ctx, q, []any{&folds}, "SELECT @@lower_case_table_names"); err != nil {
		return false, fmt.Errorf("mysql: how names are compared: %w", err)
	}
	return folds != 0, nil
}

// EstimateRows returns what the statistics say.
func (s *Server) EstimateRows(ctx context.Context, q dialect.Querier, t *dialect.Table) (rows int64, err error) {
	return rows, dialect.ScanOne(ctx, q, []any{&rows}, "SELECT coalesce(sum(table_rows), 0) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", t.Database, t.Name)
}

// found reports whether a query had a row.
func found(err error) (bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
