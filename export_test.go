package ddb

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// DefaultJournal opens the default journal in a database, for the suite in ddbtest.
func DefaultJournal(tb testing.TB, db *sql.DB, d dialect.Dialect) Journal {
	engine, err := d.Bind(context.Background(), db, dialect.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := engine.CreateOwn(context.Background(), db); err != nil {
		tb.Fatal(err)
	}
	n := &node{db: db, engine: engine}
	return newSQLJournal(db, engine, n.inTx)
}

// ToMain returns the connections of a follower to its master, as whoever has stolen its key would have them: nothing is
// looked at before it is sent.
func ToMain(c *Cluster) *sql.DB { return c.toMain }

// TrimJournal trims a master's journal now.
func TrimJournal(ctx context.Context, c *Cluster) error { return c.m.trim(ctx) }

// Notices returns a queue of changes of state.
func Notices() (add func(NodeStatus), run func(context.Context, func(NodeStatus))) {
	n := newNotices()
	return n.add, n.run
}
