//go:build !linux

package memory

// used sees Go's memory only, not that of a database within the process.
func used() int64 { return goUsed() }
