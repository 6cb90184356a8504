package gate

import (
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// What asks for nothing but the last key or the number of rows is told what the last write on the connection came to; all else is not.
func TestLastRow(t *testing.T) {
	type row struct {
		name  string
		value int64
	}
	for _, c := range []struct {
		query string
		want  row // no name for none
	}{
		{"SELECT LAST_INSERT_ID()", row{"LAST_INSERT_ID()", 5}},
		{" select last_insert_id ( ) ; ", row{"last_insert_id ( )", 5}},
		{"SELECT LAST_INSERT_ID() AS id", row{"id", 5}},
		{"SELECT last_insert_rowid() id", row{"id", 5}},
		{"SELECT ROW_COUNT()", row{"ROW_COUNT()", 3}},
		{"SELECT changes() AS n", row{"n", 3}},
		{"SELECT LAST_INSERT_ID(7)", row{}},
		{"SELECT LAST_INSERT_ID(), ROW_COUNT()", row{}},
		{"SELECT LAST_INSERT_ID() FROM t", row{}},
		{"SELECT LAST_INSERT_ID()" + strings.Repeat(" ", 100), row{}},
		{"SELECT 1", row{}},
	} {
		stmt := route.NewTexts(sqlclass.MySQL, nil, nil, "").Read(c.query)
		require.Nil(t, (&routedConn{}).lastRow(stmt), "nothing was written")
		rows := (&routedConn{last: lastWrite{any: true, id: 5, rows: 3}}).lastRow(stmt)
		if c.want.name == "" {
			require.Nil(t, rows, c.query)
			continue
		}
		require.Equal(t, []string{c.want.name}, rows.Columns(), c.query)
		values := make([]driver.Value, 1)
		require.NoError(t, rows.Next(values))
		require.Equal(t, c.want.value, values[0], c.query)
		require.Error(t, rows.Next(values))
	}
}

// A row counts by its texts and bytes, and a limit of 0 is none.
func TestAnswerLimitChecks(t *testing.T) {
	row := []any{"1234", []byte("56"), int64(1), nil}
	for _, c := range []struct {
		max     int64
		refused bool
	}{{0, false}, {5, true}, {6, false}} {
		err := answerLimit{max: c.max}.check(row)
		if !c.refused {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, fault.ErrTooLarge)
		require.ErrorContains(t, err, "a row has 6 bytes, and 5 are allowed")
	}
}
