package ddb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/tcp"
)

func TestSmokeSQLite(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	_, mdb := testdb.SQLite(t)
	_, rdb := testdb.SQLite(t)
	_, err := mdb.Exec("CREATE TABLE old (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO old VALUES (1,'a'),(2,'b')")
	require.NoError(t, err)
	m, err := ddb.Open(ctx, mdb, ddb.Options{Listen: "127.0.0.1:17400", Transport: tcp.New(tcp.Options{}), Logger: log})
	require.NoError(t, err)
	defer m.Close()
	r, err := ddb.Open(ctx, rdb, ddb.Options{ID: "r1", Role: ddb.Replica, Master: "127.0.0.1:17400", Transport: tcp.New(tcp.Options{}), Logger: log})
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.WaitReady(ctx))
	_, err = m.Exec("CREATE TABLE new (id INTEGER PRIMARY KEY, v TEXT UNIQUE)")
	require.NoError(t, err)
	for i := range 100 {
		_, err = m.Exec("INSERT INTO new (v) VALUES (?)", fmt.Sprint(i))
		require.NoError(t, err)
	}
	_, err = r.Exec("UPDATE old SET v = v || 'x'")
	require.NoError(t, err)
	var n int
	require.NoError(t, r.QueryRow("SELECT count(*) FROM old WHERE v LIKE '%x'").Scan(&n))
	require.Equal(t, 2, n)
	require.NoError(t, m.WaitLevel(ctx))
	require.NoError(t, rdb.QueryRow("SELECT count(*) FROM new").Scan(&n))
	require.Equal(t, 100, n)
	require.NoError(t, m.QueryRow("SELECT count(*) FROM new").Scan(&n))
	require.Equal(t, 100, n)
	tx, err := m.Begin()
	require.NoError(t, err)
	tx.Exec("DELETE FROM new")
	require.NoError(t, tx.Commit())
	require.NoError(t, m.QueryRow("SELECT count(*) FROM new").Scan(&n))
	require.Equal(t, 0, n)
	for _, s := range m.Nodes() {
		t.Logf("%+v", s)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Log(string(b)); return len(b), nil }
