package records

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// each runs a test on both databases, with the same tables in them.
func each(t *testing.T, test func(t *testing.T, s *Store, db *sql.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		_, db := testdb.SQLite(t)
		test(t, New(db, SQLite), db)
	})
	t.Run("mariadb", func(t *testing.T) {
		server := testdb.SharedMariaDB(t)
		db := server.Open(t, server.NewDatabase(t))
		test(t, New(db, MariaDB), db)
	})
}

func create(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

func table(t *testing.T, s *Store, name string) *Table {
	t.Helper()
	tb, err := s.Table(t.Context(), name)
	require.NoError(t, err)
	return tb
}

const itemsTable = "CREATE TABLE items (sku INTEGER PRIMARY KEY %s, name VARCHAR(20) NOT NULL, price DECIMAL(8,2) NOT NULL DEFAULT 0, stock INT, added DATE, twice INT AS (stock * 2))"

func items(t *testing.T, s *Store, db *sql.DB) *Table {
	auto := ""
	if s.dialect == MariaDB {
		auto = "AUTO_INCREMENT"
	}
	create(t, db, fmt.Sprintf(itemsTable, auto))
	return table(t, s, "items")
}

// The catalogue says of each column what a person must know.
func TestCatalogue(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		items(t, s, db)
		create(t, db, "CREATE TABLE pairs (a INTEGER NOT NULL, b VARCHAR(9) NOT NULL, PRIMARY KEY (b, a))", "CREATE TABLE `strange name``s` (`a b` INTEGER PRIMARY KEY)")
		names, err := s.Tables(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"items", "pairs", "strange name`s"}, names)
		tb := table(t, s, "items")
		var said []string
		for _, c := range tb.Columns {
			said = append(said, strings.ToLower(c.Name+": "+c.Describe()))
		}
		integer := "int"
		if s.dialect == MariaDB {
			integer = "int(11)"
		}
		require.Equal(t, "name: varchar(20), not null", said[1])
		require.Contains(t, said[0], "key, handed out by the database if empty")
		require.Contains(t, said[2], "price: decimal(8,2), not null, default 0")
		require.Equal(t, "stock: "+integer+", may be null", said[3])
		require.Equal(t, "twice: "+integer+", computed by the database", said[5])
		require.Len(t, tb.InsertFields(), 5, "a generated column is not asked for")
		require.Equal(t, []int{1, 0}, table(t, s, "pairs").Key)
		require.Equal(t, "a b", table(t, s, "strange name`s").Columns[0].Name)
		_, err = s.Table(t.Context(), "nope")
		require.ErrorContains(t, err, "there is no table nope")
	})
}

// Insert, find, update and delete do what the forms say, and refuse what has changed meanwhile.
func TestChange(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		ctx := t.Context()
		tb := items(t, s, db)
		key, err := s.Insert(ctx, tb, []string{"", `x "y" 'z'`, "1.50", "NULL", "2026-10-14"})
		require.NoError(t, err)
		require.Equal(t, "sku 1", key)
		_, err = s.Insert(ctx, tb, []string{"", "", "", "", ""})
		require.ErrorContains(t, err, "name: must not be NULL")
		_, err = s.Insert(ctx, tb, []string{"1", "again", "", "", ""})
		require.Error(t, err, "the database is the judge of a key that is taken")

		row, err := s.Find(ctx, tb, []string{"1"})
		require.NoError(t, err)
		require.Equal(t, `x "y" 'z'`, row[1])
		require.Equal(t, "2026-10-14", row[4])
		require.Nil(t, row[3])
		_, err = s.Find(ctx, tb, []string{"2"})
		require.ErrorIs(t, err, ErrNoRow)

		texts := make([]string, 5)
		for i, f := range tb.UpdateFields(row) {
			texts[i] = f.Initial
		}
		require.Equal(t, []string{"1", `x "y" 'z'`, texts[2], "", "2026-10-14"}, texts, "NULL is no text to type behind")
		_, err = tb.Changes(row, texts)
		require.ErrorIs(t, err, ErrNothing)
		texts[1], texts[3] = "Tea", "8"
		changes, err := tb.Changes(row, texts)
		require.NoError(t, err)
		require.Len(t, changes, 2)
		require.NoError(t, s.Update(ctx, tb, row, changes))
		require.ErrorIs(t, s.Update(ctx, tb, row, changes), ErrChanged, "the row is no longer as it was shown")
		require.ErrorIs(t, s.Delete(ctx, tb, row), ErrChanged)
		row, err = s.Reload(ctx, tb, row)
		require.NoError(t, err)
		require.EqualValues(t, 16, row[5])
		texts[3] = ""
		changes, err = tb.Changes(row, texts)
		require.NoError(t, err)
		require.Nil(t, changes[0].New, "an emptied field of a row is NULL")
		require.NoError(t, s.Update(ctx, tb, row, changes))
		row, err = s.Reload(ctx, tb, row)
		require.NoError(t, err)
		require.NoError(t, s.Delete(ctx, tb, row))
		require.ErrorIs(t, s.Delete(ctx, tb, row), ErrChanged)
	})
}

// Paging forwards, backwards and to the ends shows each row once, in order, also with a key of several columns.
func TestPages(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		ctx := t.Context()
		create(t, db, "CREATE TABLE pairs (a INTEGER NOT NULL, b VARCHAR(9) NOT NULL, PRIMARY KEY (b, a))", "CREATE TABLE keyless (n INTEGER)")
		for i := range 23 {
			create(t, db, fmt.Sprintf("INSERT INTO pairs VALUES (%d, 'k%d')", i, i%3), fmt.Sprintf("INSERT INTO keyless VALUES (%d)", i))
		}
		for _, name := range []string{"pairs", "keyless"} {
			v := View{Table: table(t, s, name)}
			var all []string
			p, err := s.First(ctx, v, 5)
			require.NoError(t, err)
			require.Equal(t, "rows 1 to 5 of 23", p.Range())
			for {
				for _, r := range p.Rows {
					all = append(all, fmt.Sprint(r...))
				}
				if !p.More {
					break
				}
				p, err = s.Next(ctx, p, 5)
				require.NoError(t, err)
			}
			require.Equal(t, "rows 21 to 23 of 23", p.Range())
			require.Len(t, all, 23)
			seen := make(map[string]bool)
			for _, r := range all {
				require.False(t, seen[r], "%s is shown twice", r)
				seen[r] = true
			}
			p, err = s.Last(ctx, v, 5)
			require.NoError(t, err)
			require.Equal(t, "rows 19 to 23 of 23", p.Range())
			require.Equal(t, all[22], fmt.Sprint(p.Rows[4]...))
			for i := 18; p.Less; i = max(i-5, 5) {
				p, err = s.Previous(ctx, p, 5)
				require.NoError(t, err)
				if p.Less {
					require.Equal(t, all[i-1], fmt.Sprint(p.Rows[4]...))
				}
			}
			require.Equal(t, "rows 1 to 5 of 23", p.Range())
			p, err = s.Next(ctx, p, 5)
			require.NoError(t, err)
			p, err = s.Again(ctx, p, 7)
			require.NoError(t, err)
			require.Equal(t, "rows 6 to 12 of 23", p.Range())
		}
	})
}

// A search finds a text in any column, and rows that meet all conditions; wrong conditions are refused.
func TestSearch(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		ctx := t.Context()
		tb := items(t, s, db)
		create(t, db, "INSERT INTO items (sku, name, price, stock, added) VALUES (1,'Tea',3.5,10,'2026-10-01'),(2,'100% Cocoa',7,4,'2026-10-02'),(3,'Coffee_7',5,NULL,NULL)")
		found := func(f Filter, err error) string {
			require.NoError(t, err)
			p, err := s.First(ctx, View{tb, f}, 10)
			require.NoError(t, err)
			var names []string
			for _, r := range p.Rows {
				names = append(names, fmt.Sprint(r[0]))
			}
			return strings.Join(names, " ")
		}
		for text, want := range map[string]string{"tea": "1", "7": "2 3", "%": "2", "_": "3", "2026-10": "1 2", "!": "", "'": ""} {
			require.Equal(t, want, found(tb.SearchText(text)), text)
		}
		for _, c := range []struct{ column, condition, want string }{
			{"name", "co", "2 3"}, {"name", "=Tea", "1"}, {"price", ">=5", "2 3"}, {"price", "<> 5", "1 2"}, {"sku", "2..3", "2 3"},
			{"sku", "2", "2"}, {"stock", "NULL", "3"}, {"stock", "not null", "1 2"}, {"price", "~5", "1 3"},
			{"added", ">2026-10-01", "2"}, {"added", "2026-10-01..2026-10-02", "1 2"}, {"name", "'100%'", "2"}, {"twice", "8", "2"},
		} {
			texts := make([]string, len(tb.Columns))
			texts[tb.index(c.column)] = c.condition
			require.Equal(t, c.want, found(tb.SearchColumns(texts)), "%s %s", c.column, c.condition)
		}
		for column, condition := range map[string]string{"price": ">abc", "sku": "=", "stock": "3..x", "added": "yesterday"} {
			require.Error(t, tb.CheckCondition(tb.Columns[tb.index(column)], condition), condition)
		}
		_, err := tb.SearchColumns(make([]string, len(tb.Columns)))
		require.Error(t, err)
	})
}

// A statement prints its rows as a table; what it changes is counted.
func TestRun(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		run := func(query string) string {
			var out strings.Builder
			require.NoError(t, s.Run(context.Background(), &out, query))
			return out.String()
		}
		items(t, s, db)
		require.Equal(t, "done\n", run("CREATE TABLE other (id INTEGER PRIMARY KEY)"))
		require.Equal(t, "2 rows changed\n", run("INSERT INTO items (name, added) VALUES ('Tea', '2026-10-01'), ('Coffee', NULL)"))
		require.Equal(t, "name   | added\n-------+-----------\nTea    | 2026-10-01\nCoffee | NULL\n2 rows\n", run(" select name, added FROM items"))
		require.Error(t, s.Run(t.Context(), &strings.Builder{}, "SELECT * FROM nope"))
		create(t, db, "DELETE FROM items")
		for range 3 {
			create(t, db, "INSERT INTO items (name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT 'n' FROM n")
		}
		require.True(t, strings.HasSuffix(run("SELECT * FROM items"), "900 rows\n"))
	})
}

// Values of strange storage are shown, and formatted so that they can be typed back.
func TestStrangeValues(t *testing.T) {
	_, db := testdb.SQLite(t)
	s := New(db, SQLite)
	create(t, db, "CREATE TABLE odd (id INTEGER PRIMARY KEY, v, d DATETIME, b BOOLEAN)",
		`INSERT INTO odd VALUES (1, 'a'||char(10)||'b', 'not a date', 7), (2, x'00ff', 1234567, 'x'), (3, '', NULL, NULL), (4, 'NULL', '', 0), (5, 9007199254740993, 1.5, 1), (6, ' 12 ', 0, 0)`)
	tb := table(t, s, "odd")
	p, err := s.First(t.Context(), View{Table: tb}, 10)
	require.NoError(t, err)
	for i, want := range [][2]string{{`"a\nb"`, "a↵b"}, {"x'00ff'", "x'00ff'"}, {`""`, ""}, {`"NULL"`, "NULL"}, {"9007199254740993", "9007199254740993"}, {`" 12 "`, " 12 "}} {
		v := p.Rows[i][1]
		require.Equal(t, want[0], Format(v))
		require.Equal(t, want[1], Show(v))
		back, err := tb.Columns[1].Parse(Format(v))
		require.NoError(t, err)
		require.Equal(t, v, back.V)
	}
	require.Equal(t, "not a date", p.Rows[0][2], "the driver must not parse what is declared a date")
	require.NotContains(t, Show("a\x1b[2Jb"), "\x1b", "stored text must not reach the terminal as commands")
}

// Each type refuses what it cannot hold, with the reason.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		dialect             Dialect
		declared, text, say string
	}{
		{SQLite, "INTEGER", "12", ""}, {SQLite, "INTEGER", "1.5", "not a whole number"}, {SQLite, "INT", "99999999999999999999", "is not between"},
		{SQLite, "VARCHAR(3)", "äöü", ""}, {SQLite, "VARCHAR(3)", "abcd", "4 characters, but at most 3 fit"},
		{SQLite, "DECIMAL(5,2)", "-123.45", ""}, {SQLite, "DECIMAL(5,2)", "1234", "more than 3 digits"}, {SQLite, "DECIMAL(5,2)", "1.234", "more than 2 decimals"}, {SQLite, "NUMERIC", ".", "not a number"},
		{SQLite, "REAL", "1e9", ""}, {SQLite, "REAL", "x", "not a number"}, {SQLite, "BOOLEAN", "yes", ""}, {SQLite, "BOOLEAN", "2", "neither true nor false"},
		{SQLite, "DATE", "2026-02-29", "not a date such as"}, {SQLite, "DATETIME", "2026-02-28 12:00:00.5", ""}, {SQLite, "DATETIME", "noon", "not a date and time"},
		{SQLite, "", "anything", ""}, {SQLite, "JSON", "{", "not JSON"}, {SQLite, "TEXT", "NULL", "must not be NULL"}, {SQLite, "TEXT", "", `type "" for empty text`}, {SQLite, "INT", "", "must not be NULL"},
		{MariaDB, "tinyint(4)", "128", "not between -128 and 127"}, {MariaDB, "tinyint(3) unsigned", "255", ""}, {MariaDB, "tinyint(3) unsigned", "-1", "not between 0 and 255"},
		{MariaDB, "bigint(20) unsigned", "18446744073709551615", ""}, {MariaDB, "bigint(20)", "9223372036854775808", "not between"}, {MariaDB, "mediumint(9)", "8388608", "not between"},
		{MariaDB, "enum('a','it''s')", "IT'S", ""}, {MariaDB, "enum('a','b')", "c", "none of a, b"}, {MariaDB, "set('a','b')", "a,b", ""}, {MariaDB, "set('a','b')", "a,c", "none of a, b"},
		{MariaDB, "time", "838:59:59", ""}, {MariaDB, "time", "9:99", "not a time"}, {MariaDB, "year(4)", "26", "not a year"}, {MariaDB, "year(4)", "1800", "1901 to 2155"}, {MariaDB, "year(4)", "2155", ""},
		{SQLite, "REAL", "nan", "not a number"}, {SQLite, "REAL", "inf", "not a number"}, {SQLite, "BLOB", "x'0g'", "is not x'hex'"}, {SQLite, "BLOB", "X'0F'", ""}, {SQLite, "BLOB", `"x'0g'"`, ""}, {SQLite, "TEXT", "x'0g'", ""},
		{MariaDB, "bit(3)", "8", "not between"},
		{MariaDB, "tinytext", strings.Repeat("x", 256), "256 bytes, but at most 255 fit"}, {MariaDB, "varbinary(2)", "x'010203'", "3 bytes"}, {MariaDB, "double unsigned", "x", "not a number"},
	} {
		col := Column{Type: c.declared, domain: sqliteDomain(c.declared)}
		if c.dialect == MariaDB {
			col.domain = mariadbDomain(c.declared)
		}
		err := col.Check(c.text)
		if c.say == "" {
			require.NoError(t, err, "%s %q", c.declared, c.text)
		} else {
			require.ErrorContains(t, err, c.say, "%s %q", c.declared, c.text)
		}
	}
}

// A rule of the database is told by the columns that it is about, in words for people, and stays testable.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, s *Store, db *sql.DB) {
		create(t, db, "CREATE TABLE owner (id INTEGER PRIMARY KEY)", "INSERT INTO owner VALUES (1)",
			`CREATE TABLE r (id INTEGER PRIMARY KEY, sku VARCHAR(9) UNIQUE, a INT, b INT, price INT CHECK (price > 0), owner INT,
				UNIQUE (a, b), CONSTRAINT belongs FOREIGN KEY (owner) REFERENCES owner (id))`, "INSERT INTO r VALUES (1, 'x', 1, 1, 1, 1)")
		tb := table(t, s, "r")
		for _, c := range []struct {
			texts []string
			want  [2]string // of SQLite, of MariaDB
		}{
			{[]string{"1", "", "", "", "", ""}, [2]string{"id: another row has this value", "id: another row has this value"}},
			{[]string{"2", "x", "", "", "", ""}, [2]string{"sku: another row has this value", "sku: another row has this value"}},
			{[]string{"2", "", "1", "1", "", ""}, [2]string{"a, b: another row has these values", "a: another row has this value"}},
			{[]string{"2", "", "", "", "-1", ""}, [2]string{"the table's rule does not allow this value (price > 0)", "price: the table's rule does not allow this value"}},
			{[]string{"2", "", "", "", "", "7"}, [2]string{"refers to a row that is not there, or other rows refer to this one", "owner: there is no row that it refers to"}},
		} {
			_, err := s.Insert(t.Context(), tb, c.texts)
			var r *Refusal
			require.ErrorAs(t, err, &r, "%v", c.texts)
			require.Equal(t, c.want[s.dialect], err.Error())
			require.Error(t, r.Err)
		}
	})
}

// Columns stay aligned under wide characters; at the end of a list that is too long to count, the foot says so.
func TestWideAndUncounted(t *testing.T) {
	var out strings.Builder
	require.NoError(t, PrintTable(&out, []string{"a", "b"}, [][]string{{"日本", "1"}, {"xy", "2"}}))
	require.Equal(t, "a    | b\n-----+--\n日本 | 1\nxy   | 2\n", out.String())
	p := Page{Rows: make([]Row, 17), Total: countLimit, Over: true, Less: true}
	require.Equal(t, "the last 17 rows of more than 100000", p.Range())
	p.More = true
	require.Equal(t, "17 rows of more than 100000", p.Range())
}

// The rows of a conflict are laid side by side, in the order of their columns.
func TestSides(t *testing.T) {
	c := ddb.Conflict{Key: `{"sku":5}`, Base: `{"sku":5,"name":"a","n":12345678901234567}`, Local: `{"sku":5,"name":"b","n":null}`, Origin: "shop", Outcome: "refused"}
	require.Equal(t, []Side{{"sku", "5", "5", "-", true}, {"name", "a", "b", "-", true}, {"n", "12345678901234567", "NULL", "-", true}}, Sides(c))
	require.Equal(t, "sku 5", KeyOf(c))
	odd := ddb.Conflict{Local: `{"b":{"$bytes":"AP8Q"},"t":{"$text":"YQBi"},"f":{"$float":"+Inf"}}`}
	require.Equal(t, []Side{{"b", "-", "x'00ff10'", "-", true}, {"t", "-", "a�b", "-", true}, {"f", "-", "+Inf", "-", true}}, Sides(odd))
	require.Equal(t, "shop", Loser(c))
	c.Outcome = "snap"
	require.Equal(t, "the master", Loser(c))
}
