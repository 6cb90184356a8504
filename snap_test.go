package ddb_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/inmem"
)

// shop is a cluster of a master and snaps in one process.
type shop struct {
	t      *testing.T
	ctx    context.Context
	engine testEngine
	net    *inmem.Network
	links  map[string]*fault.Transport // by node: each snap's own link to the master
	dbs    map[string]*sql.DB
	nodes  map[string]*ddb.Cluster
	opts   map[string]ddb.Options
}

// testEngine makes databases of one kind.
type testEngine struct {
	name string
	db   func(t *testing.T, node string) *sql.DB
	int  string // a primary key that the database hands out
}

func sqliteEngine(t *testing.T) testEngine {
	return testEngine{name: "sqlite", int: "INTEGER PRIMARY KEY",
		db: func(t *testing.T, node string) *sql.DB {
			return testdb.OpenSQLite(t, filepath.Join(t.TempDir(), node+".db"))
		}}
}

// newShop opens a master with the schema, and snaps that have taken their snapshot.
func newShop(t *testing.T, e testEngine, master ddb.Options, schema string, snaps ...string) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	s := &shop{t: t, ctx: ctx, engine: e, net: inmem.New(), links: make(map[string]*fault.Transport),
		dbs: make(map[string]*sql.DB), nodes: make(map[string]*ddb.Cluster), opts: make(map[string]ddb.Options)}
	master.Listen, master.Transport = "master", s.net
	s.open("master", master)
	for _, stmt := range strings.Split(schema, ";") {
		if strings.TrimSpace(stmt) != "" {
			s.exec("master", stmt)
		}
	}
	for _, id := range snaps {
		s.snap(id, ddb.Options{})
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			require.NoError(t, n.Close())
		}
	})
	return s
}

func (s *shop) log() hclog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: testWriter{s.t}})
}

// open opens a node on its database.
func (s *shop) open(id string, o ddb.Options) *ddb.Cluster {
	s.t.Helper()
	if s.dbs[id] == nil {
		s.dbs[id] = s.engine.db(s.t, id)
	}
	o.ID, o.Logger, o.Heartbeat = id, s.log(), max(o.Heartbeat, 100*time.Millisecond)
	c, err := ddb.Open(s.ctx, s.dbs[id], o)
	require.NoError(s.t, err)
	s.nodes[id], s.opts[id] = c, o
	return c
}

// snap opens a snap and waits until it has its snapshot.
func (s *shop) snap(id string, o ddb.Options) *ddb.Cluster {
	s.t.Helper()
	s.links[id] = fault.New(s.net)
	o.Role, o.Master, o.Transport = ddb.Snap, "master", s.links[id]
	o.Heartbeat = max(o.Heartbeat, s.opts["master"].Heartbeat) // a slow link is no lost one at either end
	c := s.open(id, o)
	require.NoError(s.t, c.WaitReady(s.ctx))
	return c
}

// restart closes a node and opens it again.
func (s *shop) restart(id string) {
	s.t.Helper()
	require.NoError(s.t, s.nodes[id].Close())
	s.open(id, s.opts[id])
}

func (s *shop) exec(id, query string, args ...any) sql.Result {
	s.t.Helper()
	res, err := s.nodes[id].ExecContext(s.ctx, query, args...)
	require.NoError(s.t, err, "%s: %s", id, query)
	return res
}

func (s *shop) cut(ids ...string) {
	for _, id := range ids {
		s.links[id].CutAll()
	}
}

func (s *shop) heal(ids ...string) {
	for _, id := range ids {
		s.links[id].HealAll()
	}
}

// exchange waits until nothing is pending anywhere and all nodes are level.
func (s *shop) exchange(ids ...string) {
	s.t.Helper()
	var list []*ddb.Cluster
	for _, id := range ids {
		list = append(list, s.nodes[id])
	}
	require.NoError(s.t, ddb.WaitExchanged(s.ctx, s.nodes["master"], list...))
}

// rows returns a query's rows as text.
func (s *shop) rows(id, query string) string {
	s.t.Helper()
	return dump(s.t, s.dbs[id], query)
}

func dump(t *testing.T, db *sql.DB, query string) string {
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

// same requires that the tables hold the same rows on all nodes.
func (s *shop) same(tables ...string) {
	s.t.Helper()
	for _, table := range tables {
		want := s.rows("master", "SELECT * FROM "+table)
		for id := range s.nodes {
			require.Equal(s.t, want, s.rows(id, "SELECT * FROM "+table), "table %s on %s", table, id)
		}
	}
	want := fmt.Sprint(s.conflicts("master"))
	for id := range s.nodes {
		require.Equal(s.t, want, fmt.Sprint(s.conflicts(id)), "conflicts on %s", id)
	}
}

func (s *shop) conflicts(id string) []ddb.Conflict {
	s.t.Helper()
	list, err := s.nodes[id].Conflicts(s.ctx)
	require.NoError(s.t, err)
	return list
}

// A snap writes offline, everything is exchanged when the link is back, and a conflict ends
// with the master's row everywhere and the snap's in the conflicts table.
func TestSnapOffline(t *testing.T) {
	e := sqliteEngine(t)
	s := newShop(t, e, ddb.Options{}, "CREATE TABLE item (id "+e.int+", name VARCHAR(50), price INT)", "a", "b")
	s.exec("master", "INSERT INTO item VALUES (1, 'tea', 10), (2, 'milk', 20), (3, 'salt', 30)")
	s.exchange("a", "b")
	s.cut("a", "b")
	s.exec("a", "UPDATE item SET price = 11 WHERE id = 1")
	s.exec("a", "INSERT INTO item VALUES (100, 'from a', 1)")
	s.exec("a", "DELETE FROM item WHERE id = 3")
	s.exec("b", "UPDATE item SET price = 12 WHERE id = 1")
	s.exec("b", "INSERT INTO item VALUES (200, 'from b', 1)")
	s.exec("master", "UPDATE item SET name = 'cream' WHERE id = 2")
	var price int
	require.NoError(t, s.nodes["a"].QueryRow("SELECT price FROM item WHERE id = 1").Scan(&price))
	require.Equal(t, 11, price)
	s.heal("a")
	s.exchange("a")
	s.heal("b")
	s.exchange("a", "b")
	s.same("item")
	require.Equal(t, "[1,\"tea\",11]\n[100,\"from a\",1]\n[2,\"cream\",20]\n[200,\"from b\",1]", s.rows("master", "SELECT * FROM item"))
	list := s.conflicts("a")
	require.Len(t, list, 1)
	require.Equal(t, "b", list[0].Origin)
	require.Equal(t, `{"id":1,"name":"tea","price":12}`, list[0].Local)
	require.Equal(t, `{"id":1,"name":"tea","price":11}`, list[0].Remote)
	require.Equal(t, `{"id":1,"name":"tea","price":10}`, list[0].Base)
	require.NoError(t, s.nodes["b"].RetryConflict(s.ctx, list[0].ID))
	s.exchange("a", "b")
	s.same("item")
	require.Empty(t, s.conflicts("master"))
	require.Contains(t, s.rows("master", "SELECT * FROM item"), `[1,"tea",12]`)
}
