package ddb_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/inmem"
)

// onEngines runs a test once on each kind of database.
func onEngines(t *testing.T, f func(t *testing.T, engine string)) {
	for _, e := range []string{"sqlite", "mariadb"} {
		t.Run(e, func(t *testing.T) { f(t, e) })
	}
}

func openSQLite(t *testing.T) *sql.DB { return testcluster.SQLite.Open(t).DB }

func openMariaDB(t *testing.T) *sql.DB { return testcluster.MariaDB.Open(t, "parseTime=true").DB }

// patience is how long a test waits for what must happen; it is never measured.
const patience = 60 * time.Second

// fixture is a master with replicas, each on a database of its own, linked
// in memory. Each replica dials through faults of its own.
type fixture struct {
	testing.TB
	engine   string
	ctx      context.Context
	net      *inmem.Network
	m        *testNode
	replicas []*testNode
	tune     func(*ddb.Options)
}

// testNode is one node of a fixture. Its database outlives its Cluster.
type testNode struct {
	*ddb.Cluster
	id    string
	name  string // file or database
	raw   *sql.DB
	fault *fault.Transport
}

// fixtures numbers the databases on the shared server.
var fixtures atomic.Int64

// newFixture makes the databases and opens nothing yet.
func newFixture(t testing.TB, engine string, replicas int) *fixture {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	f := &fixture{TB: t, engine: engine, ctx: ctx, net: inmem.New()}
	f.m = f.newNode("master")
	for i := range replicas {
		f.replicas = append(f.replicas, f.newNode(fmt.Sprintf("r%d", i+1)))
	}
	return f
}

// newCluster is newFixture with all nodes open and level.
func newCluster(t testing.TB, engine string, replicas int) *fixture {
	f := newFixture(t, engine, replicas)
	f.openAll()
	return f
}

func (f *fixture) newNode(id string) *testNode {
	n := &testNode{id: id, fault: fault.New(f.net)}
	if f.engine == "sqlite" {
		n.name = filepath.Join(f.TempDir(), id+".db")
		n.raw = testdb.OpenSQLite(f, n.name)
	} else {
		s := testdb.SharedMariaDB(f)
		n.name = fmt.Sprintf("fixture%d_%s", fixtures.Add(1), id)
		s.CreateDatabase(f, n.name)
		n.raw = s.Open(f, n.name)
		f.Cleanup(func() {
			n.raw.Exec("DROP DATABASE IF EXISTS `" + n.name + "_ddb`")
			n.raw.Exec("DROP DATABASE IF EXISTS `" + n.name + "`")
		})
	}
	f.Cleanup(n.close)
	return n
}

func (f *fixture) openAll() {
	f.Helper()
	f.openMaster()
	for _, r := range f.replicas {
		f.openReplica(r)
	}
	f.level()
}

// options are quick ones: a test waits for nothing but what happens.
func (f *fixture) options(n *testNode, t transport.Transport) ddb.Options {
	o := ddb.Options{ID: n.id, Transport: t, Heartbeat: 100 * time.Millisecond, PollInterval: 5 * time.Millisecond}
	if os.Getenv("DDB_TEST_LOG") != "" {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(os.Getenv("DDB_TEST_LOG")), Output: os.Stderr})
	}
	return o
}

// grant gives the statements of every follower these rights on the master.
func (f *fixture) grant(r ddb.Rights) {
	f.tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica && o.Role != ddb.Snap {
			o.Nodes = map[string]ddb.NodeAccess{"": {SQL: r}}
		}
	}
}

func (f *fixture) openMaster() {
	f.Helper()
	require.NoError(f, f.open(f.m, func(o *ddb.Options) { o.Listen = "master" }))
}

func (f *fixture) openReplica(r *testNode) {
	f.Helper()
	require.NoError(f, f.open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
	require.NoError(f, r.WaitReady(f.ctx))
}

func (f *fixture) open(n *testNode, tune func(*ddb.Options)) error {
	o := f.options(n, n.fault)
	tune(&o)
	if f.tune != nil {
		f.tune(&o)
	}
	c, err := ddb.Open(f.ctx, n.raw, o)
	if err == nil {
		n.Cluster = c
	}
	return err
}

func (n *testNode) close() {
	if n.Cluster != nil {
		n.Cluster.Close()
		n.Cluster = nil
	}
}

// do runs statements through ddb on the master.
func (f *fixture) do(statements ...string) {
	f.Helper()
	for _, s := range statements {
		_, err := f.m.ExecContext(f.ctx, s)
		require.NoError(f, err, s)
	}
}

// bypass runs statements on the master's database without ddb.
func (f *fixture) bypass(statements ...string) {
	f.Helper()
	for _, s := range statements {
		_, err := f.m.raw.ExecContext(f.ctx, s)
		require.NoError(f, err, s)
	}
}

// tx runs statements in one transaction through ddb.
func (f *fixture) tx(statements ...string) {
	f.Helper()
	tx, err := f.m.BeginTx(f.ctx, nil)
	require.NoError(f, err)
	defer tx.Rollback()
	for _, s := range statements {
		_, err := tx.ExecContext(f.ctx, s)
		require.NoError(f, err, s)
	}
	require.NoError(f, tx.Commit())
}

// one returns the first column of the first row of a query on a node's database.
func (f *fixture) one(n *testNode, query string, args ...any) string {
	f.Helper()
	var s sql.NullString
	require.NoError(f, n.raw.QueryRowContext(f.ctx, query, args...).Scan(&s), query)
	return s.String
}

// level waits until every replica has everything, and compares all nodes.
func (f *fixture) level() {
	f.Helper()
	ctx := f.ctx
	require.NoError(f, f.m.WaitLevel(ctx))
	// A master that has just been opened does not know yet who follows it.
	for _, r := range f.replicas {
		for r.Cluster != nil && r.Position().LSN < f.m.Position().LSN {
			_, changed := r.Watch()
			select {
			case <-changed:
			case <-ctx.Done():
				require.NoError(f, ctx.Err(), "%s is behind: %+v", r.id, r.Nodes())
			}
		}
	}
	f.same()
}

// same compares the databases of all nodes that are open, byte for byte.
func (f *fixture) same() {
	f.Helper()
	want := f.dump(f.m)
	for _, r := range f.replicas {
		if r.Cluster != nil {
			require.Equal(f, want, f.dump(r), "replica %s (%+v)", r.id, r.Nodes()[0])
		}
	}
}

// dump returns everything in a database that replication promises to keep equal.
func (f *fixture) dump(n *testNode) string {
	f.Helper()
	var b strings.Builder
	if f.engine == "sqlite" {
		f.dumpSQLite(&b, n.raw)
	} else {
		f.dumpMariaDB(&b, n)
	}
	return b.String()
}

// strings returns all rows of a query, their columns joined by bars.
func (f *fixture) strings(db dialect.Querier, query string, args ...any) (list []string) {
	f.Helper()
	rows, err := db.QueryContext(f.ctx, query, args...)
	require.NoError(f, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(f, err)
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(f, rows.Scan(into...))
		var line []string
		for _, v := range values {
			line = append(line, v.String)
		}
		list = append(list, strings.Join(line, "|"))
	}
	require.NoError(f, rows.Err())
	return list
}

func (f *fixture) dumpSQLite(b *strings.Builder, db dialect.Querier) {
	f.Helper()
	const mine = ` AND name NOT LIKE '\_ddb\_%' ESCAPE '\' AND tbl_name NOT LIKE '\_ddb\_%' ESCAPE '\'
		AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE type IN ('virtual', 'shadow'))`
	for _, s := range f.strings(db, "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table','index','view')"+mine+" ORDER BY type, name") {
		fmt.Fprintln(b, s)
	}
	for _, t := range f.strings(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence'"+mine+" ORDER BY name") {
		var parts []string
		for _, c := range f.strings(db, "SELECT name FROM pragma_table_xinfo(?)", t) {
			q := `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
			parts = append(parts, "typeof("+q+"), quote("+q+"), hex("+q+")")
		}
		fmt.Fprintln(b, "--", t)
		for _, s := range f.strings(db, "SELECT "+strings.Join(parts, ", ")+` FROM "`+t+`" ORDER BY `+strings.Join(parts, ", ")) {
			fmt.Fprintln(b, s)
		}
	}
}

var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

func (f *fixture) dumpMariaDB(b *strings.Builder, n *testNode) {
	f.Helper()
	for _, v := range f.strings(n.raw, "SELECT table_name FROM information_schema.views WHERE table_schema = ? ORDER BY 1", n.name) {
		fmt.Fprintln(b, "view", v)
	}
	for _, t := range f.strings(n.raw, "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 1", n.name) {
		q := "`" + t + "`"
		fmt.Fprintln(b, counter.ReplaceAllString(strings.Join(f.strings(n.raw, "SHOW CREATE TABLE "+q), ""), ""))
		sum := f.strings(n.raw, "CHECKSUM TABLE "+q+" EXTENDED")
		_, value, _ := strings.Cut(sum[0], "|")
		fmt.Fprintln(b, "--", t, f.strings(n.raw, "SELECT COUNT(*) FROM "+q)[0], value)
	}
}
