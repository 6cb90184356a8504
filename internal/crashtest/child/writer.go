package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/ddb-project/ddb"
)

const (
	accounts  = 10
	keep      = 8 // rows of its own that a writer leaves before it deletes the oldest
	ddlPause  = 30 * time.Millisecond
	errLocked = 1205 // lock wait timeout: rolled back
	errDead   = 1213 // deadlock: rolled back
	errRetry  = 1020 // the row has changed since it was read: rolled back
)

// writer is one goroutine's part of the load.
type writer struct {
	c     *ddb.Cluster
	mysql bool
	name  string
	run   string
	pause time.Duration
	n     int
	live  []string // keys whose insertion has been acknowledged
}

// work writes until ctx ends. On the master every error is a mistake, except those by which a
// server rolls a transaction back; on a replica the master may be dead.
func (w *writer) work(ctx context.Context, master bool) {
	steps := []func(context.Context) error{w.insert, w.insert, w.remove, w.count, w.transfer}
	if !master {
		steps = steps[:1]
	}
	for ctx.Err() == nil {
		err := steps[rand.IntN(len(steps))](ctx)
		if err == nil || ctx.Err() != nil {
			w.rest(ctx)
			continue
		}
		if master && !rolledBack(err) {
			fatal(fmt.Errorf("writer %s: %w", w.name, err))
		}
		select { // the master is away
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func rolledBack(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (e.Number == errLocked || e.Number == errDead || e.Number == errRetry)
}

// insert adds a row and must see it.
func (w *writer) insert(ctx context.Context) error {
	w.n++
	key := fmt.Sprintf("%s.%s.%d", w.run, w.name, w.n)
	if _, err := w.c.ExecContext(ctx, "INSERT INTO items (id, w, v) VALUES (?, ?, ?)", key, w.name, w.n); err != nil {
		return err
	}
	say("+ %s", key)
	w.live = append(w.live, key)
	var n int
	if err := w.c.QueryRowContext(ctx, "SELECT count(*) FROM items WHERE id = ?", key).Scan(&n); err == nil && n != 1 {
		fatal(fmt.Errorf("writer %s does not see its own row %s", w.name, key))
	}
	return nil
}

// remove deletes the oldest row of its own.
func (w *writer) remove(ctx context.Context) error {
	if len(w.live) <= keep {
		return w.insert(ctx)
	}
	key := w.live[0]
	w.live = w.live[1:]
	say("? %s", key)
	res, err := w.c.ExecContext(ctx, "DELETE FROM items WHERE id = ?", key)
	if err != nil {
		return err // in doubt, as announced
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		fatal(fmt.Errorf("writer %s: the acknowledged row %s was gone (%d rows, %v)", w.name, key, n, err))
	}
	say("- %s", key)
	return nil
}

// count raises a counter that only this writer raises.
func (w *writer) count(ctx context.Context) error {
	query := "INSERT INTO counters (w, n) VALUES (?, 1) ON CONFLICT (w) DO UPDATE SET n = n + 1"
	if w.mysql {
		query = "INSERT INTO counters (w, n) VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1"
	}
	if _, err := w.c.ExecContext(ctx, query, w.name); err != nil {
		return err
	}
	var n int
	if err := w.c.QueryRowContext(ctx, "SELECT n FROM counters WHERE w = ?", w.name).Scan(&n); err == nil {
		say("n %s %d", w.name, n)
	}
	return nil
}

// rest waits for a moment of the length that was asked for, on average.
func (w *writer) rest(ctx context.Context) {
	if w.pause == 0 {
		return
	}
	select {
	case <-time.After(rand.N(2 * w.pause)):
	case <-ctx.Done():
	}
}

// workLocally makes transactions on a snap until ctx ends. Each has a mark of its own, and most also move money.
func (w *writer) workLocally(ctx context.Context) {
	for ctx.Err() == nil {
		w.n++
		mark := fmt.Sprintf("%s.%s.%d", w.run, w.name, w.n)
		err := w.local(ctx, mark)
		switch {
		case err == nil:
			say("b %s", mark)
		case ctx.Err() == nil && !errors.Is(err, ddb.ErrBusy) && !rolledBack(err):
			fatal(fmt.Errorf("snap %s: %w", w.name, err))
		}
		w.rest(ctx)
	}
}

func (w *writer) local(ctx context.Context, mark string) error {
	tx, err := w.c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if rand.IntN(4) > 0 {
		if err := move(ctx, tx); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO marks (id, w) VALUES (?, ?)", mark, w.name); err != nil {
		return err
	}
	return tx.Commit()
}

// transfer moves money between two accounts; the sum never changes.
func (w *writer) transfer(ctx context.Context) error {
	tx, err := w.c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := move(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func move(ctx context.Context, tx *sql.Tx) error {
	from, to := 1+rand.IntN(accounts), 1+rand.IntN(accounts)
	if from == to {
		return nil
	}
	amount := 1 + rand.IntN(9)
	if from > to { // always in the same order, so that transactions wait and do not deadlock
		from, to, amount = to, from, -amount
	}
	if _, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - ? WHERE id = ?", amount, from); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, to)
	return err
}

// schema makes, changes and drops a table again and again.
func (w *writer) schema(ctx context.Context) {
	steps := []string{
		"DROP TABLE IF EXISTS extra",
		"CREATE TABLE extra (id INTEGER PRIMARY KEY, v VARCHAR(20))",
		"INSERT INTO extra (id, v) VALUES (1, 'one')",
		"ALTER TABLE extra ADD COLUMN more INTEGER DEFAULT 7",
		"INSERT INTO extra (id, v) VALUES (2, 'two')",
		"CREATE INDEX extra_v ON extra (v)",
	}
	for i := 0; ctx.Err() == nil; i++ {
		_, err := w.c.ExecContext(ctx, steps[i%len(steps)])
		if err != nil && ctx.Err() == nil && !rolledBack(err) && !strings.Contains(err.Error(), "canceled") {
			fatal(fmt.Errorf("schema: %s: %w", steps[i%len(steps)], err))
		}
		select {
		case <-time.After(ddlPause):
		case <-ctx.Done():
		}
	}
}
