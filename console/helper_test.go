package console_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// Short names for what these tests have in common with those of the page, which are in a module of their own.
var (
	wait        = testcluster.Wait
	testContext = testcluster.Context
	logger      = testcluster.Logger
	need        = testcluster.Program
	contents    = testcluster.Contents
	busy        = testcluster.Busy
	count       = testcluster.Count
)

// house is a cluster in one process with a console on its master.
type house struct {
	t       *testing.T
	engine  *engine
	cluster *testcluster.Cluster
	network *inmem.Network
	master  *ddb.Cluster
	db      *sql.DB // the master's
	console *console.Handler
	server  *httptest.Server
	token   string
}

// engine is a kind of database.
type engine struct {
	name string
	open func(t *testing.T) (*sql.DB, console.Server)
}

// engines are the kinds that the tests of the API run on.
var engines = []*engine{
	{"sqlite", func(t *testing.T) (*sql.DB, console.Server) {
		return testcluster.SQLite.OpenAlone(t).DB, console.Server{}
	}},
	{"mariadb", func(t *testing.T) (*sql.DB, console.Server) {
		d := testcluster.MariaDB.OpenAlone(t)
		return d.DB, console.Server{Host: "127.0.0.1", Port: d.Server.Port(), User: d.Server.User(), Password: d.Server.Password(), Database: d.Name}
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
	h := &house{t: t, engine: e}
	h.db, opts.Database = e.open(t)
	h.over(opts)
	return h
}

// over starts the master, with its console, over a database that is there.
func (h *house) over(opts console.Options) {
	t := h.t
	t.Helper()
	h.cluster = testcluster.New(t, h.db)
	h.network, h.master, h.token = h.cluster.Network, h.cluster.Master, opts.Token
	opts.Logger = logger(t)
	if opts.Sample == 0 {
		opts.Sample = 200 * time.Millisecond
	}
	var err error
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
	return h.cluster.Follow(role, id, db), db
}

func (h *house) exec(query string, args ...any) {
	h.t.Helper()
	h.cluster.Exec(query, args...)
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
