package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

const (
	killTimeout  = 5 * time.Second       // for all of a kill, the wait for a connection to send it on included
	killInterval = 20 * time.Millisecond // between one KILL and the next
)

// Kill lets the end of ctx end the statement that is to run on the connection of db with the number in the server
// too: the driver only closes its own end, and the server may go on with the statement for
// as long as it takes. The whole connection is killed, because the driver has given it up.
//
// The caller calls release when the statement is done and its rows are closed. It waits for a KILL under way, and
// reports whether there was one: the connection then serves nobody else.
func (Dialect) Kill(ctx context.Context, db *sql.DB, id uint64) (release func() (killed bool)) {
	over := make(chan struct{})
	end := func() {
		defer close(over)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		kill(limit, db, id)
	}
	stop := context.AfterFunc(ctx, end)
	return func() bool {
		if stop() {
			if ctx.Err() == nil {
				return false
			}
			end() // ctx has ended, and the statement for its caller, before that was heard of here
		}
		<-over
		return true
	}
}

// kill repeats the KILL until the server does not know the connection any more: KILL returns before the statement has
// ended, and one that meets a statement at its very beginning has been seen to have no effect.
func kill(ctx context.Context, db *sql.DB, id uint64) {
	again := time.NewTicker(killInterval)
	defer again.Stop()
	for {
		// A user may always kill what is its own.
		if _, err := db.ExecContext(ctx, fmt.Sprintf("KILL %d", id)); lang.Errno(err) == lang.ErNoSuchThread {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// ConnectionID asks for the server's number of a connection, which takes a round trip and
// forgets what ROW_COUNT, FOUND_ROWS and SHOW WARNINGS would have told.
func (Dialect) ConnectionID(ctx context.Context, q dialect.Querier) (id uint64, err error) {
	rows, err := q.QueryContext(ctx, "SELECT CONNECTION_ID()")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
	}
	return id, rows.Err()
}
