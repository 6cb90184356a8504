package streamlit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"database/sql"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/tcp"
)

const (
	testTimeout = 5 * time.Minute
	token       = "a-token-for-the-tests"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// The app's own tests pass against a running master with a replica.
func TestApp(t *testing.T) {
	python := streamlitPython(t)
	t.Run("SQLite", func(t *testing.T) {
		_, master := testdb.SQLite(t)
		_, replica := testdb.SQLite(t)
		runPythonTests(t, python, startCluster(t, master, replica, console.Server{}))
	})
	t.Run("MariaDB", func(t *testing.T) {
		// Two servers, as the database has the same name on both nodes.
		server := testdb.MariaDB(t)
		at := console.Server{Host: "127.0.0.1", Port: server.Port(), User: server.User(), Password: server.Password(), Database: "app"}
		runPythonTests(t, python, startCluster(t, openMariaDB(t, server), openMariaDB(t, testdb.MariaDB(t)), at))
	})
}

func openMariaDB(t *testing.T, s *testdb.Server) *sql.DB {
	s.CreateDatabase(t, "app")
	return s.Open(t, "app")
}

func runPythonTests(t *testing.T, python string, c *cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-m", "unittest", "-v", "test_app")
	cmd.Env = append(appEnv(c), "DDB_TEST_DIALECT="+c.master.Dialect())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	require.NotContains(t, string(out), "skipped")
	require.NotContains(t, string(out), token, "the token stays out of all output")
}

// streamlitPython returns the Python that has Streamlit, as ./scripts/test installs it. Without it the
// test is skipped, unless DDB_REQUIRE_STREAMLIT=1: then it fails.
func streamlitPython(t *testing.T) string {
	t.Helper()
	testdb.NotQuick(t, "DDB_REQUIRE_STREAMLIT", "Streamlit")
	python := os.Getenv("DDB_STREAMLIT_PYTHON")
	problem := "DDB_STREAMLIT_PYTHON is not set"
	if python != "" {
		out, err := exec.Command(python, "-c", "import streamlit, pandas, requests").CombinedOutput()
		if err == nil {
			return python
		}
		problem = fmt.Sprintf("DDB_STREAMLIT_PYTHON=%s has no Streamlit: %v\n%s", python, err, out)
	}
	problem += "; name the Python of an environment with requirements.txt, or run ./scripts/test"
	if os.Getenv("DDB_REQUIRE_STREAMLIT") == "1" {
		t.Fatal(problem)
	}
	t.Skip(problem)
	return ""
}

// appEnv is the environment of the app: that of the tests without what would change Python or Streamlit.
func appEnv(c *cluster) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STREAMLIT_") && !strings.HasPrefix(v, "PYTHON") && !strings.HasPrefix(v, "DDB_") {
			env = append(env, v)
		}
	}
	return append(env, "DDB_URL="+c.url, "DDB_TOKEN="+token, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
}

// cluster is a master with a replica, and the master's console.
type cluster struct {
	master *ddb.Cluster
	url    string
}

func startCluster(t *testing.T, masterDB, replicaDB *sql.DB, server console.Server) *cluster {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	listen := net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
	transport := tcp.New(tcp.Options{})
	master, err := ddb.Open(ctx, masterDB, ddb.Options{Listen: listen, Transport: transport})
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	replica, err := ddb.Open(ctx, replicaDB, ddb.Options{ID: "r1", Role: ddb.Replica, Master: listen, Transport: transport})
	require.NoError(t, err)
	t.Cleanup(func() { replica.Close() })
	require.NoError(t, replica.WaitReady(ctx))

	// Points come quickly, so that the chart has some when the first page is opened.
	h, err := console.New(master, console.Options{Token: token, Database: server, Sample: 50 * time.Millisecond})
	require.NoError(t, err)
	ln, err := console.Listen("127.0.0.1:0", h)
	require.NoError(t, err)
	serve, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- console.ServeListener(serve, ln, h) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, errors.Join(<-served, h.Close()))
	})
	return &cluster{master: master, url: "http://" + ln.Addr().String()}
}

// freePort returns a port that is free now.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
