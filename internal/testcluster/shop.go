package testcluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/inmem"
)

// Shop is a master and snaps in one process, by their names: "master" is the master's. They are closed when the test ends.
type Shop struct {
	TB     testing.TB
	Ctx    context.Context
	Engine Engine
	Net    *inmem.Network
	Links  map[string]*fault.Transport // each snap's own link to the master
	DBs    map[string]*sql.DB
	Nodes  map[string]*ddb.Cluster
	Opts   map[string]ddb.Options // that the node was opened with
}

// PairSchema is that of most shops: a table with a key, a unique column and two more.
const PairSchema = "CREATE TABLE p (id INT NOT NULL PRIMARY KEY, u INT UNIQUE, v VARCHAR(20), w INT)"

// Policies are those for conflicts, by a name of each.
var Policies = map[string]ddb.Policy{"master": ddb.MasterWins, "snap": ddb.SnapWins, "newest": ddb.NewestWins, "merge": ddb.MergeColumns,
	"func": ddb.PolicyFunc("local", func(c ddb.Collision) (map[string]any, error) { return c.Local, nil })}

// NewShop opens a master with the schema, of statements between semicolons, and snaps that have taken their snapshot.
func NewShop(tb testing.TB, e Engine, master ddb.Options, schema string, snaps ...string) *Shop {
	tb.Helper()
	s := &Shop{TB: tb, Ctx: Context(tb), Engine: e, Net: inmem.New(), Links: make(map[string]*fault.Transport),
		DBs: make(map[string]*sql.DB), Nodes: make(map[string]*ddb.Cluster), Opts: make(map[string]ddb.Options)}
	master.Listen, master.Transport = "master", s.Net
	s.Open("master", master)
	for _, stmt := range strings.Split(schema, ";") {
		if strings.TrimSpace(stmt) != "" {
			s.Exec("master", stmt)
		}
	}
	for _, id := range snaps {
		s.Snap(id, ddb.Options{})
	}
	tb.Cleanup(func() {
		for _, n := range s.Nodes {
			require.NoError(tb, n.Close())
		}
	})
	return s
}

// Open opens a node on its database.
func (s *Shop) Open(id string, o ddb.Options) *ddb.Cluster {
	s.TB.Helper()
	if s.DBs[id] == nil {
		s.DBs[id] = s.Engine.Open(s.TB).DB
	}
	o.ID, o.Logger, o.Heartbeat = id, quietLogger(), max(o.Heartbeat, 100*time.Millisecond)
	c, err := ddb.Open(s.Ctx, s.DBs[id], o)
	require.NoError(s.TB, err)
	s.Nodes[id], s.Opts[id] = c, o
	return c
}

// Snap opens a snap and waits until it has its snapshot.
func (s *Shop) Snap(id string, o ddb.Options) *ddb.Cluster {
	s.TB.Helper()
	s.Links[id] = fault.New(s.Net)
	o.Role, o.Master, o.Transport = ddb.Snap, "master", s.Links[id]
	o.Heartbeat = max(o.Heartbeat, s.Opts["master"].Heartbeat) // a slow link is no lost one at either end
	c := s.Open(id, o)
	require.NoError(s.TB, c.WaitReady(s.Ctx))
	return c
}

// Restart closes a node and opens it again.
func (s *Shop) Restart(id string) {
	s.TB.Helper()
	require.NoError(s.TB, s.Nodes[id].Close())
	s.Open(id, s.Opts[id])
}

// Exec runs a statement through ddb on a node.
func (s *Shop) Exec(id, query string, args ...any) sql.Result {
	s.TB.Helper()
	res, err := s.Nodes[id].ExecContext(s.Ctx, query, args...)
	require.NoError(s.TB, err, "%s: %s", id, query)
	return res
}

// Cut cuts the links of nodes to the master.
func (s *Shop) Cut(ids ...string) {
	for _, id := range ids {
		s.Links[id].CutAll()
	}
}

// Heal undoes [Shop.Cut].
func (s *Shop) Heal(ids ...string) {
	for _, id := range ids {
		s.Links[id].HealAll()
	}
}

// Exchange waits until nothing is pending anywhere and all nodes are level.
func (s *Shop) Exchange(ids ...string) {
	s.TB.Helper()
	for _, id := range ids {
		s.until(func() bool { return s.gathered(id) }, "notes are in no batch", id)
		s.until(func() bool { return s.pending(id) == 0 }, "batches are pending", id)
	}
	require.NoError(s.TB, s.Nodes["master"].WaitLevel(s.Ctx))
	end := s.Nodes["master"].Position().LSN
	for _, id := range ids {
		s.until(func() bool { return s.Nodes[id].Position().LSN >= end }, fmt.Sprintf("entry %d is missing", end), id)
	}
}

// gathered reports whether a snap on SQLite has found what was written beside its writer, which is in no batch before that.
func (s *Shop) gathered(id string) bool {
	s.TB.Helper()
	if s.Nodes[id].Dialect() != "sqlite" {
		return true
	}
	outboxes, err := s.DBs[id].Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\_ddb\_out\_%' ESCAPE '\'`)
	require.NoError(s.TB, err)
	var names []string
	for outboxes.Next() {
		var name string
		require.NoError(s.TB, outboxes.Scan(&name))
		names = append(names, name)
	}
	require.NoError(s.TB, outboxes.Close())
	for _, name := range names {
		var notes bool
		require.NoError(s.TB, s.DBs[id].QueryRow("SELECT EXISTS (SELECT 1 FROM "+name+")").Scan(&notes))
		if notes {
			return false
		}
	}
	return true
}

// pending is how many batches a snap has that the master has not judged.
func (s *Shop) pending(id string) int64 {
	for _, n := range s.Nodes[id].Nodes() {
		if n.Local {
			return n.Pending
		}
	}
	return 0
}

// WaitLSN waits until a follower has what the master has, and for no other.
func WaitLSN(ctx context.Context, c, master *ddb.Cluster) error {
	for c.Position().LSN < master.Position().LSN {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (s *Shop) until(done func() bool, what, id string) {
	s.TB.Helper()
	for !done() {
		select {
		case <-s.Ctx.Done():
			require.NoError(s.TB, s.Ctx.Err(), "%s: %s", id, what)
		case <-time.After(time.Millisecond):
		}
	}
}

// Rows returns a query's rows in a node's database as text.
func (s *Shop) Rows(id, query string) string {
	s.TB.Helper()
	return Rows(s.TB, s.DBs[id], query)
}

// Rows returns a query's rows as text, a line of JSON for each, sorted.
func Rows(t testing.TB, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.Query(query)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var lines []string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				values[i] = string(b)
			}
		}
		b, err := json.Marshal(values)
		require.NoError(t, err)
		lines = append(lines, string(b))
	}
	require.NoError(t, rows.Err())
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// Same requires that the tables hold the same rows on all nodes.
func (s *Shop) Same(tables ...string) {
	s.TB.Helper()
	for _, table := range tables {
		want := s.Rows("master", "SELECT * FROM "+table)
		for id := range s.Nodes {
			require.Equal(s.TB, want, s.Rows(id, "SELECT * FROM "+table), "table %s on %s", table, id)
		}
	}
	want := fmt.Sprint(s.Conflicts("master"))
	for id := range s.Nodes {
		require.Equal(s.TB, want, fmt.Sprint(s.Conflicts(id)), "conflicts on %s", id)
	}
}

// Conflicts lists the open conflicts that a node knows.
func (s *Shop) Conflicts(id string) []ddb.Conflict {
	s.TB.Helper()
	list, err := s.Nodes[id].Conflicts(s.Ctx)
	require.NoError(s.TB, err)
	return list
}

// Replica opens a replica and waits until it has its snapshot.
func (s *Shop) Replica(id string) {
	s.TB.Helper()
	s.Links[id] = fault.New(s.Net)
	c := s.Open(id, ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.Links[id]})
	require.NoError(s.TB, c.WaitReady(s.Ctx))
}

// Promote makes a replica the master in the place of the one there is, whose database is left.
func (s *Shop) Promote(id string) {
	s.TB.Helper()
	require.NoError(s.TB, s.Nodes["master"].Close())
	require.NoError(s.TB, s.Nodes[id].Close())
	delete(s.Nodes, id)
	s.DBs["master"] = s.DBs[id]
	o := s.Opts["master"]
	o.ID, o.Logger, o.Heartbeat = id, quietLogger(), 100*time.Millisecond
	m, err := ddb.Open(s.Ctx, s.DBs["master"], o)
	require.NoError(s.TB, err)
	s.Nodes["master"] = m
}

// WaitFor waits until the query answers that on the master.
func (s *Shop) WaitFor(want, query string) {
	s.TB.Helper()
	require.Eventually(s.TB, func() bool { return s.Rows("master", query) == want }, Patience, time.Millisecond, query)
}

// States returns the state of each node that a node knows.
func (s *Shop) States(id string) map[string]ddb.State {
	m := make(map[string]ddb.State)
	for _, n := range s.Nodes[id].Nodes() {
		m[n.ID] = n.State
	}
	return m
}
