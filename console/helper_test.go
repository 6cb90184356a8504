package console_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// house is a cluster in one process with a console on its master.
type house struct {
	t       *testing.T
	engine  *engine
	network *inmem.Network
	master  *ddb.Cluster
	db      *sql.DB // the master's
	console *console.Handler
	server  *httptest.Server
	token   string
}

// heartbeat is short, so that a fallen node is soon seen.
const heartbeat = 200 * time.Millisecond

// engine is a kind of database.
type engine struct {
	name string
	open func(t *testing.T) (*sql.DB, console.Server)
}

// engines are the kinds that the tests of the API and the page run on.
var engines = []*engine{
	{"sqlite", func(t *testing.T) (*sql.DB, console.Server) { _, db := testdb.SQLite(t); return db, console.Server{} }},
	{"mariadb", func(t *testing.T) (*sql.DB, console.Server) {
		s := testdb.MariaDB(t)
		name := s.NewDatabase(t)
		return s.Open(t, name), console.Server{Host: "127.0.0.1", Port: s.Port(), User: s.User(), Password: s.Password(), Database: name}
	}},
}

// onEach runs the test on each kind of database.
func onEach(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

// build starts a master with a console.
func build(t *testing.T, e *engine, opts console.Options) *house {
	t.Helper()
	h := &house{t: t, engine: e, network: inmem.New()}
	h.db, opts.Database = e.open(t)
	h.over(opts)
	return h
}

// over starts the master, with its console, over a database that is there.
func (h *house) over(opts console.Options) {
	t := h.t
	t.Helper()
	h.token = opts.Token
	var err error
	h.master, err = ddb.Open(testContext(t), h.db, ddb.Options{Listen: "master", Transport: h.network, Logger: logger(t), Heartbeat: heartbeat})
	require.NoError(t, err)
	t.Cleanup(func() { h.master.Close() })
	opts.Logger = logger(t)
	if opts.Sample == 0 {
		opts.Sample = 200 * time.Millisecond
	}
	h.console, err = console.New(h.master, opts)
	require.NoError(t, err)
	h.server = httptest.NewServer(h.console)
	t.Cleanup(func() {
		require.NoError(t, h.console.Close())
		h.server.Close()
	})
}

// follow opens a replica or snap on the database, or on a new one if it is nil.
func (h *house) follow(role ddb.Role, id string, db *sql.DB) (*ddb.Cluster, *sql.DB) {
	h.t.Helper()
	if db == nil {
		db, _ = h.engine.open(h.t)
	}
	c, err := ddb.Open(testContext(h.t), db, ddb.Options{ID: id, Role: role, Master: "master", Transport: h.network, Logger: logger(h.t), Heartbeat: heartbeat})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { c.Close() })
	require.NoError(h.t, c.WaitReady(testContext(h.t)))
	return c, db
}

func (h *house) exec(query string, args ...any) {
	h.t.Helper()
	_, err := h.master.Exec(query, args...)
	require.NoError(h.t, err, query)
}

// call sends a request and returns the answer. A body that is no io.Reader is sent as JSON.
func (h *house) call(method, path string, body any, headers ...string) (int, http.Header, []byte) {
	h.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		in = b
	default:
		text, err := json.Marshal(b)
		require.NoError(h.t, err)
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(testContext(h.t), method, h.server.URL+path, in)
	require.NoError(h.t, err)
	if h.token != "" {
		r.Header.Set("Authorization", "Bearer "+h.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.server.Client().Do(r)
	require.NoError(h.t, err)
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	return res.StatusCode, res.Header, out
}

// answer is a result of /api/sql.
type answer struct {
	Columns      []struct{ Name, Type string }
	Rows         [][]any
	RowsAffected int64
	LastInsertID int64 `json:"lastInsertId"`
	Node         string
	LSN          uint64
	ElapsedMs    float64
	Truncated    bool
	Results      []answer
	Error        string
	Statement    int
	Offset       int
}

// sql runs a statement through the API.
func (h *house) sql(status int, request map[string]any) answer {
	h.t.Helper()
	got, _, body := h.call("POST", "/api/sql", request)
	require.Equal(h.t, status, got, "%s", body)
	var a answer
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	require.NoError(h.t, d.Decode(&a), "%s", body)
	return a
}

// patience is how long a test waits for what must come, on the busiest machine.
const patience = time.Minute

// wait returns when the condition holds, and fails when it does not within patience.
func wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); {
		require.True(t, time.Now().Before(end), "never came: %s", what)
		select {
		case <-t.Context().Done():
			t.Fatal(what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*patience)
	t.Cleanup(cancel)
	return ctx
}

func logger(t *testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: testWriter{t}})
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Log(string(b)); return len(b), nil }
