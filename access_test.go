package ddb_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// What is said of a node decides whether it comes in, by which key, and what it may do.
func TestAccess(t *testing.T) {
	a, b, c := []byte("key a"), []byte("key b"), []byte("key c")
	nodes := map[string]ddb.NodeAccess{"own": {Key: b}, "both": {Key: b, OldKey: c}, "shared": {}, "kiosk": {Role: ddb.Snap}}
	everyone := maps.Clone(nodes)
	everyone[""] = ddb.NodeAccess{Role: ddb.Replica}
	for _, test := range []struct {
		access ddb.Access
		id     string
		role   ddb.Role
		proved []byte
		want   bool
	}{
		{ddb.Access{}, "any", ddb.Replica, nil, true},
		{ddb.Access{Key: a}, "any", ddb.Replica, nil, false},
		{ddb.Access{Key: a}, "any", ddb.Snap, a, true},
		{ddb.Access{Key: a}, "any", ddb.Snap, b, false},
		{ddb.Access{Key: a, OldKey: b}, "any", ddb.Snap, b, true},
		{ddb.Access{Key: a, OldKey: b}, "any", ddb.Snap, c, false},
		{ddb.Access{Key: a, Nodes: nodes}, "stranger", ddb.Replica, a, false},
		{ddb.Access{Key: a, Nodes: everyone}, "stranger", ddb.Replica, a, true},
		{ddb.Access{Key: a, Nodes: everyone}, "stranger", ddb.Snap, a, false},
		{ddb.Access{Key: a, Nodes: nodes}, "own", ddb.Replica, b, true},
		{ddb.Access{Key: a, Nodes: nodes}, "own", ddb.Replica, a, false},
		{ddb.Access{Key: a, Nodes: nodes}, "both", ddb.Replica, c, true},
		{ddb.Access{Key: a, OldKey: c, Nodes: nodes}, "own", ddb.Replica, c, false},
		{ddb.Access{Key: a, OldKey: c, Nodes: nodes}, "shared", ddb.Replica, c, true},
		{ddb.Access{Key: a, Nodes: nodes}, "kiosk", ddb.Replica, a, false},
		{ddb.Access{Key: a, Nodes: nodes}, "kiosk", ddb.Snap, a, true},
		{ddb.Access{Nodes: nodes}, "shared", ddb.Replica, nil, true},
		{ddb.Access{Nodes: map[string]ddb.NodeAccess{}}, "any", ddb.Replica, nil, false},
	} {
		name := fmt.Sprintf("%q as %s by %q", test.id, test.role, test.proved)
		require.Equal(t, test.want, ddb.Admits(test.access, test.id, test.role, test.proved), name)
	}
}

// An access that contradicts itself, or lets in what the master cannot take, is refused and changes nothing.
func TestSetAccessRefused(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	f.Tune = func(o *ddb.Options) {
		o.Key = clusterKey
		o.Nodes = map[string]ddb.NodeAccess{"r1": {Role: ddb.Replica}}
	}
	f.OpenAll()
	for _, a := range []ddb.Access{
		{OldKey: clusterKey},
		{Key: clusterKey, Nodes: map[string]ddb.NodeAccess{"no id": {}}},
		{Key: clusterKey, Nodes: map[string]ddb.NodeAccess{"r1": {Role: ddb.Master}}},
		{Key: clusterKey, Nodes: map[string]ddb.NodeAccess{"r1": {OldKey: clusterKey}}},
		{Key: clusterKey, Nodes: map[string]ddb.NodeAccess{"r1": {}, "kiosk": {Role: ddb.Snap}}},
		{Key: clusterKey},
	} {
		require.ErrorIs(t, f.Master.SetAccess(a), ddb.ErrOptions)
	}
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	f.Level()
	w, err := ddb.Wrap(f.Ctx, testcluster.SQLite.Open(t).DB, nil, ddb.MariaDBChecker{}, ddb.Options{})
	require.NoError(t, err)
	defer w.Close()
	require.ErrorIs(t, w.SetAccess(ddb.Access{}), ddb.ErrOptions)
}

// A cluster's key is replaced in three steps while everybody writes, and nobody is disconnected.
func TestKeyRotation(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.Tune = func(o *ddb.Options) { o.Key = clusterKey }
		f.OpenAll()
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
		next := otherKey()
		row := 0
		check := func() {
			t.Helper()
			for _, r := range f.Replicas {
				row++
				_, err := r.ExecContext(f.Ctx, "INSERT INTO t VALUES (?)", row)
				require.NoError(t, err)
			}
			f.Level()
		}
		check()
		require.NoError(t, f.Master.SetAccess(ddb.Access{Key: next, OldKey: clusterKey}))
		check()
		for _, r := range f.Replicas {
			require.NoError(t, r.SetAccess(ddb.Access{Key: next, OldKey: clusterKey}))
			check()
			r.Fault.CutAll() // connects again, by the new key
			require.Eventually(t, func() bool { return !ddb.Linked(r.Cluster) }, testcluster.Patience, time.Millisecond)
			r.Fault.HealAll()
			require.Eventually(t, func() bool { return ddb.Linked(r.Cluster) && isActive(r.Nodes()[0]) }, testcluster.Patience, time.Millisecond)
			check()
		}
		require.NoError(t, f.Master.SetAccess(ddb.Access{Key: next}))
		check()
		for _, r := range f.Replicas {
			require.NoError(t, r.SetAccess(ddb.Access{Key: next}))
		}
		check()
		// Who has the old key only is out.
		late := f.NewNode("late")
		f.Tune = func(o *ddb.Options) { o.Key = clusterKey }
		require.NoError(t, f.Open(late, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
		require.ErrorIs(t, late.WaitReady(f.Ctx), ddb.ErrUnknownNode)
		// Until it is given the new one, which it tries at once.
		require.NoError(t, late.SetAccess(ddb.Access{Key: next}))
		waitFor(t, late.Cluster, "late", isActive)
	})
}

// A node that is revoked is out at once, with its transaction, and comes in no more; the others notice nothing.
func TestRevoked(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 2)
		f.Tune = func(o *ddb.Options) {
			o.Key = clusterKey
			if o.Nodes = nil; o.Listen != "" {
				o.Nodes = map[string]ddb.NodeAccess{"r1": {}, "r2": {Key: otherKey()}}
			} else if o.ID == "r2" {
				o.Key = otherKey()
			}
		}
		f.OpenAll()
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY)")
		f.Level()
		stolen := f.Replicas[1]
		tx, err := stolen.BeginTx(f.Ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(f.Ctx, "INSERT INTO t VALUES (1)")
		require.NoError(t, err)
		require.NoError(t, f.Master.SetAccess(ddb.Access{Key: clusterKey, Nodes: map[string]ddb.NodeAccess{"r1": {}}}))
		waitFor(t, f.Master.Cluster, "r2", func(s ddb.NodeStatus) bool { return s.State == ddb.Inactive })
		require.Error(t, tx.Commit())
		waitFor(t, stolen.Cluster, "r2", func(s ddb.NodeStatus) bool { return s.State == ddb.Failed })
		require.ErrorIs(t, stolen.WaitReady(f.Ctx), ddb.ErrUnknownNode)
		limit, cancel := context.WithTimeout(f.Ctx, testcluster.Patience)
		defer cancel()
		_, err = f.Replicas[0].ExecContext(limit, "INSERT INTO t VALUES (2)") // not held up by the transaction
		require.NoError(t, err)
		require.Equal(t, "2", f.One(f.Master, "SELECT sum(id) FROM t"))
		_, err = stolen.ExecContext(limit, "INSERT INTO t VALUES (3)")
		require.ErrorIs(t, err, ddb.ErrNoMaster)
	})
}

// A snap that is revoked while it is away changes nothing any more, and keeps what nobody has taken.
func TestRevokedSnap(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {Key: clusterKey}}}, testcluster.PairSchema)
	s.Snap("a", ddb.Options{Key: clusterKey})
	s.Exec("a", "INSERT INTO p (id) VALUES (1)")
	s.Exchange("a")
	s.Cut("a")
	s.Exec("a", "INSERT INTO p (id) VALUES (2)")
	require.NoError(t, s.Nodes["master"].SetAccess(ddb.Access{Nodes: map[string]ddb.NodeAccess{}}))
	s.Heal("a")
	require.Eventually(t, func() bool { return s.Nodes["a"].Nodes()[0].State == ddb.Failed }, testcluster.Patience, time.Millisecond)
	require.Equal(t, "[1]", s.Rows("master", "SELECT COUNT(*) FROM p"))
	require.Empty(t, s.Conflicts("master"))
	require.EqualValues(t, 1, s.Nodes["a"].Nodes()[0].Pending, "it keeps what nobody has taken")
}
