package sqlite

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/ddb-project/ddb/dialect"
)

// lockSuffix is what the lock file's name has behind the database's.
const lockSuffix = "-ddb-lock"

// memoryLocks holds the in-memory databases that have a node in this process.
var memoryLocks sync.Map // of *sql.DB

// Lock makes this process the only node on the database.
func (e *engine) Lock(ctx context.Context) (release func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if e.file == "" {
		if _, held := memoryLocks.LoadOrStore(e.db, true); held {
			return nil, fmt.Errorf("lock: %w in memory of this process; close it first", dialect.ErrLocked)
		}
		return sync.OnceValue(func() error { memoryLocks.Delete(e.db); return nil }), nil
	}
	if names, err := links(e.file); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	} else if names > 1 {
		return nil, fmt.Errorf("lock: %w: %s is one of %d hard links, and neither ddb's lock nor SQLite's log is the same under each; "+
			"remove the others, or copy the file and use the copy", dialect.ErrLinked, e.file, names)
	}
	path := e.file + lockSuffix
	free, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return sync.OnceValue(free), nil
}

// heldBy is the error for a lock that another node holds.
func heldBy(path string) error {
	by := ""
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		by = fmt.Sprintf(" (process %.20s)", b)
	}
	return fmt.Errorf("%w: %s is locked%s; close it first", dialect.ErrLocked, path, by)
}
