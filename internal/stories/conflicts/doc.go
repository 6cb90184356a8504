// Package conflicts tells how writes of snaps and of the master meet: every pair of changes under every policy, cascades, values that
// a server would not take again, rows that are too large, batches that are damaged or forged. It is tests only.
package conflicts
