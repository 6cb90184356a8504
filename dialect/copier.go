package dialect

import (
	"context"
	"database/sql"
)

// FileCopier is what an Engine may implement besides, where a database is a file:
// then a node that is new gets its first copy as one.
type FileCopier interface {
	// CopyTo writes a consistent copy of the whole database to a new file of that
	// name, while the database goes on serving. It fails if the file exists.
	CopyTo(ctx context.Context, path string) error
	// LoadFrom replaces the user's objects and rows, and those of ddb's own replicated
	// tables, by those in the file, in one transaction of its own. The rest of
	// ddb's own tables stay. Capture and the user's triggers are removed and not made again. c is a
	// connection for Replay on which no transaction runs. Before the commit it calls
	// within, if not nil, to let the caller write down in the same transaction what has been loaded.
	LoadFrom(ctx context.Context, c *sql.Conn, path string, within func() error) error
}
