package ddb

import "github.com/ddb-project/ddb/health"

// How nodes are, and who finds out, stands in package health, where each type has its documentation and methods.
type (
	// Role is what a node does in its cluster. See [health.Role].
	Role = health.Role
	// State is a node's health as the observer sees it. See [health.State].
	State = health.State
	// NodeStatus is one node as the observer sees it. See [health.Status].
	NodeStatus = health.Status
	// Report is what a HealthChecker found out about a node. See [health.Report].
	Report = health.Report
	// Progress tells how far a snapshot has come. See [health.Progress].
	Progress = health.Progress
	// HealthChecker finds out how a node is. See [health.Checker].
	HealthChecker = health.Checker
	// PingChecker takes a node that answers to have no lag. See [health.PingChecker].
	PingChecker = health.PingChecker
	// MariaDBChecker reads the lag of MariaDB's or MySQL's own replication. See [health.MariaDBChecker].
	MariaDBChecker = health.MariaDBChecker
	// FixedChecker is a HealthChecker in memory, for tests and drills. See [health.FixedChecker].
	FixedChecker = health.FixedChecker
)

// The roles.
const (
	Master  = health.Master  // takes the writes
	Replica = health.Replica // follows the master and serves reads
	Snap    = health.Snap    // follows the master and takes writes locally, offline too
)

// The states. Reads go to active nodes, and to lagging ones only to keep the floor.
const (
	Joining  = health.Joining  // connected, histories being compared
	Syncing  = health.Syncing  // taking a snapshot or catching up; not yet readable
	Active   = health.Active   // within the lag limit
	Lagging  = health.Lagging  // readable, but behind the lag limit
	Inactive = health.Inactive // not connected, or silent for three heartbeats
	Failed   = health.Failed   // stopped by an error that needs a person
)

// LagUnknown is the lag of a node about which nothing is known. It counts as unhealthy.
const LagUnknown = health.LagUnknown

// PendingUnknown is what waits for a node that has not come back since the master started.
const PendingUnknown = health.PendingUnknown
