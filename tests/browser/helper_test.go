package browser_test

import (
	"database/sql"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience is how long a test waits for what must come, on the busiest machine.
const patience = testcluster.Patience

// house is a cluster in one process with a console on its master.
type house struct {
	*testcluster.Cluster
	t      *testing.T
	engine testcluster.Engine
	server *httptest.Server
	token  string
}

// build starts a master with a console.
func build(t *testing.T, e testcluster.Engine, opts console.Options) *house {
	t.Helper()
	d := e.OpenAlone(t)
	h := &house{Cluster: testcluster.New(t, d.DB), t: t, engine: e, token: opts.Token}
	opts.Logger, opts.Sample = testcluster.Logger(t), 200*time.Millisecond
	if d.Server != nil {
		opts.Database = console.Server{Host: "127.0.0.1", Port: d.Server.Port(), User: d.Server.User(), Password: d.Server.Password(), Database: d.Name}
	}
	c, err := console.New(h.Master, opts)
	require.NoError(t, err)
	h.server = httptest.NewServer(c)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		h.server.Close()
	})
	return h
}

// follow opens a replica or snap on the database, or on a new one if it is nil.
func (h *house) follow(role ddb.Role, id string, db *sql.DB) (*ddb.Cluster, *sql.DB) {
	h.t.Helper()
	if db == nil {
		db = h.engine.OpenAlone(h.t).DB
	}
	return h.Follow(role, id, db), db
}
