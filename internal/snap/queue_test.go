package snap

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

var tName = journal.TableName{Table: "t"}

// memoryQueue is what a queue knows, without its table. Batches of one row each wait in it, with ids from 1 on.
func memoryQueue(t *testing.T, rows ...int64) *queue {
	u := &queue{node: &store.Store{ID: "s", Log: hclog.NewNullLogger()}, keys: make(pendingKeys), withheld: make(map[journal.TableName]map[string][]any)}
	u.cfg = Config{QueueMaxBatches: 10, QueueMaxBytes: 1 << 20, QueueMaxAge: time.Hour}
	for _, row := range rows {
		u.add(u.draft([]*batch.Batch{rowBatch(t, row)}, nil, time.Now()))
	}
	return u
}

func rowBatch(t *testing.T, row int64) *batch.Batch {
	b := new(batch.Batch)
	table := &dialect.Table{Name: "t", Stored: []string{"id"}, Key: []int{0}}
	require.NoError(t, b.Add(&store.Store{}, table, dialect.Row{Key: []any{row}, Values: []any{row}}))
	return b
}

func keyOf(row int64) string { return string(wire.AppendRow(nil, []any{row})) }

// keysOf returns the keys of the batches with ids up to through, of those that memoryQueue made.
func keysOf(t *testing.T, rows []int64, through int64) (keys pendingKeys, list []*madeBatch) {
	keys = make(pendingKeys)
	for i, row := range rows {
		if id := int64(i) + 1; id <= through {
			require.NoError(t, keys.add(rowBatch(t, row), id))
			list = append(list, &madeBatch{id: id, at: id})
		}
	}
	return keys, list
}

// rowsThat returns which of the rows an entry may write.
func rowsThat(t *testing.T, u *queue, ch *change, rows ...int64) (may []int64) {
	var list []dialect.Row
	for _, row := range rows {
		list = append(list, dialect.Row{Key: []any{row}, Values: []any{-row}})
	}
	rest, _, err := u.settled(ch, tName, list)
	require.NoError(t, err)
	for _, r := range rest {
		may = append(may, r.Key[0].(int64))
	}
	return may
}

// A row is left out of an entry as long as a batch that stays has changed it (N4, N5): dropping an earlier batch of the row
// does not let it in, dropping the last one does, and a transaction that is rolled back has dropped none.
func TestQueueLeavesRowsOut(t *testing.T) {
	waiting := []int64{1, 2, 1}
	for _, c := range []struct {
		name      string
		through   int64
		committed bool
		during    []int64 // rows that the transaction may write after it has dropped the batches
		after     []int64 // rows that the next one may write
		count     int64
	}{
		{"none", 0, true, []int64{3}, []int64{3}, 3},
		{"an earlier one of the row", 1, true, []int64{3}, []int64{3}, 2},
		{"all of one row", 2, true, []int64{2, 3}, []int64{2, 3}, 1},
		{"all", 3, true, []int64{1, 2, 3}, []int64{1, 2, 3}, 0},
		{"all, rolled back", 3, false, []int64{1, 2, 3}, []int64{3}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := memoryQueue(t, waiting...)
			var ch change
			keys, list := keysOf(t, waiting, c.through)
			u.remove(&ch, keys, list)
			require.Equal(t, c.during, rowsThat(t, u, &ch, 1, 2, 3))
			if c.committed {
				u.commit(&ch, 0)
			} else {
				u.undo(&ch, true)
			}
			require.Equal(t, c.after, rowsThat(t, u, new(change), 1, 2, 3))
			require.Equal(t, c.count, u.waiting())
			require.Equal(t, !c.committed, u.stale, "what stands after a failed commit is not known")
		})
	}
}

// What was left out is kept as the master has it, until the row's last batch is dropped.
func TestQueueKeepsWhatItLeavesOut(t *testing.T) {
	u := memoryQueue(t, 1, 2)
	rowsThat(t, u, new(change), 1)
	values, known := u.master(tName, keyOf(1))
	require.True(t, known)
	require.Equal(t, []any{int64(-1)}, values)
	_, known = u.master(tName, keyOf(2))
	require.False(t, known, "no entry had the row")

	// The journal tells of what no entry had since, and changes nothing that one had.
	u.recalled(map[journal.TableName]map[string][]any{tName: {keyOf(1): {int64(10)}, keyOf(2): {int64(20)}}})
	values, _ = u.master(tName, keyOf(1))
	require.Equal(t, []any{int64(-1)}, values)
	values, _ = u.master(tName, keyOf(2))
	require.Equal(t, []any{int64(20)}, values)

	// Schema statements that are rolled back leave it as it was.
	var ch change
	u.withhold(&ch, tName, map[string][]any{keyOf(1): {int64(5)}})
	values, _ = u.master(tName, keyOf(1))
	require.Equal(t, []any{int64(5)}, values)
	u.undo(&ch, true)
	values, _ = u.master(tName, keyOf(1))
	require.Equal(t, []any{int64(-1)}, values)

	keys, list := keysOf(t, []int64{1, 2}, 1)
	u.remove(&ch, keys, list)
	_, known = u.master(tName, keyOf(1))
	require.False(t, known)
}

// Ids and numbers go on above those of all batches that stand in the same transaction, and numbers are given at once only
// while the queue numbers (N2).
func TestQueueDrafts(t *testing.T) {
	u := memoryQueue(t, 1)
	empty := new(batch.Batch)
	made := u.draft([]*batch.Batch{rowBatch(t, 1), empty, rowBatch(t, 2)}, nil, time.Now())
	require.Len(t, made, 2, "a batch of nothing is none")
	require.Equal(t, []int64{2, 3}, []int64{made[0].id, made[1].id})
	require.Zero(t, made[0].number)

	u.numbered(7, true)
	u.stage(made[:1])
	next := u.draft([]*batch.Batch{rowBatch(t, 3)}, made[1:], time.Now())
	require.EqualValues(t, 4, next[0].id)
	require.EqualValues(t, 8, next[0].number)
	again := u.draft([]*batch.Batch{rowBatch(t, 4)}, next, time.Now())
	require.EqualValues(t, 9, again[0].number)
	require.Greater(t, again[0].at, next[0].at, "the clock never stands")

	u.unstage()
	u.add(next)
	require.EqualValues(t, 8, u.highest())
	u.reaches(3)
	require.EqualValues(t, 8, u.highest())
	u.stopNumbering()
	require.False(t, u.numbers())
}

// Each of the limits refuses writes when it is reached, and names the option.
func TestQueueLimits(t *testing.T) {
	now := time.Now()
	for option, c := range map[string]struct {
		change  func(u *queue)
		applied time.Time
		full    bool
	}{
		"QueueMaxBatches": {func(u *queue) { u.cfg.QueueMaxBatches = 2 }, now, true},
		"QueueMaxBytes":   {func(u *queue) { u.bytes = 1 << 20 }, now, true},
		"QueueMaxAge":     {func(u *queue) { u.oldest = now.Add(-time.Hour).UnixNano() }, time.Time{}, true},
		"none":            {func(u *queue) {}, now, false},
		// The age counts from the last entry if that came later.
		"an entry came": {func(u *queue) { u.oldest = now.Add(-time.Hour).UnixNano() }, now, false},
		// A clock that stood decades behind when the oldest batch was made is put right.
		"a clock put right": {func(u *queue) { u.oldest, u.stood = 1, now.UnixNano() }, time.Time{}, false},
		"nothing waits":     {func(u *queue) { u.count, u.bytes, u.oldest = 0, 1<<30, 1 }, time.Time{}, false},
	} {
		u := memoryQueue(t, 1, 2)
		c.change(u)
		err := u.admit(c.applied)
		if !c.full {
			require.NoError(t, err, option)
			continue
		}
		require.ErrorIs(t, err, fault.ErrQueueFull, option)
		require.ErrorContains(t, err, option)
	}
}
