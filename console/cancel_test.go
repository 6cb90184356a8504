package console_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// A canceled statement ends in the MariaDB server too, wherever it runs and however it got there. BENCHMARK would
// not notice that its client has gone.
func TestCancelMariaDB(t *testing.T) {
	h := build(t, engines[1], console.Options{})
	h.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	h.exec("INSERT INTO t VALUES (1, 1)")
	r1, r1db := h.follow(ddb.Replica, "r1", nil)
	wait(t, "r1", func() bool { return h.master.Nodes()[1].State == ddb.Active })
	away, err := console.New(r1, console.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { away.Close() })
	remote := httptest.NewServer(away)
	t.Cleanup(remote.Close)

	const work = "BENCHMARK(1000000000000, SHA2('x', 512))"
	for name, at := range map[string]struct {
		url     string
		db      *sql.DB
		request map[string]any
	}{
		"read on the master":               {h.server.URL, h.db, map[string]any{"sql": "SELECT " + work, "consistency": "strong"}},
		"read on a replica":                {h.server.URL, r1db, map[string]any{"sql": "SELECT " + work, "node": "r1"}},
		"write":                            {h.server.URL, h.db, map[string]any{"sql": "UPDATE t SET v = " + work}},
		"transaction":                      {h.server.URL, h.db, map[string]any{"sql": "BEGIN; UPDATE t SET v = 7; SELECT " + work + "; COMMIT"}},
		"session":                          {h.server.URL, h.db, map[string]any{"sql": "SET @a = 1; SELECT @a, " + work}},
		"read of a replica's console":      {remote.URL, r1db, map[string]any{"sql": "SELECT " + work, "node": "r1"}},
		"sent from a replica's console":    {remote.URL, h.db, map[string]any{"sql": "SELECT " + work, "consistency": "strong"}},
		"write from a replica's console":   {remote.URL, h.db, map[string]any{"sql": "UPDATE t SET v = " + work}},
		"session from a replica's console": {remote.URL, h.db, map[string]any{"sql": "BEGIN; UPDATE t SET v = 7; SELECT " + work + "; COMMIT"}},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(at.request)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "POST", at.url+"/api/sql", bytes.NewReader(body))
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() {
				res, err := http.DefaultClient.Do(r)
				if err == nil {
					res.Body.Close()
					err = errors.New("the statement has come to an end")
				}
				ended <- err
			}()
			wait(t, "the statement on its server", func() bool { return busy(t, at.db, "BENCHMARK") == 1 })
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			wait(t, "its end", func() bool { return busy(t, at.db, "BENCHMARK") == 0 })
			var v int
			require.NoError(t, h.db.QueryRow("SELECT v FROM t").Scan(&v))
			require.Equal(t, 1, v)
			require.Equal(t, []any{json.Number("1")}, h.sql(200, map[string]any{"sql": "SELECT v FROM t"}).Rows[0]) // the pools are sound
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

// What a statement leaves for the next one is still there under the console's readiness to kill it.
func TestSessionKept(t *testing.T) {
	h := build(t, engines[1], console.Options{})
	h.exec("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
	a := h.sql(200, map[string]any{"sql": "BEGIN; INSERT INTO t (v) VALUES (1), (2), (3); SELECT ROW_COUNT(), LAST_INSERT_ID(); COMMIT"})
	require.Equal(t, []any{json.Number("3"), json.Number(fmt.Sprint(a.Results[1].LastInsertID))}, a.Results[2].Rows[0])
}
