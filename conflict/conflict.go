// Package conflict has what is told of conflicts between snaps and the master, and the policies that decide them. The root
// package has all of it under its own names; programs need no more than those.
package conflict

import "time"

// Conflict is one row of the conflicts table: what a snap wrote and what it met.
type Conflict struct {
	ID       string
	At       time.Time
	Database string
	Table    string
	Key      string // JSON object: column name to value
	// Base, Local and Remote tell what they leave out for want of room in a member "$left out"; the values that lost, which
	// RetryConflict writes, are always there in full.
	Base    string // JSON object: the row that the snap had changed; "" if there was none
	Local   string // JSON object: the row as the snap wrote it; "" if it deleted it
	Remote  string // JSON object: the master's row at that moment; "" if there was none
	Origin  string // id of the snap
	Batch   uint64 // its batch number
	Policy  string
	Outcome string // "master", "snap", "merged", "function" or "refused": whose values stand
	Reason  string
	State   string // "open", "retried" or "dismissed"
}
