package ddb

import (
	"context"
	"database/sql"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/wire"
)

// Pass makes a master's pass now.
func Pass(ctx context.Context, c *Cluster) error { return c.m.seq.Pass(ctx) }

// ForgetJournal trims all entries but the last.
func ForgetJournal(ctx context.Context, c *Cluster) error {
	return c.m.node.Journal.Trim(ctx, c.m.seq.State.Load().Pos.LSN)
}

// SetMaxStamps changes how many stamps a master keeps, and returns what undoes that. No master may be open.
func SetMaxStamps(n int) (undo func()) {
	was := tuned.MaxStamps
	tuned.MaxStamps = n
	return func() { tuned.MaxStamps = was }
}

// SetMaxBatch changes how large a batch of a snap may be, and returns what undoes that. No snap may be open.
func SetMaxBatch(n int) (undo func()) {
	was := batch.MaxBytes
	batch.MaxBytes = n
	return func() { batch.MaxBytes = was }
}

// SetCommitPatience changes how long masters try a commit again, and returns what undoes that. No master may be open.
func SetCommitPatience(d time.Duration) (undo func()) {
	was := tuned.CommitPatience
	tuned.CommitPatience = d
	return func() { tuned.CommitPatience = was }
}

// SetKeyWatch changes how often nodes that are opened from now on look at the keys they hand out, and returns what undoes that.
func SetKeyWatch(every, tick time.Duration) (undo func()) {
	e, t := keys.WatchEvery, keys.WatchTick
	keys.WatchEvery, keys.WatchTick = every, tick
	return func() { keys.WatchEvery, keys.WatchTick = e, t }
}

// BackdateBatch makes the last batch that waits in a snap's SQLite database one whose clock on the wall was behind by d.
func BackdateBatch(db *sql.DB, d time.Duration) error {
	return rewriteBatch(db, func(b *batch.Batch) error {
		b.Clock, b.Wall = b.Clock-int64(d), b.Wall-int64(d)
		return nil
	})
}

// RewriteBatch passes every row of the last batch that waits in a snap's SQLite database through change.
func RewriteBatch(db *sql.DB, change func(r *dialect.Row)) error {
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

// DamageBatch makes the last batch that waits in a snap's SQLite database tell of a row more than it has.
func DamageBatch(db *sql.DB) error {
	return rewriteBatch(db, func(b *batch.Batch) error {
		b.Changes[0].Count++
		return nil
	})
}
