// Package sessions owns the connections that a node works on: it takes them from the pool, sets them up for a purpose, begins and
// commits their transactions ([Sessions]), lends any connection ddb's own surroundings for the time of a call
// ([Sessions.Neutral]), and keeps the connection whose locks make the node the only one on its databases ([Locks]).
//
// A connection with ddb's settings never goes back to the program's pool. Whatever a session's settings were when it was lent, they
// are the same afterwards, or the connection is closed.
package sessions
