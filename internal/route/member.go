package route

import (
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/journal"
)

// Member is a node that reads can be sent to, as this process sees it.
type Member struct {
	ID      string
	DB      *sql.DB
	Local   bool // on this machine
	Master  bool
	LSN     func() journal.LSN   // what it has durably
	Lag     func() time.Duration // health.LagUnknown if it cannot be told
	Status  func() health.Status // how it is
	Reads   atomic.Uint64        // how many it was sent
	latency atomic.Int64         // moving average of reads, nanoseconds
	Down    atomic.Int64         // unix nanoseconds until which a failed read keeps it out
	Hold    atomic.Bool          // in maintenance
}

// View is what routing looks at: loaded once per read, without a lock, and never changed.
type View struct {
	Master *Member            // nil where reads cannot reach the master
	Active []*Member          // replicas that qualify by their state
	Floor  []*Member          // replicas that lag, kept for when too few are active
	All    map[string]*Member // by id, whatever their state
	Alone  *Member            // this replica, while it has lost its master; nil otherwise
}

// IDs lists the nodes that can be queried from here.
func (v *View) IDs() []string {
	var ids []string
	for id := range v.All {
		ids = append(ids, id)
	}
	return ids
}

// shows reports whether a member without LSNs is sure to show a write made at that moment.
func (m *Member) shows(at int64) bool {
	lag := m.Lag()
	return m.LSN() != 0 || lag != health.LagUnknown && time.Since(time.Unix(0, at)) >= lag+externalGrace
}

// externalGrace is how long after a write the replicas of somebody else's replication are not
// trusted to show it, beyond their reported lag, which is in whole seconds.
const externalGrace = 2 * time.Second
