package gate

import (
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

// Which of the rows that an INSERT tells were moved to another key shows by the keys that they are told with, or it is not told at all.
func TestMoved(t *testing.T) {
	was := func(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: true} }
	for _, c := range []struct {
		what   string
		keys   []driver.Value
		was    sql.NullInt64
		count  int64
		rising bool
		want   []int
	}{
		{what: "one of one", keys: []driver.Value{int64(7)}, was: was(7), count: 1, want: []int{0}},
		{what: "each had the same place", keys: []driver.Value{int64(7), int64(7)}, was: was(7), count: 2, want: []int{0, 1}},
		{what: "the first had a key of its own", keys: []driver.Value{int64(3), int64(7)}, was: was(7), count: 1, want: []int{1}},
		{what: "keys rise", keys: []driver.Value{int64(6), int64(7)}, was: was(7), count: 2, rising: true, want: []int{0, 1}},
		{what: "keys would rise, but not in this table", keys: []driver.Value{int64(6), int64(7)}, was: was(7), count: 2},
		{what: "one with the key of a moved one, by chance", keys: []driver.Value{int64(7), int64(7)}, was: was(7), count: 1},
		{what: "rising, with one of its own between", keys: []driver.Value{int64(5), int64(9), int64(7)}, was: was(7), count: 3, rising: true},
		{what: "rising, and a row that was not moved", keys: []driver.Value{int64(6), int64(7), int64(8)}, was: was(7), count: 2, rising: true},
		{what: "none is known to have been moved", keys: []driver.Value{int64(7)}, count: 1},
		{what: "a key that is no number", keys: []driver.Value{"7"}, was: was(7), count: 1},
	} {
		in := keyedInsert{rising: c.rising}
		require.Equal(t, c.want, in.moved(c.keys, c.was, c.count), c.what)
	}
}
