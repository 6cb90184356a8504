package snap

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// queue has the batches that the master may not have: they stand in a table, and what is known of them in memory. It owns
// its lock, which nobody holds while talking to the database.
type queue struct {
	node  *store.Store
	cfg   Config
	table string
	name  string // tells these numbers from those of another database that was, or is, this snap's
	// byID: numbers rise with ids and have no index, as the database has one writer.
	byID  bool
	stood int64 // the time of the entry that this node stood at when it was opened

	written, covered atomic.Uint64 // local writes whose batches a pass makes, and those of them that are in batches

	mu     sync.Mutex // guards what follows
	last   uint64     // highest number given to a batch that is committed
	lastID int64      // highest id of a batch that is committed
	// numbering: batches get their number when they are made. It begins when the master has told which it has
	// and nothing waits without a number, and it ends with the process.
	numbering bool
	clock     batch.Clock
	keys      pendingKeys
	// withheld has the master's rows that were left out for pending ones (N4), as far as this process has seen them
	// or has recalled them.
	withheld map[journal.TableName]map[string][]any
	count    int64
	bytes    int64
	oldest   int64 // unix nanoseconds; 0 for an empty queue
	warned   bool
	stale    bool         // a commit has failed that may stand all the same: the queue must be read again
	staged   []*madeBatch // of the local transaction that is open
}

func newQueue(n *store.Store, cfg Config) *queue {
	return &queue{node: n, cfg: cfg, table: n.Engine.Own("batches"), byID: n.SingleWriter(), keys: make(pendingKeys),
		withheld: make(map[journal.TableName]map[string][]any)}
}

// madeBatch is a batch that stands in a transaction not yet committed.
type madeBatch struct {
	id     int64
	at     int64
	bytes  int64
	number uint64 // 0: none yet
	batch  *batch.Batch
}

// load reads the queue, and returns the id of the last batch in it.
func (u *queue) load(ctx context.Context) (lastID int64, err error) {
	if u.last, _, err = store.Value[uint64](ctx, u.node, u.node.DB, store.MetaNumber); err != nil {
		return 0, err
	}
	err = u.recount(ctx, u.node.DB)
	return u.lastID, err
}

// nameIt reads the queue's name, or gives it one: none to a queue that is older than names, so that the master knows it
// again. fresh says that the node has no history yet.
func (u *queue) nameIt(ctx context.Context, fresh bool) error {
	name, ok, err := u.node.Meta(ctx, u.node.DB, store.MetaQueue)
	if err != nil || ok {
		u.name = string(name)
		return err
	}
	if fresh && u.last == 0 && u.count == 0 {
		u.name = rand.Text()
	}
	return u.node.SetMeta(ctx, u.node.DB, store.MetaQueue, []byte(u.name))
}

// doubt notes that a commit has failed that may stand all the same.
func (u *queue) doubt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stale = true
}

// sure reads the queue again if what stands in it is not known.
func (u *queue) sure(ctx context.Context) error {
	u.mu.Lock()
	stale := u.stale
	u.mu.Unlock()
	if !stale {
		return nil
	}
	return u.recount(ctx, u.node.DB)
}

// recount reads the queue again.
func (u *queue) recount(ctx context.Context, q dialect.Querier) error {
	keys, made, err := u.read(ctx, q, 0)
	if err != nil {
		return err
	}
	var highest, lastID int64 // batches that are made with a number do not write it down elsewhere
	if err := dialect.ScanOne(ctx, q, []any{&highest, &lastID}, "SELECT coalesce(max(number), 0), coalesce(max(id), 0) FROM "+u.table); err != nil {
		return fmt.Errorf("node %s: read batches: %w", u.node.ID, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last, u.lastID = max(u.last, uint64(highest)), max(u.lastID, lastID)
	u.keys, u.count, u.bytes, u.oldest, u.stale, u.numbering = keys, 0, 0, 0, false, false
	for _, m := range made {
		u.count++
		u.bytes += m.bytes
		if u.oldest == 0 {
			u.oldest = m.at
		}
		u.clock.Heard(m.at)
	}
	return nil
}

// read returns the batches with a number up to through, or all for 0, without their content, and the keys in them.
func (u *queue) read(ctx context.Context, q dialect.Querier, through uint64) (pendingKeys, []*madeBatch, error) {
	where, args := "", []any(nil)
	if through > 0 && !u.byID {
		where, args = " WHERE number <= ?", []any{int64(through)}
	}
	rows, err := q.QueryContext(ctx, "SELECT id, number, at, bytes, payload FROM "+u.table+where+" ORDER BY id", args...)
	if err != nil {
		return nil, nil, fmt.Errorf("node %s: read batches: %w", u.node.ID, err)
	}
	defer rows.Close()
	keys := make(pendingKeys)
	var list []*madeBatch
	for rows.Next() {
		m := new(madeBatch)
		var number sql.NullInt64
		var payload []byte
		if err := rows.Scan(&m.id, &number, &m.at, &m.bytes, &payload); err != nil {
			return nil, nil, fmt.Errorf("node %s: read batches: %w", u.node.ID, err)
		}
		if through > 0 && (!number.Valid || uint64(number.Int64) > through) {
			break // where there is one writer, numbers rise with ids, and have no index
		}
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if err == nil {
			err = keys.add(&b, m.id)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("node %s: batch %d: %w", u.node.ID, m.id, err)
		}
		list = append(list, m)
	}
	return keys, list, rows.Err()
}

// warnAt is the share of a limit at which a snap warns.
const warnAt = 0.8

// admit refuses a local write when the queue is full. applied is when the entry was made that was applied last.
func (u *queue) admit(applied time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.staged = u.staged[:0]
	full, what := u.fill(applied)
	switch {
	case full >= 1:
		return fmt.Errorf("%w: snap %s: %s; connect it to its master, or raise the option", fault.ErrQueueFull, u.node.ID, what)
	case full >= warnAt && !u.warned:
		u.warned = true
		u.node.Log.Warn("the pending queue is filling up", "used", fmt.Sprintf("%.0f %%", full*100), "reason", what)
	case full < warnAt/2:
		u.warned = false
	}
	return nil
}

// fill returns how full the queue is by the limit that is nearest; the caller holds mu.
func (u *queue) fill(applied time.Time) (full float64, what string) {
	if u.count == 0 {
		return 0, ""
	}
	age := u.age(applied)
	for _, l := range []struct {
		share float64
		what  string
	}{
		{float64(u.count) / float64(u.cfg.QueueMaxBatches), fmt.Sprintf("%d batches wait, QueueMaxBatches is %d", u.count, u.cfg.QueueMaxBatches)},
		{float64(u.bytes) / float64(u.cfg.QueueMaxBytes), fmt.Sprintf("%d bytes wait, QueueMaxBytes is %d", u.bytes, u.cfg.QueueMaxBytes)},
		{float64(age) / float64(u.cfg.QueueMaxAge), fmt.Sprintf("the oldest batch has waited %v, QueueMaxAge is %v", age.Round(time.Second), u.cfg.QueueMaxAge)},
	} {
		if l.share > full {
			full, what = l.share, l.what
		}
	}
	return full, what
}

// age returns how long the queue has waited, or the node for an entry if that is shorter: a clock that stood decades
// behind when the oldest batch was made must not stop all writes when it is put right. The caller holds mu.
func (u *queue) age(applied time.Time) time.Duration {
	since := time.Unix(0, max(u.oldest, u.stood))
	if applied.After(since) {
		since = applied
	}
	return max(0, time.Since(since))
}

// waiting returns how many batches wait, or will in a moment.
func (u *queue) waiting() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count + u.unmade()
}

// stats tells how much waits, or will in a moment.
func (u *queue) stats(applied time.Time) journal.QueueStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	q := journal.QueueStats{Length: u.count + u.unmade(), Bytes: u.bytes}
	if u.count > 0 {
		q.Age = u.age(applied)
	}
	return q
}

// unmade returns how many local writes there may be no batch of yet.
func (u *queue) unmade() int64 { return int64(u.written.Load() - u.covered.Load()) }

// filledUp reports whether the queue would be full if every write without a batch had one.
func (u *queue) filledUp() bool {
	unmade := u.unmade()
	if unmade == 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count+unmade >= u.cfg.QueueMaxBatches
}

// stage notes batches that stand in the writer's transaction; the next to be admitted forgets them.
func (u *queue) stage(made []*madeBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.staged = append(u.staged, made...)
}

// unstage forgets them: their transaction was rolled back.
func (u *queue) unstage() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.staged = u.staged[:0]
}

// commitStaged makes them count: their transaction is committed.
func (u *queue) commitStaged() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queued(u.staged)
	u.staged = u.staged[:0]
}

// add makes batches count that are committed (N5).
func (u *queue) add(made []*madeBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queued(made)
}

// queued adds committed batches to what is known; the caller holds mu.
func (u *queue) queued(list []*madeBatch) {
	for _, m := range list {
		u.keys.add(m.batch, m.id) // cannot fail: it was encoded here
		m.batch = nil
		u.last, u.lastID = max(u.last, m.number), max(u.lastID, m.id)
		u.count++
		u.bytes += m.bytes
		if u.oldest == 0 {
			u.oldest = m.at
		}
	}
}

// number returns the highest number of a batch that has left the queue: the one before the first that waits, if any has a number.
func (u *queue) number(ctx context.Context) (uint64, error) {
	first := "SELECT MIN(number) FROM " + u.table
	if u.byID { // numbers rise with ids, and have no index
		first = "SELECT (SELECT number FROM " + u.table + " ORDER BY id LIMIT 1)"
	}
	var number sql.NullInt64
	if err := dialect.ScanOne(ctx, u.node.DB, []any{&number}, first); err != nil {
		return 0, fmt.Errorf("node %s: read batches: %w", u.node.ID, err)
	}
	if number.Valid {
		return uint64(number.Int64) - 1, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last, nil
}

// highest returns the highest number that a committed batch has, or had.
func (u *queue) highest() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

// reaches notes that the master has batches up to a number.
func (u *queue) reaches(number uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = max(u.last, number)
}

// numbers reports whether batches get their number when they are made.
func (u *queue) numbers() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.numbering
}

// numbered notes the highest number given, and whether batches get theirs when they are made from now on.
func (u *queue) numbered(last uint64, numbering bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last, u.numbering = last, numbering
}

// stopNumbering has batches made without a number until those that wait have theirs.
func (u *queue) stopNumbering() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.numbering = false
}

// draft gives ids, times and, as far as they get one at once, numbers to those of list that hold anything. Those before
// stand in the same transaction.
func (u *queue) draft(list []*batch.Batch, before []*madeBatch, now time.Time) (made []*madeBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	number, id := u.last, u.lastID
	for _, m := range slices.Concat(u.staged, before) {
		number, id = max(number, m.number), max(id, m.id)
	}
	for _, b := range list {
		if b.Records() > 0 {
			id++
			m := &madeBatch{batch: b, id: id, at: u.clock.Next(now)}
			if number++; u.numbering {
				m.number = number
			}
			made = append(made, m)
		}
	}
	return made
}

// How many batches one statement stores at most, where it is kept compiled and where it is not, and how many bytes if
// they are several.
const (
	storedAtOnce   = 32
	storedByPass   = 512
	storedTogether = 1 << 20
)

// insert stores the batches, in q's transaction.
func (u *queue) insert(ctx context.Context, q dialect.Querier, made []*madeBatch) error {
	const perBatch = 6
	var args []any
	for _, m := range made {
		payload, err := wire.Marshal(m.batch)
		if err != nil {
			return fmt.Errorf("node %s: encode batch: %w", u.node.ID, err)
		}
		m.bytes = int64(len(payload))
		var number any // none yet
		if m.number > 0 {
			number = int64(m.number)
		}
		args = append(args, m.id, number, m.at, m.batch.Records(), m.bytes, payload)
	}
	for left := made; len(left) > 0; {
		n := storedAtOnce
		if !u.byID {
			n = storedByPass
		}
		for n > len(left) || n > 1 && bytesOf(left[:n]) > storedTogether {
			n /= 2 // few different texts, so that they stay compiled
		}
		text := "INSERT INTO " + u.table + " (id, number, at, records, bytes, payload) VALUES (?, ?, ?, ?, ?, ?)" + strings.Repeat(", (?, ?, ?, ?, ?, ?)", n-1)
		if _, err := q.ExecContext(ctx, text, args[:n*perBatch]...); err != nil {
			return fmt.Errorf("node %s: store batch: %w", u.node.ID, err)
		}
		left, args = left[n:], args[n*perBatch:]
	}
	return nil
}

func bytesOf(list []*madeBatch) (n int64) {
	for _, m := range list {
		n += m.bytes
	}
	return n
}
