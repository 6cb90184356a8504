package memory

import (
	"bytes"
	"os"
	"strconv"
)

// resident returns the bytes that the process has for itself in memory: not those of files that it has mapped.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return 0
	}
	all, err := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil || err2 != nil {
		return 0
	}
	return (all - shared) * int64(os.Getpagesize())
}
