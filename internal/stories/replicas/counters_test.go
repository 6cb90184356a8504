package replicas_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A key of an AUTOINCREMENT column that was used once is never handed out again, by a promoted replica either: not one
// deleted before the replica's snapshot, nor one that came and went between two entries. Whether the file or the rows travelled.
func TestAutoincrementAfterPromotion(t *testing.T) {
	for name, extra := range map[string]string{"rows": "CREATE VIRTUAL TABLE words USING fts5(v)", "file": "CREATE TABLE keyed (id INTEGER PRIMARY KEY)"} {
		t.Run(name, func(t *testing.T) {
			f := testcluster.NewFixture(t, "sqlite", 1)
			f.Bypass("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)", "CREATE TABLE \"b's\" (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)",
				"CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)", extra)
			for _, table := range []string{"a", `"b's"`} {
				f.Bypass("INSERT INTO "+table+" (v) VALUES (1), (2), (3)", "DELETE FROM "+table+" WHERE id >= 2")
			}
			f.OpenAll()
			for _, table := range []string{`"b's"`, "c"} {
				f.Tx("INSERT INTO "+table+" (v) VALUES (1), (2)", "DELETE FROM "+table+" WHERE v = 2")
				f.Level()
			}
			f.Master.Stop()
			r := f.Replicas[0]
			r.Stop()
			require.NoError(t, f.Open(r, func(o *ddb.Options) {}))
			for table, want := range map[string]int64{"a": 4, `"b's"`: 6, "c": 3} {
				res, err := r.ExecContext(f.Ctx, "INSERT INTO "+table+" (v) VALUES (9)")
				require.NoError(t, err)
				key, err := res.LastInsertId()
				require.NoError(t, err)
				require.Equal(t, want, key, table)
			}
		})
	}
}

// handedOutCase is a table some of whose keys have been handed out to rows that are gone.
type handedOutCase struct {
	engine testcluster.Engine // "" for both
	column string             // how the key is declared, "" for the usual
	before []string           // the replica's snapshot
	steps  [][]string         // each in an entry of its own; several statements are one transaction
	beside []string           // then, by a client that bypasses ddb
	away   []string           // while no replica follows
	want   int64              // the next key
}

// Statements of the cases, in which # is the table and @ how its key is declared.
const (
	three   = "INSERT INTO # (v) VALUES (1), (2), (3)"
	one     = "INSERT INTO # (v) VALUES (1)"
	nothing = "DELETE FROM #"
	beside  = "INT AUTO_INCREMENT UNIQUE, k INT NOT NULL DEFAULT 3 PRIMARY KEY"
)

var handedOutCases = map[string]handedOutCase{
	"before the snapshot":      {before: []string{three, "DELETE FROM # WHERE id > 1"}, want: 4},
	"all before the snapshot":  {before: []string{three, nothing}, want: 4},
	"in one transaction":       {before: []string{three}, steps: [][]string{{three, "DELETE FROM # WHERE id > 2"}}, want: 7},
	"the first of all":         {steps: [][]string{{three, nothing}}, want: 4},
	"in an entry of its own":   {steps: [][]string{{three}, {"DELETE FROM # WHERE id > 1"}}, want: 4},
	"while no replica follows": {away: []string{three, "DELETE FROM # WHERE id = 3", one, "DELETE FROM # WHERE id = 4"}, want: 5},
	"some of them are there":   {steps: [][]string{{three}, {three, "DELETE FROM # WHERE id IN (1, 6)"}}, want: 7},
	"by an update of the key": {steps: [][]string{{three}, {"UPDATE # SET id = 20 WHERE id = 3", "DELETE FROM # WHERE id = 20",
		"INSERT INTO # (id, v) VALUES (30, 1)", "DELETE FROM # WHERE id = 30"}}, want: 31},
	"long before others":     {steps: [][]string{{"INSERT INTO # (id, v) VALUES (50, 1)", nothing}, {"INSERT INTO # (id, v) VALUES (7, 1)"}}, want: 51},
	"before another column":  {steps: [][]string{{three, nothing}, {"ALTER TABLE # ADD COLUMN w INT"}}, want: 4},
	"before a new name":      {steps: [][]string{{three, nothing}, {"ALTER TABLE # RENAME TO moved"}, {"ALTER TABLE moved RENAME TO #"}}, want: 4},
	"of a table that is not": {steps: [][]string{{three, nothing}, {"DROP TABLE #"}, {"CREATE TABLE # (id @, v INT)"}}, want: 1},
	"with a unique column": {steps: [][]string{{"CREATE UNIQUE INDEX u ON # (v)"}, {three}, {"DELETE FROM # WHERE id = 1", "INSERT INTO # (v) VALUES (4), (5)",
		"DELETE FROM # WHERE v > 4", "UPDATE # SET v = 9 WHERE id = 2"}}, want: 6},
	"with an odd name":            {steps: [][]string{{three, nothing}}, want: 4},
	"emptied at once":             {engine: "mariadb", steps: [][]string{{three, nothing}, {"TRUNCATE TABLE #"}}, want: 1},
	"before it is made anew":      {engine: "mariadb", steps: [][]string{{three, nothing}, {"ALTER TABLE # ENGINE=InnoDB, FORCE"}}, want: 4},
	"by a higher counter":         {engine: "mariadb", steps: [][]string{{three}, {"ALTER TABLE # AUTO_INCREMENT = 1000"}}, want: 1000},
	"by another client's counter": {engine: "mariadb", steps: [][]string{{three}}, beside: []string{"ALTER TABLE # AUTO_INCREMENT = 1000"}, want: 1000},
	"before a lower counter":      {engine: "mariadb", steps: [][]string{{three, nothing}, {"ALTER TABLE # AUTO_INCREMENT = 2"}}, want: 2},
	"of an unsigned column": {engine: "mariadb", column: "BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY",
		steps: [][]string{{"INSERT INTO # (id, v) VALUES (9223372036854775807, 1)", nothing, "INSERT INTO # (id, v) VALUES (9223372036854775810, 1)", nothing}},
		want:  -9223372036854775805},
	"of a part of the key": {engine: "mariadb", column: "INT AUTO_INCREMENT, k INT NOT NULL DEFAULT 3, PRIMARY KEY (k, id), KEY (id)",
		steps: [][]string{{three, nothing}}, want: 4},
	"beside the key":          {engine: "mariadb", column: beside, steps: [][]string{{one, nothing, one, nothing}}, want: 3},
	"beside a key that stays": {engine: "mariadb", column: beside, steps: [][]string{{one, nothing, one, "UPDATE # SET id = 1"}, {nothing}}, want: 3},
}

// A key that the master has handed out is not handed out again by the replica that takes its place, whenever its row went.
// What resets a counter resets it there too.
func TestHandedOutKeysAfterPromotion(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		cases := make(map[string]handedOutCase) // by table
		names := make(map[string]string)
		for name, c := range handedOutCases {
			table := fmt.Sprintf("t%d", len(cases))
			if name == "with an odd name" {
				table = "`it's a \\ table`"
			}
			if c.column == "" {
				c.column = map[string]string{"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "mariadb": "INT AUTO_INCREMENT PRIMARY KEY"}[string(engine)]
			}
			if c.engine == "" || c.engine == engine {
				cases[table], names[table] = c, name
			}
		}
		sql := func(table string, list ...string) []string {
			r := strings.NewReplacer("#", table, "@", cases[table].column)
			for i := range list {
				list[i] = r.Replace(list[i])
			}
			return list
		}
		for table, c := range cases {
			f.Bypass(sql(table, "CREATE TABLE # (id @, v INT)")...)
			f.Bypass(sql(table, slices.Clone(c.before)...)...)
		}
		f.OpenAll()
		r := f.Replicas[0]
		for table, c := range cases {
			for _, step := range c.steps {
				if step = sql(table, slices.Clone(step)...); len(step) == 1 {
					f.Do(step...)
				} else {
					f.Tx(step...)
				}
				require.NoError(t, f.Master.WaitLevel(f.Ctx))
			}
			for at := f.Master.Position(); len(c.beside) > 0 && f.Master.Position() == at; { // the server tells of an ALTER by the second
				f.Bypass(sql(table, slices.Clone(c.beside)...)...)
				require.NoError(t, f.Master.WaitLevel(f.Ctx))
			}
		}
		f.Level()
		r.Stop()
		for table, c := range cases {
			f.Do(sql(table, slices.Clone(c.away)...)...)
		}
		f.OpenReplica(r)
		f.Level()
		f.Master.Stop()
		r.Stop()
		require.NoError(t, f.Open(r, func(o *ddb.Options) {}))
		for table, c := range cases {
			res, err := r.ExecContext(f.Ctx, sql(table, "INSERT INTO # (v) VALUES (77)")[0])
			require.NoError(t, err, names[table])
			key, err := res.LastInsertId()
			require.NoError(t, err)
			assert.Equal(t, c.want, key, names[table])
		}
	})
}
