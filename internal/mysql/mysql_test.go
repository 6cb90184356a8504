package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"

	"github.com/ddb-project/ddb/dialect/dialecttest"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// newDatabase returns a handle on an empty database of the shared server.
func newDatabase(t *testing.T, params ...string) *sql.DB {
	t.Helper()
	s := testdb.SharedMariaDB(t)
	name := s.NewDatabase(t)
	root := s.Open(t, "")
	mustExec(t, root, "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app'", "GRANT ALL ON *.* TO app@'%'")
	t.Cleanup(func() {
		root := s.Open(t, "")
		defer root.Close()
		mustExec(t, root, "DROP DATABASE IF EXISTS "+lang.Ident(name+"_ddb"))
	})
	return openAs(t, s, "app", "app", name, params...)
}

// openAs opens a database of the server as another user.
func openAs(t *testing.T, s *testdb.Server, user, password, database string, params ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(127.0.0.1:%d)/%s?%s", user, password, s.Port(), database, strings.Join(params, "&")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, q dialect.Querier, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := q.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%.200s: %v", s, err)
		}
	}
}

func checksum(t *testing.T, db *sql.DB, table string) string {
	t.Helper()
	var name, sum string
	if err := db.QueryRow("CHECKSUM TABLE "+lang.Ident(table)).Scan(&name, &sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

// The dialect passes the suite whatever the parameters of the user's DSN.
func TestDialect(t *testing.T) {
	for _, params := range [][]string{
		nil,
		{"parseTime=true", "interpolateParams=true", "loc=America%2FNew_York"},
		{"collation=latin1_swedish_ci", "sql_mode=%27ANSI_QUOTES,NO_BACKSLASH_ESCAPES%27", "time_zone=%27-05:00%27"},
	} {
		t.Run(fmt.Sprint(len(params)), func(t *testing.T) {
			dialecttest.Test(t, dialecttest.Harness{
				Dialect:  Dialect{},
				Open:     func(t *testing.T) *sql.DB { return newDatabase(t, params...) },
				AutoKey:  "BIGINT AUTO_INCREMENT PRIMARY KEY",
				NoCase:   "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
				Checksum: checksum,
				Values: map[string][]any{
					"BIGINT":          {nil, int64(-1 << 63), int64(1<<63 - 1), 0},
					"BIGINT UNSIGNED": {nil, uint64(1<<64 - 1), 0},
					"DOUBLE":          {nil, 1.7976931348623157e308, 5e-324, 0.1, math.Copysign(0, -1)},
					"LONGTEXT":        {nil, "", "a\x00b'\"\\%_\n\r\x1a", "äöü€😀"},
					"LONGBLOB":        {nil, []byte{}, []byte("\x00\xff'\\")},
				},
			})
		})
	}
}
