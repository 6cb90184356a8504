package testcluster

import (
	"bytes"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// quietLogger returns a logger where the environment variable DDB_TEST_LOG names a level, else nil.
func quietLogger() hclog.Logger {
	level := os.Getenv("DDB_TEST_LOG")
	if level == "" {
		return nil
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(level), Output: os.Stderr})
}

// Buffer is a log that may be read while it is written. The zero Buffer is empty.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to the log.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what has been written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
