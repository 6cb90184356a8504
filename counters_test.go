package ddb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// A key of an AUTOINCREMENT column that was used once is never handed out again, by a promoted replica either: not one
// deleted before the replica's snapshot, nor one that came and went between two entries. Whether the file or the rows travelled.
func TestAutoincrementAfterPromotion(t *testing.T) {
	for name, extra := range map[string]string{"rows": "CREATE VIRTUAL TABLE words USING fts5(v)", "file": "CREATE TABLE keyed (id INTEGER PRIMARY KEY)"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "sqlite", 1)
			f.bypass("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)", "CREATE TABLE \"b's\" (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)",
				"CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)", extra)
			for _, table := range []string{"a", `"b's"`} {
				f.bypass("INSERT INTO "+table+" (v) VALUES (1), (2), (3)", "DELETE FROM "+table+" WHERE id >= 2")
			}
			f.openAll()
			for _, table := range []string{`"b's"`, "c"} {
				f.tx("INSERT INTO "+table+" (v) VALUES (1), (2)", "DELETE FROM "+table+" WHERE v = 2")
				f.level()
			}
			f.m.close()
			r := f.replicas[0]
			r.close()
			require.NoError(t, f.open(r, func(o *ddb.Options) {}))
			for table, want := range map[string]int64{"a": 4, `"b's"`: 6, "c": 3} {
				res, err := r.ExecContext(f.ctx, "INSERT INTO "+table+" (v) VALUES (9)")
				require.NoError(t, err)
				key, err := res.LastInsertId()
				require.NoError(t, err)
				require.Equal(t, want, key, table)
			}
		})
	}
}
