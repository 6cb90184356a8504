// Package replicas tells how replicas get and keep what the master has: snapshots, promotion, faults of links, the hard cases of SQL, and every
// type of value. It is tests only.
package replicas
