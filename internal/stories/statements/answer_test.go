package statements_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
)

// A limited answer is refused with a name where it is too large, in whichever way it is asked for, and the connections that
// it has used have no limit for those who ask for none.
func TestWithMaxBytes(t *testing.T) {
	for name, db := range map[string]*sql.DB{
		"sqlite":  func() *sql.DB { _, db := testdb.SQLite(t); return db }(),
		"mariadb": func() *sql.DB { s := testdb.MariaDB(t); return s.Open(t, s.NewDatabase(t)) }(),
	} {
		t.Run(name, func(t *testing.T) {
			db.SetMaxOpenConns(8)
			c, err := ddb.Open(t.Context(), db, ddb.Options{})
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, s LONGTEXT)")
			require.NoError(t, err)
			_, err = c.Exec("INSERT INTO t VALUES (1, ?), (2, 'small')", strings.Repeat("x", 3<<20))
			require.NoError(t, err)
			limited := ddb.WithMaxBytes(t.Context(), 1<<20)
			for range 20 { // more than there are connections
				var s string
				require.ErrorIs(t, c.QueryRowContext(limited, "SELECT s FROM t WHERE id = 1").Scan(&s), ddb.ErrTooLarge)
				require.NoError(t, c.QueryRowContext(limited, "SELECT s FROM t WHERE id = 2").Scan(&s))
				require.Equal(t, "small", s)
				rows, err := c.QueryContext(limited, "SELECT s FROM t ORDER BY id DESC")
				require.NoError(t, err)
				for rows.Next() {
				}
				require.ErrorIs(t, rows.Err(), ddb.ErrTooLarge)
				require.NoError(t, c.QueryRow("SELECT s FROM t WHERE id = 1").Scan(&s))
				require.Len(t, s, 3<<20)
			}
		})
	}
}
