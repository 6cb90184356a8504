package server

import (
	"context"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// ownColumns holds the definitions of ddb's own tables, see dialect.OwnTables.
var ownColumns = map[string]string{
	"meta": "k VARCHAR(190) NOT NULL PRIMARY KEY, v LONGBLOB",
	"journal": "seq BIGINT NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, at BIGINT NOT NULL, final BIGINT NOT NULL," +
		" records BIGINT NOT NULL, bytes BIGINT NOT NULL, hash VARBINARY(32), payload LONGBLOB",
	"journal_rest": "seq BIGINT NOT NULL, n BIGINT NOT NULL, payload LONGBLOB, PRIMARY KEY (seq, n)",
	"followers":    "id VARCHAR(190) NOT NULL PRIMARY KEY, role VARCHAR(16) NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL",
	"batches": "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, number BIGINT NULL, at BIGINT, records BIGINT, bytes BIGINT, payload LONGBLOB," +
		" UNIQUE KEY number (number)",
	"received": "snap VARCHAR(190) NOT NULL PRIMARY KEY, number BIGINT",
	"deferred": "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, kind LONGTEXT, db LONGTEXT, name LONGTEXT, body LONGTEXT",
	"conflicts": "id VARCHAR(64) NOT NULL PRIMARY KEY, at BIGINT, db LONGTEXT, tbl LONGTEXT, rowkey LONGTEXT, base LONGTEXT," +
		" local LONGTEXT, remote LONGTEXT, origin LONGTEXT, batch BIGINT, policy LONGTEXT, outcome LONGTEXT, reason LONGTEXT, state LONGTEXT",
	"counters": "db VARCHAR(64) NOT NULL, name VARCHAR(64) NOT NULL, highest BIGINT UNSIGNED NOT NULL, PRIMARY KEY (db, name)", // see counters.go
	"captured": "id BIGINT NOT NULL PRIMARY KEY, db VARCHAR(64) NOT NULL, name VARCHAR(64) NOT NULL, fingerprint VARCHAR(190) NOT NULL",
}

// OwnOptions are the options of all tables that ddb makes.
const OwnOptions = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC"

// CreateOwn creates ddb's database and the tables that are missing in it.
func (s *Server) CreateOwn(ctx context.Context, q dialect.Querier) error {
	rows, err := lang.Texts(ctx, q, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(s.OwnDatabase))
	if err != nil {
		return fmt.Errorf("create own tables: %w", lang.Wrap(err))
	}
	have := map[string]bool{}
	for _, r := range rows {
		have[r[0].String] = true
	}
	var statements []string
	if len(have) == 0 {
		statements = append(statements, "CREATE DATABASE IF NOT EXISTS "+lang.Ident(s.OwnDatabase)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	}
	for _, name := range append(slices.Clone(dialect.OwnTables), "counters") {
		if !have[name] {
			statements = append(statements, "CREATE TABLE IF NOT EXISTS "+s.Own(name)+" ("+ownColumns[name]+")"+OwnOptions)
		}
	}
	if err := lang.Exec(ctx, q, statements...); err != nil {
		return fmt.Errorf("create own tables: %w", err)
	}
	return nil
}

// OwnDatabaseOf names ddb's own database on a node whose first database has that name.
func OwnDatabaseOf(primary string) string { return primary + "_ddb" }

// DropOwn drops ddb's database. RemoveCapture goes before it.
func (s *Server) DropOwn(ctx context.Context, q dialect.Querier) error {
	if err := lang.Exec(ctx, q, "DROP DATABASE IF EXISTS "+lang.Ident(s.OwnDatabase)); err != nil {
		return fmt.Errorf("drop own tables: %w", err)
	}
	return nil
}
