package mysql

import (
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Apply for Batch writes whatever has been a row's before, also where unique values go round, and refuses what was given and does not fit.
func TestBatchGiven(t *testing.T) {
	n := newNode(t, dialect.Config{})
	c := n.lax()
	mustExec(t, c, "SET check_constraint_checks=0",
		"CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, e ENUM('a','b'), x INT CHECK (x > 10), g INT AS (x + 1) VIRTUAL, CHECK (g > 11))",
		"CREATE TABLE plain (id INT PRIMARY KEY, u INT, e ENUM('a','b'), x INT CHECK (x > 10), g INT AS (x + 1) VIRTUAL, CHECK (g > 11))")
	const odd = "(1, 1, 'none', 5), (2, 2, 'none', 5), (3, 3, 'a', 20)"
	row := func(id, u, e, x int64, given ...bool) dialect.Row {
		return dialect.Row{Key: []any{id}, Values: []any{id, u, e, x}, Given: given}
	}
	for _, tc := range []struct {
		what    string
		rows    []dialect.Row
		refused bool
		only    string // the table where it can be told
	}{
		{"another column", []dialect.Row{row(1, 7, 0, 5, false, true, false, false), row(3, 8, 1, 20)}, false, ""},
		{"a ring", []dialect.Row{row(1, 2, 0, 5, false, true, false, false), row(2, 1, 0, 5, false, true, false, false)}, false, ""},
		{"a row that is gone comes back", []dialect.Row{row(4, 4, 0, 5, false, true, false, false)}, false, ""},
		{"an error value that was given", []dialect.Row{row(3, 3, 0, 20)}, false, ""}, // a snap's server has taken it, and this one can hold it
		{"no member", []dialect.Row{row(1, 1, 3, 20, false, false, true, false)}, true, ""},
		{"too large", []dialect.Row{row(1, 1, 0, 1<<40, false, false, false, true)}, true, ""},
		{"forbidden", []dialect.Row{row(1, 1, 0, 6, false, false, false, true)}, true, ""},
		{"new and forbidden", []dialect.Row{row(4, 4, 1, 5)}, true, ""},
		{"unique", []dialect.Row{row(1, 3, 0, 5, false, true, false, false)}, true, "t"},
	} {
		for _, name := range []string{"t", "plain"} {
			if tc.only != "" && tc.only != name {
				continue
			}
			mustExec(t, c, "DELETE FROM "+name, "INSERT INTO "+name+" (id, u, e, x) VALUES "+odd)
			conn, err := n.eng.Conn(t.Context(), dialect.Batch)
			n.ok(err)
			n.ok(n.eng.Begin(t.Context(), conn, dialect.Batch))
			tab := n.table(name)
			err = n.eng.Apply(t.Context(), conn, tab, tc.rows, dialect.Strict)
			if (err != nil) != tc.refused {
				t.Errorf("%s: %s: %v", name, tc.what, err)
			}
			for _, r := range tc.rows {
				same := false
				n.ok(n.eng.Lookup(t.Context(), conn, tab, [][]any{r.Key}, func(is dialect.Row) error {
					same = is.Values != nil && is.Values[1] == r.Values[1] && is.Values[2] == r.Values[2] && is.Values[3] == r.Values[3]
					return nil
				}))
				if !tc.refused && !same {
					t.Errorf("%s: %s: row %v is not as it was written", name, tc.what, r.Key)
				}
			}
			mode, err := lang.Texts(t.Context(), conn, "SELECT @@sql_mode LIKE '%STRICT_ALL_TABLES%', @@check_constraint_checks")
			n.ok(err)
			if mode[0][0].String != "1" || mode[0][1].String != "1" {
				t.Errorf("%s: %s: the session is left unjudging: %v", name, tc.what, mode)
			}
			n.eng.Release(conn)
		}
	}
}
