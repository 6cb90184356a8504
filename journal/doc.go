/*
Package journal is the history of a cluster: entries, how they are encoded and chained, and where a node keeps them.

An entry is one or more [Part]s, which become visible together. An [Entry] makes them from the states of rows; [Decode] reads what a
part holds. Each part carries the hash of itself and of what came before it, so that two nodes that meet know by comparing a
[Position] whether their histories are one.

A [Journal] is the ordered, durable log of entries on a node: [NewSQL] keeps it in tables of the node's own database, [NewMemory] in
memory, for tests. A [PendingQueue] is what one follower has not acknowledged of it. The suites in package ddbtest tell whether an implementation
of somebody else's is right. The package knows neither nodes nor links; the invariants J1 to J6 stand in journal.go.
*/
package journal
