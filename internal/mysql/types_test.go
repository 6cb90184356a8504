package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// typeCase is a column type and values of it as SQL.
type typeCase struct {
	typ    string
	values []string
}

// textValues are hard ones for every character set: letter case, trailing spaces,
// control characters, quotes.
var textValues = []string{"''", "'a'", "'A '", "' a  '", `'\0\'"\\\n\r\Z%_'`, "'\t'", "'zz'"}

func everyType() []typeCase {
	var all []typeCase
	add := func(typ string, values ...string) { all = append(all, typeCase{typ, values}) }
	for _, i := range []struct {
		name string
		bits uint
	}{{"TINYINT", 8}, {"SMALLINT", 16}, {"MEDIUMINT", 24}, {"INT", 32}, {"BIGINT", 64}} {
		top := uint64(1) << (i.bits - 1)
		add(i.name, "0", "1", "-1", fmt.Sprint(top-1), fmt.Sprintf("-%d", top))
		add(i.name+" UNSIGNED", "0", "1", fmt.Sprint(top-1+top))
		add(i.name+"(5) UNSIGNED ZEROFILL", "0", "7", fmt.Sprint(top-1+top))
	}
	add("BOOLEAN", "0", "1")
	nines := strings.Repeat("9", 35) + "." + strings.Repeat("9", 30)
	add("DECIMAL(65,30)", nines, "-"+nines, "0", "-0.000000000000000000000000000001", "1")
	add("DECIMAL(65,0)", strings.Repeat("9", 65), "-"+strings.Repeat("9", 65), "0")
	add("DECIMAL(10,2) UNSIGNED ZEROFILL", "0", "12345678.90")
	add("FLOAT", "0", "-0e0", "1.1754943508222875e-38", "1.401298464324817e-45", "3.4028234663852886e38", "-3.4028234663852886e38", "0.1", "16777217")
	add("FLOAT(7,3)", "0", "0.1", "-1234.567", "9999.999")
	add("DOUBLE", "0", "-0e0", "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "-1.7976931348623157e308", "0.1", "1/3e0", "9007199254740993")
	add("DOUBLE(20,6)", "0", "0.1", "-1e13/3", "12345678901234.567891")
	add("DOUBLE ZEROFILL", "0", "0.5")
	for _, n := range []int{1, 7, 8, 33, 64} {
		add(fmt.Sprintf("BIT(%d)", n), "0", "1", fmt.Sprint(uint64(1)<<(n-1)), fmt.Sprint(uint64(1)<<(n-1)-1+uint64(1)<<(n-1)))
	}
	for _, cs := range []string{"utf8mb4", "utf8mb3", "latin1", "ascii", "ucs2", "utf16", "utf16le", "utf32", "sjis", "gbk", "big5", "cp932", "ujis", "euckr", "koi8r", "latin2"} {
		values := textValues
		switch cs {
		case "utf8mb4", "utf16", "utf16le", "utf32":
			values = append(values[:len(values):len(values)], "'äß€'", "'😀'")
		case "ucs2", "utf8mb3":
			values = append(values[:len(values):len(values)], "'äß€'")
		case "latin1", "latin2":
			values = append(values[:len(values):len(values)], "'äß'")
		case "sjis", "cp932", "ujis", "gbk", "big5":
			// In these, the second byte of some characters is a backslash or a quote's neighbour.
			values = append(values[:len(values):len(values)], "'表予能'", "'一誤許功'")
		}
		for _, typ := range []string{"CHAR(20)", "VARCHAR(20)", "TINYTEXT", "TEXT"} {
			add(typ+" CHARACTER SET "+cs, values...)
		}
	}
	add("LONGTEXT", textValues...)
	add("MEDIUMTEXT CHARACTER SET latin1", textValues...)
	add("VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", textValues...)
	add("VARCHAR(1000) COMPRESSED", textValues...)
	add("LONGTEXT COMPRESSED", "REPEAT('x', 10000)", "''")
	add("BLOB COMPRESSED", "REPEAT('x', 10000)", "x'00ff'")
	bytes := []string{"''", "x'00'", "x'0000'", "x'ff00'", "x'27225c0a0d1a00'", "'a '", "'a'", "x'80c0e0f0ffc328'"}
	for _, typ := range []string{"BINARY(8)", "VARBINARY(8)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"} {
		add(typ, bytes...)
	}
	add("ENUM('a','B','','ä')", "'a'", "'B'", "''", "0", "'nothing'", "'ä'")
	add("ENUM('a','b') CHARACTER SET latin1", "'a'", "0")
	add("SET('a','B','ö')", "''", "'a'", "7", "'B,ö'", "'nothing'")
	members := make([]string, 64)
	for i := range members {
		members[i] = fmt.Sprintf("'m%d'", i)
	}
	add("SET("+strings.Join(members, ",")+")", "''", "'m0'", "'m63'", "18446744073709551615")
	dates := []string{"'0000-00-00'", "'2004-00-00'", "'2004-02-31'", "'1000-01-01'", "'9999-12-31'", "'0001-01-01'"}
	add("DATE", dates...)
	for _, n := range []string{"", "(3)", "(6)"} {
		add("TIME"+n, "'00:00:00'", "'-838:59:59.999999'", "'838:59:59.999999'", "'-00:00:00.000001'", "'12:34:56.789'")
		add("DATETIME"+n, append(dates, "'2024-02-29 23:59:59.999999'", "'2024-03-31 02:30:00'", "'9999-12-31 23:59:59.999999'", "'2004-00-00 00:00:01'")...)
		add("TIMESTAMP"+n+" NULL", "'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'1970-01-01 00:00:00.000001'", "'2038-01-19 03:14:07.999999'", "'2024-03-31 01:30:00'", "'2024-10-27 00:30:00'", "'2024-10-27 01:30:00'")
	}
	add("YEAR", "0", "1901", "2155", "2000", "1970")
	add("YEAR(2)", "0", "70", "69", "99")
	add("JSON", `'{"a": [1, 2.50, "\\u00e4 ", null]}'`, "'null'", "' 1 '", "'\"ä😀\"'")
	add("UUID", "'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'")
	add("INET4", "'0.0.0.0'", "'255.255.255.255'", "'1.2.3.4'")
	add("INET6", "'::'", "'::1'", "'::ffff:1.2.3.4'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'2001:db8::1'")
	add("POINT", "POINT(1, 2)", "POINT(-0e0, 1e308)")
	add("GEOMETRY", "POINT(1, 2)", "ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))', 4326)", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')")
	add("LINESTRING", "ST_GeomFromText('LINESTRING(0 0,1 1,2 2)')")
	add("MULTIPOLYGON", "ST_GeomFromText('MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))')")
	return all
}

// columnsPerTable keeps the number of tables, and so of slow schema statements, small.
const columnsPerTable = 25

// typeTables spreads the types over tables: column cN is of the N-th type, hN an
// invisible one of the same type. The first row is NULL throughout, and each
// following one holds the next value of each type.
func typeTables(cases []typeCase) (names, creates, inserts []string) {
	for chunk := range slices.Chunk(cases, columnsPerTable) {
		name := fmt.Sprintf("t%d", len(names))
		create, columns, rows := "CREATE TABLE "+name+" (id INT NOT NULL PRIMARY KEY, e INT DEFAULT (id*2)", "id", 0
		for i, c := range chunk {
			create += fmt.Sprintf(", h%d %s INVISIBLE, c%d %s", i, c.typ, i, c.typ)
			columns += fmt.Sprintf(", h%d, c%d", i, i)
			rows = max(rows, len(c.values))
		}
		for r := range rows + 1 {
			values := fmt.Sprint(r)
			for _, c := range chunk {
				v := "NULL"
				if r > 0 && r <= len(c.values) {
					v = c.values[r-1]
				}
				values += ", " + v + ", " + v
			}
			inserts = append(inserts, "INSERT IGNORE INTO "+name+" ("+columns+") VALUES ("+values+")")
		}
		names, creates = append(names, name), append(creates, create+") ROW_FORMAT=DYNAMIC")
	}
	return names, creates, inserts
}

// Every column type arrives byte for byte, by capture and by Scan, under every DSN.
func TestEveryType(t *testing.T) {
	cases := everyType()
	names, creates, inserts := typeTables(cases)
	for _, params := range [][]string{nil, {"parseTime=true", "interpolateParams=true", "loc=America%2FNew_York"}} {
		a, b, s := newNode(t, dialect.Config{}, params...), newNode(t, dialect.Config{}, params...), newNode(t, dialect.Config{}, params...)
		for _, n := range []*node{a, b, s} {
			mustExec(t, n.lax(), creates...)
		}
		a.install(dialect.Keys)
		mustExec(t, a.lax(), inserts...)
		a.ship(b)
		a.same(b, names...)
		copyAll(a, s, names)
		a.same(s, names...)
		for i, tc := range cases {
			var n int
			query := fmt.Sprintf("SELECT COUNT(c%d) FROM %s", i%columnsPerTable, names[i/columnsPerTable])
			if err := b.db.QueryRow(query).Scan(&n); err != nil || n != len(tc.values) {
				t.Errorf("type %s: %d of %d values arrived, error %v", tc.typ, n, len(tc.values), err)
			}
		}
	}
}

// copyAll copies tables as a snapshot does.
func copyAll(a, b *node, tables []string) {
	a.Helper()
	b.in(dialect.Replay, func(c *sql.Conn) {
		for _, name := range tables {
			from, to := a.table(name), b.table(name)
			var after []any
			for more := true; more; {
				var rows []dialect.Row
				var err error
				more, err = a.eng.Scan(context.Background(), a.db, from, after, 3, func(v []any) error {
					values := append([]any(nil), v...)
					row := dialect.Row{Values: values}
					for _, k := range from.Key {
						row.Key = append(row.Key, values[k])
					}
					rows = append(rows, row)
					return nil
				})
				a.ok(err)
				if len(rows) > 0 {
					after = rows[len(rows)-1].Key
				}
				b.ok(b.eng.Apply(context.Background(), c, to, rows, dialect.Replace))
			}
		}
	})
}

// A key of any type finds its row: noted, looked up, changed, deleted and paged through.
func TestEveryKeyType(t *testing.T) {
	a, b, s := newNode(t, dialect.Config{}), newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
	var cases []typeCase
	var names, creates []string
	for _, c := range everyType() {
		if strings.Contains(c.typ, "TEXT") || strings.Contains(c.typ, "BLOB") || strings.Contains(c.typ, "JSON") || strings.Contains(c.typ, "COMPRESSED") ||
			strings.Contains(c.typ, "POINT") || strings.Contains(c.typ, "GEOM") || strings.Contains(c.typ, "LINE") || strings.Contains(c.typ, "POLYGON") {
			continue
		}
		c.typ = strings.TrimSuffix(c.typ, " NULL")
		for _, key := range []string{"k", "x, k"} {
			if key != "k" && len(cases)%4 != 0 { // composite keys of some
				continue
			}
			name := fmt.Sprintf("t%d", len(cases))
			creates = append(creates, fmt.Sprintf("CREATE TABLE %s (x INT NOT NULL DEFAULT 1, k %s NOT NULL, v INT, PRIMARY KEY (%s))", name, c.typ, key))
			cases, names = append(cases, c), append(names, name)
		}
	}
	for _, n := range []*node{a, b, s} {
		mustExec(t, n.lax(), creates...)
	}
	a.install(dialect.Keys)
	c := a.lax()
	for i, tc := range cases {
		for k, v := range tc.values {
			mustExec(t, c, fmt.Sprintf("INSERT IGNORE INTO %s (k, v) VALUES (%s, %d)", names[i], v, k))
		}
	}
	a.ship(b)
	a.same(b, names...)
	copyAll(a, s, names)
	a.same(s, names...)
	for _, name := range names {
		mustExec(t, c, "UPDATE "+name+" SET v=v+100 WHERE v%3=0", "DELETE FROM "+name+" WHERE v%3=1")
	}
	b.in(dialect.Batch, func(rc *sql.Conn) {
		for i, name := range names {
			tab := b.table(name)
			keys := scanKeys(b, tab)
			found, at := 0, 0
			b.ok(b.eng.Lookup(context.Background(), rc, tab, keys, func(r dialect.Row) error {
				integer := strings.Contains(cases[i].typ, "INT") // those are found by a query of their own
				if r.Values != nil && (!integer || fmt.Sprint(r.Key) == fmt.Sprint(keys[at])) {
					found++
				}
				at++
				return nil
			}))
			if found != len(keys) {
				t.Errorf("%s: Lookup found %d of %d rows", name, found, len(keys))
			}
		}
	})
	a.ship(b)
	a.same(b, names...)
	if t.Failed() {
		for i, tc := range cases {
			t.Logf("%s is %s", names[i], tc.typ)
		}
	}
}

func scanKeys(n *node, t *dialect.Table) (keys [][]any) {
	_, err := n.eng.Scan(context.Background(), n.db, t, nil, 1000, func(v []any) error {
		var key []any
		for _, k := range t.Key {
			key = append(key, v[k])
		}
		keys = append(keys, key)
		return nil
	})
	n.ok(err)
	return keys
}

// Lookup tells of every integer key, in order, whether its row is there, also beyond one statement.
func TestLookupIntegers(t *testing.T) {
	a := newNode(t, dialect.Config{})
	mustExec(t, a.lax(), "CREATE TABLE t (k BIGINT UNSIGNED PRIMARY KEY, v INT)",
		"INSERT INTO t SELECT 2*seq, seq FROM seq_1_to_1500", "INSERT INTO t VALUES (18446744073709551615, -1), (9223372036854775808, -2)")
	tab := a.table("t")
	keys := [][]any{{uint64(math.MaxUint64)}, {uint64(math.MaxUint64 - 1)}, {uint64(1 << 63)}}
	for k := range int64(3000) {
		keys = append(keys, []any{3000 - k})
	}
	a.in(dialect.Batch, func(c *sql.Conn) {
		at := 0
		a.ok(a.eng.Lookup(context.Background(), c, tab, keys, func(r dialect.Row) error {
			want := at == 0 || at == 2 || at > 2 && keys[at][0].(int64)%2 == 0
			if fmt.Sprint(r.Key) != fmt.Sprint(keys[at]) || (r.Values != nil) != want {
				t.Errorf("key %d of the list, %v: got %v, %v", at, keys[at], r.Key, r.Values)
			}
			at++
			return nil
		}))
		if at != len(keys) {
			t.Errorf("told of %d of %d keys", at, len(keys))
		}
	})
}
