package fleet

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// quietFleet is one of a master that does nothing.
func quietFleet() *Fleet {
	rules := new(atomic.Pointer[access.Rules])
	rules.Store(new(access.Rules))
	return New(&store.Store{Log: hclog.NewNullLogger()}, sequence.New(nil), rules, nil, Config{Heartbeat: time.Second, MaxLag: 10 * time.Second,
		WaitTimeout: 5 * time.Second, Changed: func() {}})
}

// A follower that has overcome what had stopped it does not stay failed in its master's eyes.
func TestFailedIsNoTrap(t *testing.T) {
	f := &Sender{fleet: quietFleet(), ID: "r1", link: &Connection{}, heard: time.Now()}
	f.heardBeat(link.Beat{State: health.Failed, Reason: "the disk is full"})
	require.Equal(t, health.Failed, f.status.State)
	f.heardBeat(link.Beat{State: health.Active})
	require.Equal(t, health.Active, f.status.State)
}

// Nor does it hide why it has failed while it tries again and its link comes and goes.
func TestFailedOutlivesTheLink(t *testing.T) {
	fl := quietFleet()
	reason := func() string { f := fl.followers["r1"]; return string(f.status.State) + " " + f.status.Reason }
	connect := func(w link.Welcome) (*Sender, *Connection) {
		f, l, err := fl.enlist(link.Hello{ID: "r1", Role: health.Replica}, w, nil, "here")
		require.NoError(t, err)
		return f, l
	}
	f, l := connect(link.Welcome{})
	f.noted = true
	f.heardBeat(link.Beat{State: health.Failed, Reason: "no table t"})
	f.leave(l, nil)
	require.Equal(t, "failed no table t", reason())
	f, l = connect(link.Welcome{})
	f.leave(l, nil)
	require.Equal(t, "failed no table t", reason(), "it was about to fail again")
	f, l = connect(link.Welcome{})
	f.heardBeat(link.Beat{State: health.Active})
	f.leave(l, nil)
	require.Equal(t, "inactive disconnected", reason())
	f, l = connect(link.Welcome{})
	f.heardBeat(link.Beat{State: health.Failed, Reason: "no table t"})
	f.heardBeat(link.Beat{State: health.Inactive, Reason: "its disk", Unwell: health.Inactive, UnwellReason: "its disk"})
	require.Equal(t, "inactive its disk", reason(), "it has overcome that, and is not well all the same")
	f.leave(l, nil)
	require.Equal(t, "inactive disconnected", reason())
	fl.turnedAway("r1", fault.ErrForked)
	require.Equal(t, health.Failed, f.status.State)
	f, l = connect(link.Welcome{Snapshot: true})
	f.leave(l, nil)
	require.Equal(t, "inactive disconnected", reason(), "a snapshot makes it anew")
}

// A snapshot goes on at the table that it had come to, not at another whose name reads alike with a dot in it.
func TestResumableTellsTables(t *testing.T) {
	fl := quietFleet()
	fl.node.Primary, fl.node.Journal = "shop", journal.NewMemory()
	dotted, other := &dialect.Table{Database: "shop", Name: "a.b", Key: []int{0}}, &dialect.Table{Database: "a", Name: "b", Key: []int{0}}
	for _, table := range []*dialect.Table{dotted, other} {
		from := &link.Cursor{Table: fl.node.Name(table).Key(), After: wire.Row{int64(1)}}
		for _, there := range []*dialect.Table{dotted, other} {
			cat := &store.Catalogue{List: []*dialect.Table{there}}
			require.Equal(t, table == there, fl.Resumable(t.Context(), from, schema.Record{}, cat), "a cursor of %q.%q, where there is %q.%q", table.Database, table.Name, there.Database, there.Name)
		}
	}
}
