package snap

import (
	"context"
	"database/sql"

	"github.com/ddb-project/ddb/dialect"
)

// recorder makes the batches of local writes. There are two, chosen once by whether the database has one writer or many.
type recorder interface {
	// run does what works while the node is open, until ctx ends.
	run(ctx context.Context)
	// alone waits until no local write is under way, and keeps others from it until release is called.
	alone(ctx context.Context) (release func(), err error)
	// catchUp makes batches of what was written before c's transaction, and returns those that stand in that transaction.
	catchUp(ctx context.Context, c *sql.Conn) ([]*madeBatch, error)
	// differing leaves out rows of an entry that are here as the master has them, as far as that takes less than to write
	// them. dropped are the keys of the batches that the entry includes.
	differing(ctx context.Context, dropped []pendingKeys, q dialect.Querier, t *dialect.Table, rows []dialect.Row) ([]dialect.Row, error)
	// overtaken shows those of rows again, which c's transaction has written, that somebody had changed before, seen by no
	// pass. master are the rows if they are the master's (N4), nil if they are local changes.
	overtaken(ctx context.Context, ch *change, c *sql.Conn, t *dialect.Table, rows, master []dialect.Row) error
	// drop deletes batches of the queue, the first ones in it.
	drop(ctx context.Context, q dialect.Querier, list []*madeBatch) error
	// tablesChanged forgets what is known of the tables.
	tablesChanged()
}
