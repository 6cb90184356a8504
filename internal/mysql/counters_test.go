package mysql

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/testdb"
)

// Whatever way a key has come and gone on a follower, it is known after a crash of the server, and raising the counters
// makes the table go on behind it, once and never backwards.
func TestCountersOutliveServer(t *testing.T) {
	s := testdb.MariaDB(t)
	root := s.Open(t, "")
	mustExec(t, root, "CREATE DATABASE app", "CREATE USER u@'%' IDENTIFIED BY 'sesame'", "GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER, CREATE ON app.* TO u@'%'",
		"GRANT ALL PRIVILEGES ON `app\\_ddb`.* TO u@'%'")
	n := bindNode(t, openAs(t, s, "u", "sesame", "app"), dialect.Config{})
	here := func(key any) dialect.Row { return dialect.Row{Key: []any{key}, Values: []any{key, int64(1), int64(1)}} }
	gone := func(key any) dialect.Row { return dialect.Row{Key: []any{key}} }
	const most = uint64(1<<64 - 1)
	cases := []struct {
		column, v string
		mode      dialect.ApplyMode
		noLoad    bool
		calls     [][]dialect.Row
		noted     string // highest, "" where the table's own counter is to know
		next      uint64 // 0 for whatever is left of the type
	}{
		{"BIGINT", "INT", dialect.Strict, false, [][]dialect.Row{{here(int64(7))}, {gone(int64(7))}}, "", 8},
		{"BIGINT", "INT UNIQUE", dialect.Strict, false, [][]dialect.Row{{here(int64(7))}, {gone(int64(7))}}, "", 8},
		{"BIGINT", "INT", dialect.Replace, false, [][]dialect.Row{{here(int64(7))}, {gone(int64(7))}}, "", 8},
		{"BIGINT", "INT", dialect.Replace, true, [][]dialect.Row{{here(int64(7))}, {gone(int64(7))}}, "", 8},
		{"BIGINT", "BIT(8)", dialect.Replace, false, [][]dialect.Row{{here(int64(7))}, {gone(int64(7))}}, "", 8},
		{"BIGINT", "INT", dialect.Strict, false, [][]dialect.Row{{gone(int64(7))}}, "7", 8},
		{"BIGINT", "INT", dialect.Strict, false, [][]dialect.Row{{here(int64(3)), gone(int64(7))}, {gone(int64(5)), gone(int64(3))}}, "7", 8},
		{"BIGINT", "INT", dialect.Strict, false, [][]dialect.Row{{gone(int64(7))}, {here(int64(20))}}, "7", 21},
		{"BIGINT", "INT", dialect.Strict, false, [][]dialect.Row{{gone(int64(-7))}, {gone(int64(0))}}, "", 1},
		{"DOUBLE", "INT", dialect.Strict, false, [][]dialect.Row{{gone(7.0)}}, "7", 8},
		{"BIGINT UNSIGNED", "INT", dialect.Strict, false, [][]dialect.Row{{gone(most - 5)}}, fmt.Sprint(most - 5), most - 4},
		{"BIGINT UNSIGNED", "INT", dialect.Strict, false, [][]dialect.Row{{gone(most)}}, fmt.Sprint(most), 0},
		{"TINYINT", "INT", dialect.Strict, false, [][]dialect.Row{{gone(int64(127))}}, "127", 0},
	}
	for i, c := range cases {
		n.exec(fmt.Sprintf("CREATE TABLE t%d (id %s AUTO_INCREMENT PRIMARY KEY, v %s, w INT)", i, c.column, c.v))
	}
	for i, c := range cases {
		table := n.table(fmt.Sprintf("t%d", i))
		n.eng.applier.NoLoad.Store(c.noLoad)
		for _, rows := range c.calls {
			n.in(dialect.Replay, func(conn *sql.Conn) { n.ok(n.eng.Apply(t.Context(), conn, table, rows, c.mode)) })
		}
	}
	s.Kill()
	n.ok(s.Start())
	err := n.eng.RaiseCounters(t.Context(), n.db)
	if !errors.Is(err, dialect.ErrPrivilege) || !strings.Contains(err.Error(), "GRANT ALTER ON `app`.*") {
		t.Fatalf("without the privilege: %v", err)
	}
	for i, c := range cases {
		var highest sql.NullString
		n.ok(n.db.QueryRow("SELECT MAX(highest) FROM app_ddb.counters WHERE name = ?", fmt.Sprint("t", i)).Scan(&highest))
		if highest.String != c.noted {
			t.Errorf("t%d %+v: noted %q", i, c, highest.String)
		}
	}
	mustExec(t, root, "GRANT ALTER ON app.* TO u@'%'", "DROP TABLE app.t5", "INSERT INTO app_ddb.counters VALUES ('app', 't0', 3), ('gone', 't', 1)")
	n.db.SetMaxIdleConns(0) // the server looks up a connection's privileges when it begins
	for range 2 {
		n.ok(n.eng.RaiseCounters(t.Context(), n.db))
	}
	for i, c := range cases {
		res, err := n.db.Exec(fmt.Sprintf("INSERT INTO t%d (v) VALUES (NULL)", i))
		if i == 5 {
			continue // it was dropped
		}
		if c.next == 0 {
			if err == nil {
				t.Errorf("t%d %+v: another key was handed out", i, c)
			}
			continue
		}
		n.ok(err)
		if id, err := res.LastInsertId(); err != nil || uint64(id) != c.next {
			t.Errorf("t%d %+v: handed out %d, %v", i, c, uint64(id), err)
		}
	}
	if rows, err := lang.Texts(t.Context(), n.db, "SELECT * FROM app_ddb.counters"); err != nil || len(rows) > 0 {
		t.Errorf("left over: %v, %v", rows, err)
	}
}
