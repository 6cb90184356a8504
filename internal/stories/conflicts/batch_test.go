package conflicts_test

import (
	"database/sql"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/wire"
)

// backdateBatch makes the last batch that waits in a snap's SQLite database one whose clock on the wall was behind by d.
func backdateBatch(db *sql.DB, d time.Duration) error {
	return rewriteBatch(db, func(b *batch.Batch) error {
		b.Clock, b.Wall = b.Clock-int64(d), b.Wall-int64(d)
		return nil
	})
}

// changeRows passes every row of the last batch that waits in a snap's SQLite database through change.
func changeRows(db *sql.DB, change func(r *dialect.Row)) error {
	return rewriteBatch(db, func(b *batch.Batch) error {
		for i, c := range b.Changes {
			is := &batch.Change{Database: c.Database, Table: c.Table, Columns: c.Columns, Key: c.Key}
			err := c.Each(func(r dialect.Row) error {
				change(&r)
				is.Add(r)
				return nil
			})
			if err != nil {
				return err
			}
			b.Changes[i] = is
		}
		return nil
	})
}

func rewriteBatch(db *sql.DB, change func(b *batch.Batch) error) error {
	var id int64
	var payload []byte
	if err := db.QueryRow("SELECT id, payload FROM _ddb_batches ORDER BY id DESC LIMIT 1").Scan(&id, &payload); err != nil {
		return err
	}
	b, err := wire.Decode[batch.Batch](payload)
	if err == nil {
		err = change(&b)
	}
	if err != nil {
		return err
	}
	if payload, err = wire.Marshal(&b); err != nil {
		return err
	}
	_, err = db.Exec("UPDATE _ddb_batches SET payload = ? WHERE id = ?", payload, id)
	return err
}

// damageBatch makes the last batch that waits in a snap's SQLite database tell of a row more than it has.
func damageBatch(db *sql.DB) error {
	return rewriteBatch(db, func(b *batch.Batch) error {
		b.Changes[0].Count++
		return nil
	})
}
