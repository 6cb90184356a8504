package sessions

import (
	"context"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// A temporary table stands in front of a table of its name, in its session only. No table of the server tells of it
// before MariaDB 11.2, and a program can make one in a procedure, so that its text does not tell either. The
// server counts them.

// HasTemporary reports whether the session has ever made a temporary table. MySQL counts others with them.
func (s *Sessions) HasTemporary(ctx context.Context, q dialect.Querier) (bool, error) {
	counter := "Com_create_temporary_table"
	if !s.mariadb {
		counter = "Com_create_table"
	}
	rows, err := lang.Texts(ctx, q, "SHOW SESSION STATUS LIKE "+lang.Text(counter))
	if err != nil {
		return false, err
	}
	return len(rows) > 0 && rows[0][1].String != "0", nil
}

// IsTemporary reports whether the name stands for a temporary table in the session. An empty database is the session's own.
func (s *Sessions) IsTemporary(ctx context.Context, q dialect.Querier, database, name string) (bool, error) {
	if database != "" {
		name = lang.Qualified(database, name)
	} else {
		name = lang.Ident(name)
	}
	rows, err := lang.Texts(ctx, q, "SHOW CREATE TABLE "+name)
	if lang.Errno(err) != 0 {
		return false, nil // there is no such table, or it is locked as none that is temporary can be
	}
	if err != nil || len(rows) == 0 || len(rows[0]) < 2 {
		return false, err
	}
	return strings.HasPrefix(rows[0][1].String, "CREATE TEMPORARY TABLE"), nil
}
