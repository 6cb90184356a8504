// Package histories tries histories that nobody has thought of: rapid draws writes, faults, restarts and crashes, and what every node shows is
// compared with what the master had. It is tests only.
package histories
