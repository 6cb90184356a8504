package mysql

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

const (
	erUnknownVariable  = 1193
	transactionProbe   = "SAVEPOINT ddb_probe"
	transactionRelease = "RELEASE SAVEPOINT ddb_probe"
)

// InTransaction reports whether a transaction is open on the connection. MySQL, unlike MariaDB, has no variable that tells: there
// a savepoint is gone at once outside of transactions, and with autocommit off the answer is always yes.
func (Dialect) InTransaction(ctx context.Context, q dialect.Querier) (open bool, err error) {
	rows, err := q.QueryContext(ctx, "SELECT @@in_transaction")
	switch {
	case lang.Errno(err) == erUnknownVariable:
		if _, err = q.ExecContext(ctx, transactionProbe); err == nil {
			_, err = q.ExecContext(ctx, transactionRelease)
		}
		if lang.Errno(err) == lang.ErNoSuchSavepoint {
			return false, nil
		}
		return err == nil, err
	case err != nil:
		return false, fmt.Errorf("transaction: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&open); err != nil {
			return false, fmt.Errorf("transaction: %w", err)
		}
	}
	return open, rows.Err()
}
