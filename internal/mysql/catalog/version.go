package catalog

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
)

// tableIDs asks InnoDB's dictionary for the numbers of a database's tables.
func tableIDs(s *server.Server, db string) string {
	dict := "INNODB_TABLES"
	if s.MariaDB {
		dict = "INNODB_SYS_TABLES"
	}
	return "SELECT NAME, TABLE_ID FROM information_schema." + dict + " WHERE BINARY SUBSTRING_INDEX(NAME,'/',1)=" + s.FileName(lang.Text(db)) + " ORDER BY TABLE_ID"
}

// Version hashes what the server tells cheaply about definitions. The time of
// creation has seconds only, so columns count too and, where the user may read
// them, InnoDB's own numbers, which TRUNCATE changes as well. Of ddb's own triggers only the lack of one counts: installed says how many there are, by database;
// nil where that is not known.
func Version(ctx context.Context, q dialect.Querier, s *server.Server, installed map[string]int) (string, error) {
	var all strings.Builder
	for _, db := range s.Databases() {
		queries := []string{
			"SELECT TABLE_NAME, TABLE_TYPE, ENGINE, CREATE_TIME+0, CREATE_OPTIONS, TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA=" + lang.Text(db),
			sums(s, lang.Text(db)),
		}
		if s.Process {
			queries = append(queries, tableIDs(s, db))
		}
		for i, query := range queries {
			rows, err := lang.Texts(ctx, q, query)
			if err != nil {
				return "", fmt.Errorf("schema version: %w", lang.Wrap(err))
			}
			if i == 1 {
				last := rows[len(rows)-1]
				if installed == nil || lang.Atoi(last[0].String) >= installed[db] {
					last[0].String = ""
				}
			}
			for _, r := range rows {
				for _, v := range r {
					fmt.Fprintf(&all, "|%q", v.String)
				}
			}
		}
	}
	return lang.Digest(all.String()), nil
}

// sums asks for numbers and checksums of a database's columns, indexes, checks, views and routines, and in its last row for
// the number of ddb's own triggers and the checksum of the others.
func sums(s *server.Server, db string) string {
	of := func(what, columns, condition string) string {
		return "SELECT COUNT(*), SUM(CRC32(CONCAT_WS('|', " + columns + "))) FROM information_schema." + what + " WHERE " + condition
	}
	const own = "TRIGGER_NAME REGEXP '^ddb_[0-9]+_(ai|au|ad|bu|bd)$'"
	list := []string{
		of("COLUMNS", "TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, COLUMN_DEFAULT, IS_NULLABLE, EXTRA, COLLATION_NAME, COLUMN_KEY, COLUMN_COMMENT", "TABLE_SCHEMA="+db),
		of("STATISTICS", "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART, COLLATION, NON_UNIQUE, INDEX_TYPE, INDEX_COMMENT, "+indexUse(s), "TABLE_SCHEMA="+db),
		of("VIEWS", "TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE", "TABLE_SCHEMA="+db),
		of("ROUTINES", "ROUTINE_NAME, ROUTINE_TYPE, LAST_ALTERED, ROUTINE_DEFINITION, DEFINER", "ROUTINE_SCHEMA="+db),
	}
	if s.MariaDB {
		list = append(list, of("CHECK_CONSTRAINTS", "TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE", "CONSTRAINT_SCHEMA="+db))
	}
	return strings.Join(append(list, "SELECT SUM("+own+"), IFNULL(SUM(IF("+own+", 0, CRC32(CONCAT_WS('|', TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, ACTION_STATEMENT, SQL_MODE, DEFINER)))), 0)"+
		" FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA="+db), " UNION ALL ")
}

// indexUse is the column of STATISTICS that tells whether the optimizer may use an index.
func indexUse(s *server.Server) string {
	if s.MariaDB {
		return "IGNORED"
	}
	return "IS_VISIBLE"
}
