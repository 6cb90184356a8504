package ddb

import (
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/journal"
)

// member is a node that reads can be sent to, as this Cluster sees it.
type member struct {
	id      string
	db      *sql.DB
	local   bool
	master  bool
	lsn     func() journal.LSN   // what it has durably
	lag     func() time.Duration // health.LagUnknown if it cannot be told
	status  func() health.Status
	reads   atomic.Uint64
	latency atomic.Int64 // moving average of reads, nanoseconds
	down    atomic.Int64 // unix nanoseconds until which a failed read keeps it out
	hold    atomic.Bool  // in maintenance
}

// view is what routing looks at: loaded once per read, without a lock, and never changed.
type view struct {
	master *member   // nil where reads cannot reach the master
	active []*member // replicas that qualify by their state
	floor  []*member // replicas that lag, kept for when too few are active
	all    map[string]*member
	alone  *member // this replica, while it has lost its master; nil otherwise
}

// ids lists the nodes that can be queried from here.
func (v *view) ids() []string {
	var ids []string
	for id := range v.all {
		ids = append(ids, id)
	}
	return ids
}

// shows reports whether a member without LSNs is sure to show a write made at that moment.
func (m *member) shows(at int64) bool {
	lag := m.lag()
	return m.lsn() != 0 || lag != health.LagUnknown && time.Since(time.Unix(0, at)) >= lag+externalGrace
}

// externalGrace is how long after a write the replicas of somebody else's replication are not
// trusted to show it, beyond their reported lag, which is in whole seconds.
const externalGrace = 2 * time.Second
