// Package health says how nodes are: their roles and states, what an observer knows of each, the checkers that a program may give
// to ddb, and how fresh a node must be to answer a read. It knows no node; only positions of package journal.
package health

import (
	"time"

	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
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

// Status is one node as the observer sees it. It is a snapshot: immutable.
type Status struct {
	ID           string        `cbor:"1,keyasint"`
	Role         Role          `cbor:"2,keyasint"`
	State        State         `cbor:"3,keyasint"`
	Reason       string        `cbor:"4,keyasint,omitempty"` // of the last change of state
	Since        time.Time     `cbor:"5,keyasint"`           // of the last change of state
	Epoch        uint64        `cbor:"6,keyasint"`
	LSN          journal.LSN   `cbor:"7,keyasint"` // last entry that the node has durably; 0 while Pending is PendingUnknown
	Lag          time.Duration `cbor:"8,keyasint"` // age of the oldest entry it lacks; LagUnknown if it cannot be told
	Pending      int64         `cbor:"9,keyasint"` // entries queued for a replica; of a snap its batches that the master has not accepted yet; PendingUnknown if it cannot be told
	PendingBytes int64         `cbor:"10,keyasint"`
	PendingAge   time.Duration `cbor:"11,keyasint"`
	Address      string        `cbor:"12,keyasint,omitempty"`
	Maintenance  bool          `cbor:"13,keyasint,omitempty"` // taken out by a person: no reads are sent to it
	Reads        uint64        `cbor:"14,keyasint,omitempty"` // reads that this Cluster has sent to it
	Writes       uint64        `cbor:"15,keyasint,omitempty"` // writes that this Cluster has sent to it
	Local        bool          `cbor:"-"`

	// Remedies are what would help against Reason, which names them: only of the node itself (Local).
	Remedies []remedy.Remedy `cbor:"-"`
}

// Why returns Reason as an error, for those who word its remedies by themselves.
func (s Status) Why() error { return remedy.Parse(nil, s.Reason, s.Remedies) }

// LagUnknown is the lag of a node about which nothing is known. It counts as unhealthy.
const LagUnknown time.Duration = -1

// PendingUnknown is what waits for a node that has not come back since the master started.
const PendingUnknown int64 = -1
