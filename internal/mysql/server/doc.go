// Package server says what a database server is to a node: its version, what of it the node's user may do, how much it takes at
// once, which of its databases are replicated and which one is ddb's own.
//
// [Inspect] asks the server once, and words what is missing; a [Server] does not change afterwards, but for the list of
// databases. The package owns ddb's own database and the definitions of the tables in it, except for the outboxes.
package server
