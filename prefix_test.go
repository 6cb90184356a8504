package ddb_test

import (
	"context"
	"database/sql"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/tcp"
)

// ourNames finds a name of a package of ours, or a second "ddb", that stands as a prefix in a message.
var ourNames = regexp.MustCompile(`(^|[:;(] ?)(access|apply|batch|catalog|codec|conflict|ddb|dialect|fault|fleet|follow|gate|health|inmem|journal|keys|link|mysql|remote|rights|route|schema|sequence|settle|snap|sqlclass|sqlite|store|tcp|watch|wire|write): `)

// checkPrefix requires that a message says at its beginning, or nowhere, that it is ddb's, and nowhere which package made it.
func checkPrefix(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	text := strings.TrimPrefix(err.Error(), "ddb: ")
	require.NotRegexp(t, ourNames, text, err.Error())
}

// ours is checkPrefix for an error of ddb's own.
func ours(t *testing.T, err error, is error) {
	t.Helper()
	checkPrefix(t, err)
	require.ErrorIs(t, err, is)
	require.True(t, strings.HasPrefix(err.Error(), "ddb: "), err.Error())
}

func TestPrefixOpen(t *testing.T) {
	ctx, quiet := t.Context(), hclog.NewNullLogger()
	path := filepath.Join(t.TempDir(), "n.db")
	db := testdb.OpenSQLite(t, path)
	open := func(db *sql.DB, o ddb.Options) error {
		o.Logger = quiet
		c, err := ddb.Open(ctx, db, o)
		if err == nil {
			require.NoError(t, c.Close())
		}
		return err
	}
	ours(t, open(nil, ddb.Options{}), ddb.ErrOptions)
	ours(t, open(db, ddb.Options{Role: "king"}), ddb.ErrOptions)
	ours(t, open(db, ddb.Options{ID: "no id"}), ddb.ErrOptions)
	ours(t, open(db, ddb.Options{Listen: ":1"}), ddb.ErrOptions)
	require.NoError(t, open(db, ddb.Options{}))
	ours(t, open(db, ddb.Options{ID: "r", Role: ddb.Replica, Master: "m", Transport: tcp.New(tcp.Options{})}), ddb.ErrWrongRole)
	c, err := ddb.Open(ctx, db, ddb.Options{Logger: quiet})
	require.NoError(t, err)
	ours(t, open(testdb.OpenSQLite(t, path), ddb.Options{}), ddb.ErrSecondMaster)
	ours(t, ddb.Detach(ctx, testdb.OpenSQLite(t, path), ddb.Options{Logger: quiet}), ddb.ErrSecondMaster)
	require.NoError(t, c.Close())

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	checkPrefix(t, open(db, ddb.Options{Listen: taken.Addr().String(), Transport: tcp.New(tcp.Options{}), AllowInsecure: true}))
	gone := testdb.OpenSQLite(t, path)
	require.NoError(t, gone.Close())
	checkPrefix(t, open(gone, ddb.Options{}))
	_, err = ddb.Wrap(ctx, db, nil, nil, ddb.Options{Logger: quiet})
	ours(t, err, ddb.ErrOptions)
	_, err = ddb.ParsePolicy("mine")
	ours(t, err, ddb.ErrOptions)
}

// Who answers at the master's address may be anybody.
func TestPrefixHandshake(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	defer mute.Close()
	for name, address := range map[string]string{"a web server": web.Listener.Addr().String(), "who hangs up": mute.Addr().String(), "nobody": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			r, err := ddb.Open(t.Context(), testdb.OpenSQLite(t, filepath.Join(t.TempDir(), "r.db")),
				ddb.Options{ID: "r", Role: ddb.Replica, Master: address, Transport: tcp.New(tcp.Options{}), Logger: hclog.NewNullLogger()})
			require.NoError(t, err)
			defer r.Close()
			for list, changed := r.Watch(); strings.Contains(list[0].Reason, "not connected yet"); list, changed = r.Watch() {
				<-changed
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			ours(t, r.WaitReady(ctx), context.Canceled)
			_, err = r.Exec("INSERT INTO t VALUES (1)")
			ours(t, err, ddb.ErrNoMaster)
			require.NotContains(t, r.Nodes()[0].Reason, "ddb: ")
			require.NotRegexp(t, ourNames, r.Nodes()[0].Reason)
		})
	}
}

// Each door, on the master and through a replica, with errors of ddb's and of the database.
func TestPrefixStatements(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 1)
		f.Tune = func(o *ddb.Options) {
			if o.Role == "" || o.Role == ddb.Master {
				o.Nodes = map[string]ddb.NodeAccess{"": {SQL: ddb.ReadRows | ddb.ChangeRows}}
			}
		}
		f.OpenAll()
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(10) NOT NULL UNIQUE)", "INSERT INTO t VALUES (1, 'ddb: x')")
		f.Level()
		ctx := f.Ctx
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			t.Run(n.ID, func(t *testing.T) {
				doors := map[string]func(query string) error{
					"exec":    func(q string) error { _, err := n.ExecContext(ctx, q); return err },
					"query":   func(q string) error { return closeRows(n.QueryContext(ctx, q)) },
					"row":     func(q string) error { var v any; return n.QueryRowContext(ctx, q).Scan(&v) },
					"db":      func(q string) error { _, err := n.DB().ExecContext(ctx, q); return err },
					"prepare": func(q string) error { return prepared(ctx, n.Cluster, q) },
					"conn":    func(q string) error { return onConn(ctx, n.Cluster, q) },
					"tx":      func(q string) error { return inTx(ctx, n.Cluster, q) },
				}
				for name, door := range doors {
					for _, q := range []string{"INSERT INTO t VALUES (2, 'ddb: x')", "INSERT INTO missing VALUES (1)", "SELECT * FROM missing", "nonsense", "UPDATE t SET v = NULL",
						"CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TEMPORARY TABLE own (id INTEGER); CREATE TABLE more (id INTEGER PRIMARY KEY)"} {
						if err := door(q); err != nil {
							checkPrefix(t, err)
						} else {
							t.Logf("%s: %s: no error", name, q)
						}
					}
				}
				_, err := n.ExecContext(ctx, "BEGIN")
				ours(t, err, ddb.ErrNotReplicable)
				ours(t, doors["db"]("COMMIT"), ddb.ErrNotReplicable)
				checkPrefix(t, closeRows(n.QueryContext(ddb.WithNode(ctx, "nobody"), "SELECT 1")))
				checkPrefix(t, n.Maintain("nobody", true))
				checkPrefix(t, n.DismissConflict(ctx, "none"))
				checkPrefix(t, n.RetryConflict(ctx, "none"))
				checkPrefix(t, n.Forget(ctx, "nobody"))
				ours(t, n.Allow("DROP TABLE t", ddb.ReadRows), ddb.ErrNotAllowed)
			})
		}
		r := f.Replicas[0]
		_, err := r.ExecContext(ctx, "CREATE TABLE u (id INTEGER PRIMARY KEY)")
		ours(t, err, ddb.ErrNotMaster)
		ours(t, r.WaitLevel(ctx), ddb.ErrNotMaster)
		_, err = r.ExecContext(ctx, "INSERT INTO t VALUES (2, 'ddb: x')")
		require.Regexp(t, `t\.v|Duplicate entry 'ddb: x'`, err.Error(), "what the database says of itself stays as it is")
		c := r.Cluster
		r.Stop()
		_, err = c.ExecContext(ctx, "INSERT INTO t VALUES (3, 'c')")
		for _, err := range []error{err, c.PingContext(ctx), closeRows(c.QueryContext(ctx, "SELECT 1"))} {
			ours(t, err, ddb.ErrClosed)
		}
		checkPrefix(t, inTx(ctx, c, "SELECT 1"))
		checkPrefix(t, onConn(ctx, c, "SELECT 1"))
	})
}

func closeRows(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	err = rows.Err()
	if e := rows.Close(); err == nil {
		err = e
	}
	return err
}

func prepared(ctx context.Context, c *ddb.Cluster, query string) error {
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.ExecContext(ctx)
	return err
}

func onConn(ctx context.Context, c *ddb.Cluster, query string) error {
	conn, err := c.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, query)
	return err
}

func inTx(ctx context.Context, c *ddb.Cluster, query string) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, query)
	return err
}
