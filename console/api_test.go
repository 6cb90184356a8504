package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// A statement's result has all that the documentation promises, with every digit.
func TestSQL(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{})
		h.follow(ddb.Replica, "r1", nil)
		a := h.sql(200, map[string]any{"sql": "CREATE TABLE t (id BIGINT PRIMARY KEY, d DECIMAL(20,4), b BLOB, s VARCHAR(100))"})
		require.Equal(t, "master", a.Node)
		a = h.sql(200, map[string]any{"sql": "INSERT INTO t VALUES (?, ?, ?, ?)", "args": []any{json.Number("9223372036854775807"), "12.5", map[string]string{"base64": "AP8="}, nil}})
		require.EqualValues(t, 1, a.RowsAffected)
		require.NotZero(t, a.LSN+1)
		a = h.sql(200, map[string]any{"sql": "SELECT id, d, b, s FROM t", "consistency": "strong"})
		require.Equal(t, []any{json.Number("9223372036854775807"), a.Rows[0][1], "AP8=", nil}, a.Rows[0])
		if e.name == "mariadb" {
			require.Equal(t, "12.5000", a.Rows[0][1])
		}
		require.Equal(t, "id", a.Columns[0].Name)
		require.Equal(t, "BLOB", strings.ToUpper(a.Columns[2].Type))
		require.Equal(t, "master", a.Node)
		require.NoError(t, h.master.WaitLevel(testContext(t)))
		require.Equal(t, "r1", h.sql(200, map[string]any{"sql": "SELECT 1", "node": "r1"}).Node)
		require.Equal(t, "r1", h.sql(200, map[string]any{"sql": "SELECT 1", "consistency": "eventual"}).Node)

		// Several statements share one session and one transaction.
		a = h.sql(200, map[string]any{"sql": "BEGIN; INSERT INTO t (id) VALUES (1); INSERT INTO t (id) VALUES (2); COMMIT; SELECT count(*) FROM t"})
		require.Len(t, a.Results, 5)
		require.Equal(t, json.Number("3"), a.Rows[0][0])
		// A transaction that is left open has done nothing.
		a = h.sql(400, map[string]any{"sql": "BEGIN; DELETE FROM t"})
		require.Contains(t, a.Error, "rolled back")
		require.Equal(t, json.Number("3"), h.sql(200, map[string]any{"sql": "SELECT count(*) FROM t"}).Rows[0][0])

		// An error names its statement.
		a = h.sql(400, map[string]any{"sql": "SELECT 1;\nSELECT nothing FROM nowhere"})
		require.Equal(t, 1, a.Statement)
		require.Equal(t, 10, a.Offset)
		require.Len(t, a.Results, 1)

		a = h.sql(200, map[string]any{"sql": "SELECT id FROM t ORDER BY id", "maxRows": 2})
		require.Len(t, a.Rows, 2)
		require.True(t, a.Truncated)
		require.NotEmpty(t, h.sql(200, map[string]any{"sql": "SELECT * FROM t", "explain": true}).Rows)
		h.sql(400, map[string]any{"sql": "SELECT 1", "consistency": "sometimes"})
		h.sql(400, map[string]any{"sql": " ; "})
	})
}

// Every storage class of SQLite arrives as what it is, whatever the column's type says.
func TestSQLiteValues(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	h.exec("CREATE TABLE v (id INTEGER PRIMARY KEY, a, b BLOB, d DATETIME)")
	h.exec("INSERT INTO v VALUES (1, 1.0, X'', '2024-01-02 03:04:05'), (2, X'00', 'text', 'soon'), (3, 9e999, NULL, NULL), (4, 'ü\"<', NULL, 5)")
	_, _, body := h.call("POST", "/api/sql", map[string]any{"sql": "SELECT a, b FROM v ORDER BY id"})
	require.Contains(t, string(body), `[[1.0,""],[{"base64":"AA=="},{"text":"text"}],["Infinity",null],["ü\"\u003c",null]]`)
	_, _, body = h.call("GET", "/api/rows?table=v&order=id&desc=1&filter=2024", nil)
	require.Contains(t, string(body), `[[1,1.0,"","2024-01-02 03:04:05"]]`)
	require.NotContains(t, string(body), "soon")
	code, _, _ := h.call("GET", "/api/rows?table=v&order=nothing", nil)
	require.Equal(t, 400, code)
	code, _, _ = h.call("GET", "/api/rows?table=_ddb_journal", nil)
	require.Equal(t, 404, code)
}

// The status, its stream, the schema, the journal and the log of statements tell what happens.
func TestViews(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{})
		h.cluster.FillShop()
		r, _ := h.follow(ddb.Replica, "r1", nil)
		res, err := http.Get(h.server.URL + "/api/events")
		require.NoError(t, err)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		read := func(want string) {
			for lines.Scan() {
				if strings.Contains(lines.Text(), want) {
					return
				}
			}
			t.Fatalf("the stream ended before %q: %v", want, lines.Err())
		}
		read(`"state":"active"`)
		read("event: point")
		_, _, body := h.call("GET", "/api/status", nil)
		var st struct {
			Epoch, LSN uint64
			Nodes      []struct {
				ID, Role, State string
				LagMs           *float64
			}
		}
		require.NoError(t, json.Unmarshal(body, &st))
		require.Len(t, st.Nodes, 2)
		require.NotZero(t, st.LSN)

		code, _, _ := h.call("POST", "/api/nodes/r1", map[string]bool{"maintenance": true})
		require.Equal(t, 200, code)
		read(`"maintenance":true`)
		require.Equal(t, "master", h.sql(200, map[string]any{"sql": "SELECT 1", "consistency": "eventual"}).Node)
		h.call("POST", "/api/nodes/r1", map[string]bool{"maintenance": false})
		code, _, _ = h.call("POST", "/api/nodes/nobody", map[string]bool{"maintenance": false})
		require.Equal(t, 404, code)

		code, _, _ = h.call("DELETE", "/api/nodes/nobody", nil)
		require.Equal(t, 404, code)
		code, _, _ = h.call("DELETE", "/api/nodes/r1", nil)
		require.Equal(t, 409, code, "it is connected")

		_, _, body = h.call("GET", "/api/tables", nil)
		require.Contains(t, string(body), `"name":"orders","rows":240`)
		require.NotContains(t, string(body), "_ddb_")
		wait(t, "the orders in the journal", func() bool {
			_, _, body = h.call("GET", "/api/journal", nil)
			return strings.Contains(string(body), `orders","written":240`)
		})
		h.sql(200, map[string]any{"sql": "SELECT 42"})
		_, _, body = h.call("GET", "/api/log", nil)
		require.Contains(t, string(body), "SELECT 42")
		require.Contains(t, string(body), "admin@127.0.0.1")
		h.sql(400, map[string]any{"sql": "CREATE USER nobody IDENTIFIED BYY 'hunter2'"}) // MariaDB quotes what it does not understand
		_, _, body = h.call("GET", "/api/log", nil)
		require.NotContains(t, string(body), "hunter2")
		_, _, body = h.call("POST", "/api/split", map[string]string{"sql": "SELECT 1; DROP TABLE orders"})
		require.Contains(t, string(body), `"kind":"schema","offset":10,"destructive":true`)

		require.NoError(t, r.Close())
		read(`"state":"inactive"`)
		_, _, body = h.call("GET", "/metrics", nil)
		require.Contains(t, string(body), `ddb_node_state{id="r1",role="replica",state="inactive"} 1`)
		require.Contains(t, string(body), "ddb_lsn ")
	})
}

// Load balancers are told by each node what it can serve, by GET, HEAD and OPTIONS.
func TestHealth(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{Token: "a token nobody sends here"})
		h.token = ""
		r, rdb := h.follow(ddb.Replica, "r1", nil)
		rc, err := console.New(r, console.Options{})
		require.NoError(t, err)
		defer rc.Close()
		ask := func(path string) int {
			codes := make([]int, 3)
			for i, method := range []string{"GET", "HEAD", "OPTIONS"} {
				codes[i], _, _ = h.call(method, path, nil)
			}
			require.Equal(t, []int{codes[0], codes[0], codes[0]}, codes, path)
			return codes[0]
		}
		for path, want := range map[string]int{"/primary": 200, "/replica": 503, "/read-only": 200, "/readiness": 200, "/liveness": 200} {
			require.Equal(t, want, ask(path), "master %s", path)
		}
		h.server.Config.Handler = rc
		for path, want := range map[string]int{"/primary": 503, "/replica": 200, "/replica?lag=2s": 200, "/read-only": 200, "/readiness": 200, "/replica?lag=much": 400} {
			require.Equal(t, want, ask(path), "replica %s", path)
		}
		s, _ := h.follow(ddb.Snap, "s1", nil)
		sc, err := console.New(s, console.Options{})
		require.NoError(t, err)
		defer sc.Close()
		h.server.Config.Handler = sc
		for path, want := range map[string]int{"/primary": 503, "/replica": 200, "/read-only": 200, "/readiness": 200, "/liveness": 200} {
			require.Equal(t, want, ask(path), "snap %s", path)
		}
		h.server.Config.Handler = rc
		require.NoError(t, rdb.Close()) // its database is gone
		require.Equal(t, 503, ask("/replica"))
		require.Equal(t, 200, ask("/liveness"))
	})
}

// Tokens decide who may do what; nothing tells a wrong one from none.
func TestAccess(t *testing.T) {
	h := build(t, engines[0], console.Options{Token: "the admin's token", Tokens: map[string]console.Access{"reader": console.Read, "writer": console.Write}})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	as := func(token, sql string) int {
		h.token = token
		code, _, _ := h.call("POST", "/api/sql", map[string]any{"sql": sql})
		return code
	}
	require.Equal(t, 401, as("wrong", "SELECT 1"))
	require.Equal(t, 401, as("", "SELECT 1"))
	require.Equal(t, 200, as("reader", "SELECT 1"))
	require.Equal(t, 403, as("reader", "INSERT INTO t VALUES (1)"))
	require.Equal(t, 403, as("reader", "SELECT 1; INSERT INTO t VALUES (1)"))
	require.Equal(t, 200, as("writer", "INSERT INTO t VALUES (1)"))
	require.Equal(t, 403, as("writer", "DROP TABLE t"))
	require.Equal(t, 200, as("the admin's token", "DROP TABLE t"))

	h.token = ""
	code, _, _ := h.call("POST", "/api/login", map[string]string{"token": "wrong"})
	require.Equal(t, 401, code)
	code, head, body := h.call("POST", "/api/login", map[string]string{"token": "reader"})
	require.Equal(t, 200, code)
	cookie := head.Get("Set-Cookie")
	require.Contains(t, cookie, "HttpOnly")
	require.Contains(t, cookie, "SameSite=Strict")
	require.NotContains(t, cookie+string(body), "reader")
	session := strings.SplitN(cookie, ";", 2)[0]
	code, _, _ = h.call("GET", "/api/status", nil, "Cookie", session)
	require.Equal(t, 200, code)
	for _, origin := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		code, _, _ = h.call("POST", "/api/sql", map[string]any{"sql": "SELECT 1"}, append(origin, "Cookie", session)...)
		require.Equal(t, 403, code, origin)
	}
	h.call("POST", "/api/logout", nil, "Cookie", session)
	code, _, _ = h.call("GET", "/api/status", nil, "Cookie", session)
	require.Equal(t, 401, code)
	code, head, _ = h.call("GET", "/", nil)
	require.Equal(t, 200, code)
	require.Contains(t, head.Get("Content-Security-Policy"), "default-src 'none'")
}

// A console that asks for no token is for this machine only.
func TestNoToken(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	err := console.Serve(t.Context(), "0.0.0.0:0", h.console)
	require.ErrorContains(t, err, "without a token")
	require.ErrorContains(t, err, "DDB_TOKEN")
	r, err := http.NewRequest("GET", h.server.URL+"/api/status", nil)
	require.NoError(t, err)
	r.Host = "rebound.example"
	res, err := h.server.Client().Do(r)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, 403, res.StatusCode)
}

// Serve stops with its context, and the streams end with it.
func TestServe(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	ctx, stop := context.WithCancel(t.Context())
	ln, err := console.Listen("127.0.0.1:0", h.console)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- console.ServeListener(ctx, ln, h.console) }()
	res, err := http.Get("http://" + ln.Addr().String() + "/api/events")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 200, res.StatusCode)
	stop()
	require.NoError(t, <-ended)
	_, err = net.DialTimeout("tcp", ln.Addr().String(), time.Second)
	require.Error(t, err)
	http.DefaultClient.CloseIdleConnections()
}

// Bodies and time are limited, and a client that goes takes its statement with it.
func TestLimits(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{MaxBody: 1000, Timeout: 300 * time.Millisecond, MaxStatements: 1})
		code, _, _ := h.call("POST", "/api/sql", map[string]string{"sql": strings.Repeat(" ", 2000)})
		require.Equal(t, 413, code)
		code, _, _ = h.call("POST", "/api/sql", map[string]string{"sql": "SELECT 1", "more": "?"})
		require.Equal(t, 400, code)
		slow := map[string]string{"sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c", "mariadb": "SELECT SLEEP(20)"}[e.name]
		a := h.sql(504, map[string]any{"sql": slow})
		require.Contains(t, a.Error, "300ms")
		wait(t, "an answer in time", func() bool { // on a machine that is busy not at once
			code, _, _ := h.call("POST", "/api/sql", map[string]string{"sql": "SELECT 1"})
			return code == 200
		})
	})
}

// Floats survive the way out as text that gives the same bits.
func TestFloats(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	for _, f := range []float64{0.1, 1e300, 5e-324, math.MaxFloat64, 1e21, 123456789.125} {
		a := h.sql(200, map[string]any{"sql": "SELECT ?", "args": []any{f}})
		got, err := a.Rows[0][0].(json.Number).Float64()
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
}
