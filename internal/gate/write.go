package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/ddb-project/ddb/internal/route"
)

// writePath takes a Cluster's writes to where they belong. There is one for each place that can be.
type writePath interface {
	// exec runs one statement and returns when it is durable there.
	exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error)
	// query runs a statement that writes and returns rows, or reads what only the writer can tell.
	query(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error)
	// begin opens a transaction that may write.
	begin(ctx context.Context, opts *sql.TxOptions) (txn, error)
	// own takes a connection where writes go, for one caller's use. What its statements write is seen by their
	// notes, like that of clients that bypass ddb, but the keys that they hand out are the node's.
	own(ctx context.Context) (*sql.Conn, error)
	// beginOn opens a transaction on such a connection.
	beginOn(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions) (txn, error)
	// schema runs a schema statement: on the program's own connection on, where it has one, or on any if that is nil.
	schema(ctx context.Context, on *sql.Conn, stmt *route.Statement, args []any) (sql.Result, error)
}

// txn is an open transaction. It is used by one goroutine at a time.
type txn interface {
	exec(ctx context.Context, stmt *route.Statement, args []any) (sql.Result, error)
	query(ctx context.Context, stmt *route.Statement, args []any) (*sql.Rows, error)
	commit() error
	rollback() error
	// killable returns the transaction of a database of this process that it stands for, with the pool that a KILL can
	// be sent through; nil for another kind.
	killable() (*sql.Tx, *sql.DB)
}

// noted counts a write of this master, which may have failed half-way, and remembers that the reads of this process must see it.
// A follower hears of it by the link.
func (g *Gate) noted() uint64 {
	if g.master.Sequencer == nil {
		if g.node == nil {
			g.route.Session.WroteNow()
		}
		return 0
	}
	n := g.master.Sequencer.Count()
	g.route.Session.Wrote(n)
	g.master.Sequencer.WakeUp()
	return n
}

// wrote is noted, and waits for as many replicas as were asked for.
func (g *Gate) wrote(ctx context.Context) error {
	n := g.noted()
	if g.config.WaitReplicas == 0 || g.master.Sequencer == nil {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, g.config.WaitTimeout)
	defer cancel()
	pos, err := g.master.Sequencer.Covers(limit, n)
	if err != nil {
		return g.master.Replicas.NotConfirmed(ctx, "the write is durable on the master but in no entry")
	}
	return g.master.Replicas.Confirmed(ctx, pos.LSN, g.config.WaitReplicas)
}

// queryAlone runs the statement in a transaction of its own. Its rows are read into memory
// before they are given out, so that a caller who writes while reading does not wait for itself.
func (g *Gate) queryAlone(ctx context.Context, stmt *route.Statement, args []any) (driver.Rows, error) {
	t, err := g.writes.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	release := func() bool { return false }
	if tx, db := t.killable(); tx != nil {
		if release, err = g.killOn(ctx, db, tx); err != nil {
			return nil, errors.Join(err, t.rollback())
		}
	}
	var buffered driver.Rows
	if k, ok := t.(keyedTx); ok && g.keyed(stmt) {
		buffered, err = k.keyedRows(ctx, stmt, args, false)
	} else if rows, e := t.query(ctx, stmt, args); e == nil {
		buffered, err = bufferRows(rows)
	} else {
		err = e
	}
	if release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, t.rollback())
	}
	return buffered, t.commit()
}

// noResult is what a schema statement returns.
type noResult struct{}

func (noResult) LastInsertId() (int64, error) { return 0, nil }
func (noResult) RowsAffected() (int64, error) { return 0, nil }
