package apply

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// UsedKeys returns the AUTO_INCREMENT column of a table, and the share of the values of its type that is used up.
func (a *Applier) UsedKeys(ctx context.Context, q dialect.Querier, t *dialect.Table) (column string, used float64, err error) {
	c := autoIncrement(t)
	if c == nil {
		return "", 0, nil
	}
	var next uint64
	var kind string
	err = dialect.ScanOne(ctx, q, []any{&next, &kind}, "SELECT coalesce(t.auto_increment, 0), c.column_type FROM information_schema.tables t JOIN information_schema.columns c "+
		"ON c.table_schema = t.table_schema AND c.table_name = t.table_name WHERE t.table_schema = ? AND t.table_name = ? AND c.column_name = ?",
		t.Database, t.Name, c.Name)
	return c.Name, float64(next) / highestOf(kind), err
}

// NarrowKeys returns the AUTO_INCREMENT column of a table whose type has fewer than least values for each of step nodes, how many, and the
// statement that gives it the largest type.
func (a *Applier) NarrowKeys(t *dialect.Table, step, least int64) (column string, keys int64, cure string) {
	c := autoIncrement(t)
	if c == nil {
		return "", 0, ""
	}
	keys = int64(min((highestOf(c.Type)-1)/float64(step), float64(least)))
	if keys >= least {
		return "", 0, ""
	}
	kind := "BIGINT"
	if strings.Contains(strings.ToLower(c.Type), "unsigned") {
		kind += " UNSIGNED"
	}
	return c.Name, keys, fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL AUTO_INCREMENT", lang.Qualified(t.Database, t.Name), lang.Ident(c.Name), kind)
}

func autoIncrement(t *dialect.Table) *dialect.Column {
	for i, c := range t.Columns {
		if c.AutoIncrement {
			return &t.Columns[i]
		}
	}
	return nil
}

// highestOf returns the highest value of an integer type of MariaDB
// (https://mariadb.com/kb/en/numeric-data-type-overview/).
func highestOf(kind string) float64 {
	name, _, _ := strings.Cut(kind, "(")
	name, _, _ = strings.Cut(name, " ")
	bits := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[strings.ToLower(name)]
	switch {
	case bits == 0: // FLOAT and DOUBLE have room beyond what 53 bits tell apart
		bits = 54
	case strings.Contains(strings.ToLower(kind), "unsigned"):
		bits++
	}
	return float64(uint64(1)<<(bits-2)) * 2 // 2^(bits-1)
}
