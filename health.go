package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Role is what a node does in its cluster.
type Role string

// The roles.
const (
	Master  Role = "master"  // takes the writes
	Replica Role = "replica" // follows the master and serves reads
	Snap    Role = "snap"    // follows the master and takes writes locally, offline too
)

// State is a node's health as the observer sees it.
type State string

// The states. Reads go to active nodes, and to lagging ones only to keep the floor.
const (
	Joining  State = "joining"  // connected, histories being compared
	Syncing  State = "syncing"  // taking a snapshot or catching up; not yet readable
	Active   State = "active"   // within the lag limit
	Lagging  State = "lagging"  // readable, but behind the lag limit
	Inactive State = "inactive" // not connected, or silent for three heartbeats
	Failed   State = "failed"   // stopped by an error that needs a person
)

// NodeStatus is one node as the observer sees it. It is a snapshot: immutable.
type NodeStatus struct {
	ID           string        `cbor:"1,keyasint"`
	Role         Role          `cbor:"2,keyasint"`
	State        State         `cbor:"3,keyasint"`
	Reason       string        `cbor:"4,keyasint,omitempty"` // of the last change of state
	Since        time.Time     `cbor:"5,keyasint"`           // of the last change of state
	Epoch        uint64        `cbor:"6,keyasint"`
	LSN          LSN           `cbor:"7,keyasint"` // last entry that the node has durably; 0 while Pending is PendingUnknown
	Lag          time.Duration `cbor:"8,keyasint"` // age of the oldest entry it lacks; LagUnknown if it cannot be told
	Pending      int64         `cbor:"9,keyasint"` // entries queued for a replica; of a snap its batches that the master has not accepted yet; PendingUnknown if it cannot be told
	PendingBytes int64         `cbor:"10,keyasint"`
	PendingAge   time.Duration `cbor:"11,keyasint"`
	Address      string        `cbor:"12,keyasint,omitempty"`
	Maintenance  bool          `cbor:"13,keyasint,omitempty"` // taken out by a person: no reads are sent to it
	Reads        uint64        `cbor:"14,keyasint,omitempty"` // reads that this Cluster has sent to it
	Writes       uint64        `cbor:"15,keyasint,omitempty"` // writes that this Cluster has sent to it
	Local        bool          `cbor:"-"`
}

// LagUnknown is the lag of a node about which nothing is known. It counts as unhealthy.
const LagUnknown time.Duration = -1

// PendingUnknown is what waits for a node that has not come back since the master started.
const PendingUnknown int64 = -1

// Report is what a HealthChecker found out about a node.
type Report struct {
	Lag time.Duration // LagUnknown if the node cannot tell
}

// judge tells the state of a node of which a checker has given the report and the error.
func (r Report) judge(err error, maxLag time.Duration) (s State, reason string, lag time.Duration) {
	switch {
	case err != nil:
		return Inactive, err.Error(), LagUnknown
	case r.Lag == LagUnknown:
		return Inactive, "its lag is unknown: replication is stopped or still connecting", LagUnknown
	case r.Lag > maxLag:
		return Lagging, fmt.Sprintf("behind by %v", r.Lag), r.Lag
	}
	return Active, "within the lag limit", r.Lag
}

// HealthChecker finds out how a node is. ddb asks it once per Options.Heartbeat about the members of a
// Cluster made by [Wrap], and, if Options.HealthChecker is set, about the database of a node made by [Open]. An
// error marks the node inactive. An implementation must pass
// [github.com/ddb-project/ddb/ddbtest.HealthChecker].
type HealthChecker interface {
	Check(ctx context.Context, id string, db *sql.DB) (Report, error)
}

// PingChecker is a HealthChecker that takes a node that answers to have no lag. It
// suits members that replicate synchronously or do not replicate at all.
type PingChecker struct{}

// Check pings the node.
func (PingChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	if err := db.PingContext(ctx); err != nil {
		return Report{Lag: LagUnknown}, fmt.Errorf("ddb: node %s: %w", id, err)
	}
	return Report{}, nil
}

// MariaDBChecker is a HealthChecker for replicas of MariaDB's or MySQL's own replication:
// it reads Seconds_Behind_Master of SHOW REPLICA STATUS, in whole seconds. The
// user needs the privilege REPLICA MONITOR (MariaDB) or REPLICATION CLIENT.
type MariaDBChecker struct{}

// Check asks the node for its replication status.
func (MariaDBChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	unknown := Report{Lag: LagUnknown}
	rows, err := db.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return unknown, fmt.Errorf("ddb: node %s: %w", id, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return unknown, fmt.Errorf("ddb: node %s: %w", id, err)
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return unknown, fmt.Errorf("ddb: node %s: %w", id, err)
		}
		return unknown, fmt.Errorf("ddb: node %s is not a replica: SHOW REPLICA STATUS is empty", id)
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return unknown, fmt.Errorf("ddb: node %s: %w", id, err)
	}
	for i, name := range columns {
		if name != "Seconds_Behind_Master" && name != "Seconds_Behind_Source" {
			continue
		}
		var seconds int64
		if !values[i].Valid {
			return unknown, nil // replication is stopped or still connecting
		}
		if _, err := fmt.Sscan(values[i].String, &seconds); err != nil {
			return unknown, fmt.Errorf("ddb: node %s: lag %q: %w", id, values[i].String, err)
		}
		return Report{Lag: time.Duration(seconds) * time.Second}, nil
	}
	return unknown, nil
}

// FixedChecker is a HealthChecker in memory, for tests and drills: a node has the health that Set gave it.
type FixedChecker struct {
	mu      sync.Mutex
	reports map[string]Report
	errs    map[string]error
}

// Set fixes what Check answers for the node.
func (f *FixedChecker) Set(id string, r Report, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reports == nil {
		f.reports, f.errs = make(map[string]Report), make(map[string]error)
	}
	f.reports[id], f.errs[id] = r, err
}

// Check returns what was Set; a node never set has an unknown lag.
func (f *FixedChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Report{Lag: LagUnknown}, err
	}
	r, ok := f.reports[id]
	if !ok {
		return Report{Lag: LagUnknown}, f.errs[id]
	}
	return r, f.errs[id]
}
