package testcluster

import (
	"context"
	"database/sql"

	"github.com/ddb-project/ddb"
)

// Drain reads rows to their end, and returns the error that came on the way.
func Drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// Ways runs a statement in every way that a program has.
func Ways(ctx context.Context, c *ddb.Cluster, s string) map[string]error {
	results := make(map[string]error)
	_, results["exec"] = c.ExecContext(ctx, s)
	_, results["db"] = c.DB().ExecContext(ctx, s)
	results["query"] = Drain(c.QueryContext(ctx, s))
	results["row"] = c.QueryRowContext(ctx, s).Err()
	if p, err := c.PrepareContext(ctx, s); err == nil {
		_, results["prepared"] = p.ExecContext(ctx)
		p.Close()
	} else {
		results["prepared"] = err
	}
	if conn, err := c.Conn(ctx); err == nil {
		_, results["conn"] = conn.ExecContext(ctx, s)
		results["conn query"] = Drain(conn.QueryContext(ctx, s))
		conn.Close()
	} else {
		results["conn"] = err
	}
	if tx, err := c.BeginTx(ctx, nil); err == nil {
		_, results["tx"] = tx.ExecContext(ctx, s)
		tx.Rollback()
	} else {
		results["tx"] = err
	}
	_, results["several"] = c.ExecContext(ctx, "SELECT 1; "+s)
	return results
}
