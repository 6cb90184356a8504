// Package schema lists the statements that make the user's whole schema on an empty node, runs a schema statement in
// the surroundings that its meaning depends on, and drops what a new snapshot is to replace.
//
// What it lists has nothing of ddb's in it. After [Schema.Run] the session is as it was before, or closed.
package schema
