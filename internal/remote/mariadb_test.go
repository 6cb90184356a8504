package remote

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/go-sql-driver/mysql"
)

// MariaDB's values, result sets and error numbers come through unharmed.
func TestMariaDB(t *testing.T) {
	server := testdb.SharedMariaDB(t)
	direct := server.Open(t, server.NewDatabase(t), "parseTime=true", "multiStatements=true")
	r := newRig(t, direct, ServeOptions{}, Options{})
	mustExec(t, r.db, `CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, f FLOAT, d DOUBLE, b BLOB, s VARCHAR(20), ts DATETIME(6), n DECIMAL(10,2))`)
	mustExec(t, r.db, `INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)`, uint64(math.MaxUint64), 0.5, math.Copysign(0, -1), []byte{}, "text", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), "1.50")
	for _, args := range [][]any{nil, {0}} { // the text and the binary protocol
		query := `SELECT * FROM t`
		if args != nil {
			query += ` WHERE id > ?`
		}
		want, got := readAll(t, direct, query, args...), readAll(t, r.db, query, args...)
		for i := range want.rows[0] {
			if !same(got.rows[0][i], want.rows[0][i]) || got.types[i] != want.types[i] {
				t.Errorf("got %#v (%+v), directly %#v (%+v)", got.rows[0][i], got.types[i], want.rows[0][i], want.types[i])
			}
		}
	}
	_, err := r.db.Exec(`INSERT INTO t (id) VALUES (?)`, uint64(math.MaxUint64))
	var my *mysql.MySQLError
	if !errors.As(err, &my) || my.Number != 1062 || string(my.SQLState[:]) != "23000" {
		t.Errorf("a duplicate key gives %#v", err)
	}

	rows, err := r.db.Query(`SELECT 1 AS a; SELECT 'x' AS b, 2 AS c`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.NextResultSet() || !rows.Next() {
		t.Fatal("no second result set")
	}
	if names, _ := rows.Columns(); len(names) != 2 || names[0] != "b" || rows.NextResultSet() {
		t.Errorf("columns %v", names)
	}
	tx, err := r.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`DELETE FROM t`); !errors.As(err, &my) || my.Number != 1792 {
		t.Errorf("a write in a read-only transaction gives %v", err)
	}
}

// A cancelled statement returns at once, and the next finds a good connection.
func TestMariaDBCancel(t *testing.T) {
	server := testdb.SharedMariaDB(t)
	r := newRig(t, server.Open(t, server.NewDatabase(t)), ServeOptions{}, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := r.db.ExecContext(ctx, `DO SLEEP(5)`)
	wantErr(t, err, context.DeadlineExceeded)
	if n := queryInt(t, r.db, `SELECT 1`); n != 1 {
		t.Errorf("got %d", n)
	}
}
