package statements_test

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/stretchr/testify/require"
)

// money is a Valuer.
type money int64

func (m money) Value() (driver.Value, error) { return fmt.Sprintf("%d.00", m), nil }

// Statements that stay compiled give what they give without ddb: results, errors, every kind of argument.
func TestCompiledStatements(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 0)
	const create = "CREATE TABLE %s (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, i BIGINT UNSIGNED, d DECIMAL(10,2), s VARCHAR(100) UNIQUE, b BLOB, at DATETIME(6), f DOUBLE, y BOOL)"
	_, err := f.Master.ExecContext(f.Ctx, fmt.Sprintf(create, "here"))
	require.NoError(t, err)
	_, err = f.Master.Raw.ExecContext(f.Ctx, fmt.Sprintf(create, "plain"))
	require.NoError(t, err)
	text := "pointed to"
	at := time.Date(2026, 2, 3, 4, 5, 6, 789000000, time.UTC)
	for i, args := range [][]any{
		{uint64(math.MaxUint64), money(7), "one", []byte{0, 255, '\''}, at, math.Pi, true},
		{nil, "1.5", &text, []byte(nil), nil, float32(0.5), false},
		{int8(-1), 0, "out of range", nil, nil, nil, nil},
		{1, 2, "one", nil, nil, nil, nil}, // a duplicate
		{1, 2, "too", "few"},
		{1, 2, sql.Named("s", "x"), nil, nil, nil, nil},
		{1, 2, struct{}{}, nil, nil, nil, nil},
		{sql.NullInt64{Int64: 5, Valid: true}, sql.NullString{}, "last", "text for a blob", at.In(time.FixedZone("x", 3600)), 1, 1},
	} {
		const insert = "INSERT INTO %s (i, d, s, b, at, f, y) VALUES (?, ?, ?, ?, ?, ?, ?)"
		want, wantErr := f.Master.Raw.ExecContext(f.Ctx, fmt.Sprintf(insert, "plain"), args...)
		got, gotErr := f.Master.ExecContext(f.Ctx, fmt.Sprintf(insert, "here"), args...)
		require.Equal(t, wantErr == nil, gotErr == nil, "%d: %v, without ddb %v", i, gotErr, wantErr)
		if wantErr != nil {
			require.Contains(t, gotErr.Error(), wantErr.Error())
			continue
		}
		for _, of := range []func(sql.Result) (int64, error){sql.Result.LastInsertId, sql.Result.RowsAffected} {
			w, err := of(want)
			require.NoError(t, err)
			g, err := of(got)
			require.NoError(t, err)
			require.Equal(t, w, g)
		}
	}
	require.Equal(t, testcluster.Rows(t, f.Master.Raw, "SELECT *, HEX(b) FROM plain"), testcluster.Rows(t, f.Master.Raw, "SELECT *, HEX(b) FROM here"))
}

// A compiled statement follows its table through schema changes, by ddb and by others.
func TestCompiledStatementsFollowSchema(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 1)
	insert := func(id int) {
		t.Helper()
		_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, ?)", id, fmt.Sprint(id))
		require.NoError(t, err)
	}
	for i, change := range []string{"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))", "ALTER TABLE t MODIFY v INT", "ALTER TABLE t ADD INDEX (v)",
		"raw:ALTER TABLE t MODIFY v VARCHAR(20)", "DROP TABLE t", "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)", "TRUNCATE TABLE t"} {
		var err error
		if raw, ok := strings.CutPrefix(change, "raw:"); ok {
			_, err = f.Master.Raw.ExecContext(f.Ctx, raw)
		} else {
			_, err = f.Master.ExecContext(f.Ctx, change)
		}
		require.NoError(t, err)
		if strings.HasPrefix(change, "DROP") {
			_, err = f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, ?)", 1, "1")
			require.ErrorContains(t, err, "1146")
			continue
		}
		insert(10 * i)
		insert(10*i + 1)
	}
	f.Level()
	f.Same()
}

// A connection keeps a bounded number of statements compiled, one that is used again and again is compiled once, and a
// connection that the server has ended is replaced unseen.
func TestCompiledStatementsAreBounded(t *testing.T) {
	f := testcluster.OpenFixture(t, "mariadb", 0)
	f.Master.Raw.SetMaxIdleConns(20)
	status := func(name string) (n int) {
		t.Helper()
		var key string
		require.NoError(t, f.Master.Raw.QueryRowContext(f.Ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&key, &n))
		return n
	}
	_, err := f.Master.ExecContext(f.Ctx, "CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	require.NoError(t, err)
	held, compiled := status("Prepared_stmt_count"), status("Com_stmt_prepare")
	for i := range 200 {
		_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, ?)", i, i)
		require.NoError(t, err)
	}
	require.Less(t, status("Com_stmt_prepare")-compiled, 100, "of 200 uses")
	for i := range 500 {
		_, err := f.Master.ExecContext(f.Ctx, fmt.Sprintf("UPDATE t SET v = %d WHERE id = ?", i), i)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, status("Prepared_stmt_count")-held, 32*f.Master.Raw.Stats().OpenConnections)
	ids := testcluster.Rows(t, f.Master.Raw, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '"+f.Master.Name+"' AND COMMAND = 'Sleep' AND ID <> CONNECTION_ID()")
	for _, id := range strings.Fields(ids) {
		f.Master.Raw.ExecContext(f.Ctx, "KILL "+strings.Trim(id, "[]"))
	}
	for i := range 20 {
		_, err := f.Master.ExecContext(f.Ctx, "INSERT INTO t VALUES (?, ?)", 1000+i, i)
		require.NoError(t, err)
	}
}
