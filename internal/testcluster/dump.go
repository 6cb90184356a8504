package testcluster

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/stretchr/testify/require"
)

// Dump returns everything in a database that replication promises to keep equal.
func (f *Fixture) Dump(n *Node) string {
	f.Helper()
	var b strings.Builder
	if f.Engine == SQLite {
		f.DumpSQLite(&b, n.Raw)
	} else {
		f.dumpMariaDB(&b, n)
	}
	return b.String()
}

// Strings returns all rows of a query, their columns joined by bars.
func (f *Fixture) Strings(db dialect.Querier, query string, args ...any) (list []string) {
	f.Helper()
	rows, err := db.QueryContext(f.Ctx, query, args...)
	require.NoError(f, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(f, err)
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(f, rows.Scan(into...))
		var line []string
		for _, v := range values {
			line = append(line, v.String)
		}
		list = append(list, strings.Join(line, "|"))
	}
	require.NoError(f, rows.Err())
	return list
}

// DumpSQLite is [Fixture.Dump] of any SQLite database.
func (f *Fixture) DumpSQLite(b *strings.Builder, db dialect.Querier) {
	f.Helper()
	const mine = ` AND name NOT LIKE '\_ddb\_%' ESCAPE '\' AND tbl_name NOT LIKE '\_ddb\_%' ESCAPE '\'
		AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE type IN ('virtual', 'shadow'))`
	for _, s := range f.Strings(db, "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table','index','view')"+mine+" ORDER BY type, name") {
		fmt.Fprintln(b, s)
	}
	for _, t := range f.Strings(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence'"+mine+" ORDER BY name") {
		var parts []string
		for _, c := range f.Strings(db, "SELECT name FROM pragma_table_xinfo(?)", t) {
			q := `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
			parts = append(parts, "typeof("+q+"), quote("+q+"), hex("+q+")")
		}
		fmt.Fprintln(b, "--", t)
		for _, s := range f.Strings(db, "SELECT "+strings.Join(parts, ", ")+` FROM "`+t+`" ORDER BY `+strings.Join(parts, ", ")) {
			fmt.Fprintln(b, s)
		}
	}
}

var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

func (f *Fixture) dumpMariaDB(b *strings.Builder, n *Node) {
	f.Helper()
	for _, v := range f.Strings(n.Raw, "SELECT table_name FROM information_schema.views WHERE table_schema = ? ORDER BY 1", n.Name) {
		fmt.Fprintln(b, "view", v)
	}
	for _, t := range f.Strings(n.Raw, "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 1", n.Name) {
		q := "`" + t + "`"
		fmt.Fprintln(b, counter.ReplaceAllString(strings.Join(f.Strings(n.Raw, "SHOW CREATE TABLE "+q), ""), ""))
		sum := f.Strings(n.Raw, "CHECKSUM TABLE "+q+" EXTENDED")
		_, value, _ := strings.Cut(sum[0], "|")
		fmt.Fprintln(b, "--", t, f.Strings(n.Raw, "SELECT COUNT(*) FROM "+q)[0], value)
	}
}
