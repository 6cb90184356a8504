package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/testdb"
)

// hardTexts are values in which LOAD DATA sees something other than text, and all pairs of what it looks at.
func hardTexts() []string {
	list := []string{"", `\N`, `\\N`, "NULL", "null", " ", "a ", "\ta", "a\n", "-- x", strings.Repeat(`\`, 99), strings.Repeat("x", 32<<10+1)}
	special := []string{`\`, "\t", "\n", "\r", "\x00", "\x1a", "'", `"`, "N", "n", "t", "Z", "0", ",", "\b"}
	for _, a := range special {
		for _, b := range special {
			list = append(list, a+b)
		}
	}
	return list
}

// replaceIn applies rows in a transaction as a snapshot does.
func replaceIn(n *node, table string, rows ...dialect.Row) {
	n.Helper()
	t := n.table(table)
	n.in(dialect.Replay, func(c *sql.Conn) { n.ok(n.eng.Apply(context.Background(), c, t, rows, dialect.Replace)) })
}

// Rows arrive byte for byte and the same by LOAD DATA as by statements, whatever they hold.
func TestLoadEqualsReplace(t *testing.T) {
	create := "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT CHARACTER SET utf8mb4, l LONGTEXT CHARACTER SET latin1, u TEXT CHARACTER SET ucs2," +
		" w TEXT CHARACTER SET utf32, s TEXT CHARACTER SET sjis)"
	byLoad, byStatement := newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
	byStatement.eng.applier.NoLoad.Store(true)
	var rows []dialect.Row
	add := func(b []byte) {
		id := int64(len(rows))
		text := strings.ToValidUTF8(string(b), "?")
		wide := bytes.Repeat([]byte{0, 0, 0, '\n'}, 3)
		rows = append(rows, dialect.Row{Key: []any{id}, Values: []any{id, b, text, b, wide, wide, []byte("\x95\x5c\x97\x5c\x94\x5c")}})
	}
	for _, s := range hardTexts() {
		add([]byte(s))
	}
	for i := range 256 {
		add([]byte{byte(i)})
		add([]byte{byte(i), byte(i), '\\', byte(i)})
	}
	rows = append(rows, dialect.Row{Key: []any{int64(-1)}, Values: []any{int64(-1), nil, nil, nil, nil, nil, nil}})
	for _, n := range []*node{byLoad, byStatement} {
		n.exec(create)
		replaceIn(n, "t", rows...)
	}
	if byLoad.eng.applier.NoLoad.Load() {
		t.Error("LOAD DATA was not used")
	}
	byLoad.same(byStatement, "t")
	back := map[int64][]any{}
	_, err := byLoad.eng.Scan(t.Context(), byLoad.db, byLoad.table("t"), nil, 10_000, func(v []any) error {
		back[v[0].(int64)] = slices.Clone(v)
		return nil
	})
	byLoad.ok(err)
	for _, r := range rows {
		if got := back[r.Key[0].(int64)]; codec.Describe(got) != codec.Describe(r.Values) {
			t.Errorf("stored %.200s, read %.200s", codec.Describe(r.Values), codec.Describe(got))
		}
	}
}

// A table of nothing but a text key holds the empty string, NULL's spelling, and lines of any length.
func TestLoadSingleColumn(t *testing.T) {
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE t (k VARBINARY(200) PRIMARY KEY)")
	var rows []dialect.Row
	want := map[string]bool{}
	for _, s := range hardTexts() {
		if len(s) <= 200 && !want[s] {
			want[s] = true
			rows = append(rows, dialect.Row{Key: []any{[]byte(s)}, Values: []any{[]byte(s)}})
		}
	}
	replaceIn(n, "t", rows...)
	_, err := n.eng.Scan(t.Context(), n.db, n.table("t"), nil, 10_000, func(v []any) error {
		delete(want, string(v[0].([]byte)))
		return nil
	})
	n.ok(err)
	if len(want) > 0 {
		t.Errorf("missing: %q", slices.Sorted(maps.Keys(want)))
	}
}

// What a row clashes with gives way, on any unique key and on one that ignores case; foreign
// keys and checks do not act; the next AUTO_INCREMENT value is as after statements.
func TestLoadClashes(t *testing.T) {
	var dumps, next []string
	for _, noLoad := range []bool{false, true} {
		n := newNode(t, dialect.Config{})
		n.eng.applier.NoLoad.Store(noLoad)
		n.exec("CREATE TABLE p (id INT PRIMARY KEY)",
			"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, u VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_general_ci UNIQUE, v INT UNIQUE,"+
				" p INT, e ENUM('1','0','2'), y YEAR, g INT AS (v+1) STORED, CHECK (v < 100), FOREIGN KEY (p) REFERENCES p (id))",
			"INSERT INTO t (id, u, v) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3), (9, 'nine', 9)")
		row := func(id int64, u string, v, e, y int64) dialect.Row {
			return dialect.Row{Key: []any{id}, Values: []any{id, u, v, int64(77), e, y}}
		}
		replaceIn(n, "t", dialect.Row{Key: []any{int64(9)}}, row(1, "TWO", 3, 1, 0), row(5, "Five", 500, 2, 2000), row(5, "five", 501, 3, 1901), row(0, "", 0, 0, 1970), row(70, "x", 70, 1, 2155))
		rows := dump(n, "t")
		dumps = append(dumps, fmt.Sprint(rows))
		if len(rows) != 4 {
			t.Errorf("noLoad %v: %v", noLoad, rows)
		}
		n.exec("INSERT INTO t (u) VALUES ('next')")
		var id string
		n.ok(n.db.QueryRow("SELECT id FROM t WHERE u='next'").Scan(&id))
		next = append(next, id)
	}
	if dumps[0] != dumps[1] || next[0] != next[1] {
		t.Errorf("by LOAD DATA %s, next key %s\nby statements %s, next key %s", dumps[0], next[0], dumps[1], next[1])
	}
}

// A key of 0, of less and of the greatest value is no AUTO_INCREMENT to be handed out, wherever the column
// stands, with values that must be converted beside it or not, with a trigger or without.
func TestLoadAutoIncrement(t *testing.T) {
	n := newNode(t, dialect.Config{})
	for i, create := range []string{
		"CREATE TABLE %s (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)",
		"CREATE TABLE %s (v INT, id BIGINT AUTO_INCREMENT PRIMARY KEY)",
		"CREATE TABLE %s (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BIT(8))",
		"CREATE TABLE %s (v BIT(8), id BIGINT AUTO_INCREMENT PRIMARY KEY)",
		"CREATE TABLE %s (id DOUBLE AUTO_INCREMENT PRIMARY KEY, v YEAR)",
	} {
		for _, trigger := range []string{"", "CREATE TRIGGER %s_before BEFORE INSERT ON %[1]s FOR EACH ROW SET NEW.v=NEW.v"} {
			name := fmt.Sprintf("t%d%v", i, trigger != "")
			n.exec(fmt.Sprintf(create, name))
			if trigger != "" {
				n.exec(fmt.Sprintf(trigger, name))
			}
			tab := n.table(name)
			want := []string{"-9223372036854775808", "-7", "0", "1", "3", "9223372036854775807"}
			if i == 4 {
				want = []string{"-9.223372036854776e+18", "-7", "0", "1", "3", "9.223372036854776e+18"}
			}
			var rows []dialect.Row
			for _, id := range []int64{3, 0, -7, 1, -1 << 63, 1<<63 - 1} {
				key := any(id)
				if i == 4 {
					key = float64(id)
				}
				values := []any{key, int64(1)}
				if tab.Key[0] == 1 {
					slices.Reverse(values)
				}
				rows = append(rows, dialect.Row{Key: []any{key}, Values: values})
			}
			replaceIn(n, name, rows...)
			got, err := lang.Texts(t.Context(), n.db, "SELECT id FROM "+name+" ORDER BY id")
			n.ok(err)
			var ids []string
			for _, r := range got {
				ids = append(ids, r[0].String)
			}
			if !slices.Equal(ids, want) {
				t.Errorf("%s, %s: keys %v", create, trigger, ids)
			}
		}
	}
	if n.eng.applier.NoLoad.Load() {
		t.Error("LOAD DATA was not used")
	}
}

// Defaults, ON UPDATE and generated columns do nothing to values that are stated, at the first
// writing and where a row takes another's place.
func TestLoadDefaults(t *testing.T) {
	const columns = "id INT PRIMARY KEY, d INT DEFAULT 7, e INT DEFAULT (d + 1), s VARCHAR(20) DEFAULT 'x', tn TIMESTAMP NULL DEFAULT NOW() ON UPDATE NOW()," +
		" dn DATETIME DEFAULT NOW() ON UPDATE NOW(), g INT AS (d + 1) STORED, v VARCHAR(20) AS (CONCAT(s, 'y')) VIRTUAL, KEY (v)," +
		" t TIMESTAMP(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6), f FLOAT DEFAULT 1.5, n DECIMAL(5,2) DEFAULT 1"
	byLoad, byStatement := newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
	byStatement.eng.applier.NoLoad.Store(true)
	for i, more := range []string{"", ", b BIT(3) DEFAULT 5, j UUID DEFAULT UUID()"} {
		for _, trigger := range []bool{false, true} {
			name := fmt.Sprintf("t%d%v", i, trigger)
			for _, n := range []*node{byLoad, byStatement} {
				n.exec("CREATE TABLE " + name + " (" + columns + more + ")")
				if trigger {
					n.exec("CREATE TRIGGER "+name+"_i BEFORE INSERT ON "+name+" FOR EACH ROW SET @x=NEW.d", "CREATE TRIGGER "+name+"_u BEFORE UPDATE ON "+name+" FOR EACH ROW SET @x=NEW.d")
				}
				for round := range int64(2) { // the second one replaces
					var rows []dialect.Row
					for id := range int64(4) {
						values := []any{id, nil, nil, nil, nil, nil, "1970-01-01 00:00:01.000000", nil, nil, nil, nil}
						if (id+round)%2 == 0 {
							values = []any{id, id, id + 9, "", "2001-02-03 04:05:06", "0000-00-00 00:00:00", "2038-01-19 03:14:07.999999", 0.1, "-0.10", int64(2), "123e4567-e89b-12d3-a456-426655440000"}
						}
						rows = append(rows, dialect.Row{Key: []any{id}, Values: values[:len(n.table(name).Stored)]})
					}
					replaceIn(n, name, rows...)
				}
			}
			byLoad.same(byStatement, name)
			for _, row := range dump(byLoad, name) {
				if nulls := strings.Count(row, "<nil>"); nulls != 0 && nulls != strings.Count(columns+more, "DEFAULT")-1 {
					t.Errorf("%s: a default took NULL's place: %s", name, row)
				}
			}
		}
	}
}

// A server whose local_infile is off gets statements, in the same transaction and without asking again.
func TestLoadRefused(t *testing.T) {
	s := testdb.MariaDB(t, "--local-infile=0")
	name := s.NewDatabase(t)
	n := bindNode(t, s.Open(t, name), dialect.Config{})
	n.exec("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
	tab := n.table("t")
	n.in(dialect.Replay, func(c *sql.Conn) {
		for i := range int64(3) {
			rows := []dialect.Row{{Key: []any{i}, Values: []any{i, "text\n"}}}
			n.ok(n.eng.Apply(t.Context(), c, tab, rows, dialect.Replace))
		}
	})
	if got := dump(n, "t"); len(got) != 3 {
		t.Errorf("%d rows: %v", len(got), got)
	}
	if !n.eng.applier.NoLoad.Load() {
		t.Error("the refusal is not remembered")
	}
}

// A table that is gone is no refusal of LOAD DATA.
func TestLoadIntoNoTable(t *testing.T) {
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE t (id INT PRIMARY KEY)")
	tab := n.table("t")
	n.exec("DROP TABLE t")
	n.in(dialect.Replay, func(c *sql.Conn) {
		err := n.eng.Apply(t.Context(), c, tab, []dialect.Row{{Key: []any{int64(1)}, Values: []any{int64(1)}}}, dialect.Replace)
		if !errors.Is(err, dialect.ErrSchemaMismatch) {
			t.Errorf("a table that is gone: %v", err)
		}
	})
	if n.eng.applier.NoLoad.Load() {
		t.Error("a table that is gone counts as a refusal")
	}
}
