package memory

import (
	"bytes"
	"os"
	"strconv"
)

// used returns the bytes that the process holds for itself in memory: not those of files that it has mapped.
func used() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return goUsed()
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return goUsed()
	}
	resident, err := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil || err2 != nil {
		return goUsed()
	}
	return (resident - shared) * int64(os.Getpagesize())
}
