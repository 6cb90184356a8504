package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Settings of a connection that may change what a schema statement does or checks: any one, and one that alters or drops a
// table and so looks at its rows, at those that refer to it and at the texts that mention it.
var (
	schemaSettings = []string{"trusted_schema", "writable_schema"}
	tableSettings  = append([]string{"foreign_keys", "ignore_check_constraints", "legacy_alter_table", "recursive_triggers"}, schemaSettings...)
)

// InTransaction reports whether a transaction is open on the connection.
func (Dialect) InTransaction(ctx context.Context, q dialect.Querier) (bool, error) {
	_, err := q.ExecContext(ctx, "BEGIN") // which takes no lock yet
	switch {
	case err == nil:
		if _, err = q.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); err != nil {
			return false, fmt.Errorf("transaction: %w", err)
		}
		return false, nil
	case strings.Contains(err.Error(), "within a transaction"):
		return true, nil
	}
	return false, fmt.Errorf("transaction: %w", err)
}

// DifferentSetting names a setting that differs between two connections and matters to the schema statement; "" if none does.
func (e *engine) DifferentSetting(ctx context.Context, a, b dialect.Querier, statement string) (string, error) {
	settings := schemaSettings
	if info, err := sqlclass.ParseSchema(sqlclass.SQLite, statement); err == nil && info.Verb != "CREATE" && info.Object == "TABLE" {
		settings = tableSettings
	}
	for _, name := range settings {
		on, err := integer(ctx, a, "PRAGMA "+name)
		if err != nil {
			return "", err
		}
		other, err := integer(ctx, b, "PRAGMA "+name)
		if err != nil {
			return "", err
		}
		if on != other {
			return "PRAGMA " + name, nil
		}
	}
	return "", nil
}
