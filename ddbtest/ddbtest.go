// Package ddbtest holds what every implementation of ddb's small interfaces must
// pass. A program that replaces one of them runs the suite in a test of its own.
package ddbtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// Entry makes the parts of an entry that follows prev, for journals that are tested by
// themselves: the hashes chain as ddb's do as far as a journal can tell.
func Entry(prev ddb.Position, payloads ...string) []ddb.Part {
	parts := make([]ddb.Part, len(payloads))
	hash := prev.Hash
	for i, p := range payloads {
		h := sha256.New()
		h.Write(hash[:])
		binary.Write(h, binary.BigEndian, int64(i))
		h.Write([]byte(p))
		hash = ddb.Hash(h.Sum(nil))
		parts[i] = ddb.Part{Epoch: max(prev.Epoch, 1), LSN: prev.LSN + 1, Index: i, Final: i == len(payloads)-1,
			At: time.Now().UnixNano(), Records: 1, Hash: hash, Payload: []byte(p)}
	}
	return parts
}

// end returns the position after the parts.
func end(parts []ddb.Part) ddb.Position { return parts[len(parts)-1].Position() }

// Journal checks what ddb relies on in a journal. open returns an empty one; reopen, if
// not nil, opens the same journal again as after a restart.
func Journal(t *testing.T, open func(t *testing.T) ddb.Journal, reopen func(t *testing.T, j ddb.Journal) ddb.Journal) {
	ctx := t.Context()
	fill := func(t *testing.T, j ddb.Journal, n int) []ddb.Position {
		pos := []ddb.Position{{}}
		for range n {
			e := Entry(pos[len(pos)-1], "payload")
			require.NoError(t, j.Append(ctx, e...))
			pos = append(pos, end(e))
		}
		return pos
	}

	// An empty journal has no bounds and nothing to read.
	t.Run("empty", func(t *testing.T) {
		j := open(t)
		first, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.Zero(t, first)
		require.Zero(t, last)
		parts, err := j.Read(ctx, 0, 1<<19, 1<<20)
		require.NoError(t, err)
		require.Empty(t, parts)
	})

	// What is appended is read back to the byte, in order.
	t.Run("round trip", func(t *testing.T) {
		j := open(t)
		a := Entry(ddb.Position{}, "one", "two\x00\xff", "")
		require.NoError(t, j.Append(ctx, a...))
		b := Entry(end(a), "three")
		require.NoError(t, j.Append(ctx, b...))
		got, err := j.Read(ctx, 0, 1<<19, 1<<20)
		require.NoError(t, err)
		require.Len(t, got, 4)
		for i, want := range append(a, b...) {
			require.Equal(t, string(want.Payload), string(got[i].Payload))
			want.Payload, got[i].Payload = nil, nil
			require.Equal(t, want, got[i])
		}
		first, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.Equal(t, end(a), first)
		require.Equal(t, end(b), last)
	})

	// A limit smaller than a part still gives one part; reading on from there gives the rest.
	t.Run("limit", func(t *testing.T) {
		j := open(t)
		fill(t, j, 20)
		seen := ddb.LSN(0)
		lsn, index := ddb.LSN(0), 1<<19
		for {
			parts, err := j.Read(ctx, lsn, index, 1)
			require.NoError(t, err)
			if len(parts) == 0 {
				break
			}
			require.Len(t, parts, 1)
			require.Equal(t, seen+1, parts[0].LSN)
			seen = parts[0].LSN
			lsn, index = parts[0].LSN, parts[0].Index
		}
		require.EqualValues(t, 20, seen)
	})

	// Reading may begin in the middle of an entry.
	t.Run("middle", func(t *testing.T) {
		j := open(t)
		require.NoError(t, j.Append(ctx, Entry(ddb.Position{}, "a", "b", "c")...))
		parts, err := j.Read(ctx, 1, 0, 1<<20)
		require.NoError(t, err)
		require.Len(t, parts, 2)
		require.Equal(t, "b", string(parts[0].Payload))
	})

	// Trimming removes from the front and says so to who still asks for it.
	t.Run("trim", func(t *testing.T) {
		j := open(t)
		pos := fill(t, j, 10)
		require.NoError(t, j.Trim(ctx, 4))
		first, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.Equal(t, pos[5], first)
		require.Equal(t, pos[10], last)
		_, err = j.Read(ctx, 2, 1<<19, 1<<20)
		require.ErrorIs(t, err, ddb.ErrTrimmed)
		parts, err := j.Read(ctx, 4, 1<<19, 1<<20)
		require.NoError(t, err)
		require.Len(t, parts, 6)
	})

	// The last entry is never trimmed: it anchors the chain (J6).
	t.Run("trim all", func(t *testing.T) {
		j := open(t)
		pos := fill(t, j, 3)
		require.NoError(t, j.Trim(ctx, 99))
		_, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.Equal(t, pos[3], last)
		require.NoError(t, j.Append(ctx, Entry(last, "next")...))
	})

	// An anchor begins the journal anew, wherever its end was.
	t.Run("anchor", func(t *testing.T) {
		j := open(t)
		fill(t, j, 3)
		for _, lsn := range []ddb.LSN{40, 7} {
			at := ddb.Position{Epoch: 2, LSN: lsn, Hash: ddb.Hash{1, 2, 3}}
			require.NoError(t, j.Append(ctx, ddb.Part{Epoch: at.Epoch, LSN: at.LSN, Hash: at.Hash, Final: true, At: 1, Records: -1, Payload: []byte{}}))
			first, last, err := j.Bounds(ctx)
			require.NoError(t, err)
			require.Equal(t, []ddb.Position{at, at}, []ddb.Position{first, last})
			require.NoError(t, j.Append(ctx, Entry(at, "next")...))
			parts, err := j.Read(ctx, lsn, 1<<19, 1<<20)
			require.NoError(t, err)
			require.Len(t, parts, 1)
			require.Equal(t, lsn+1, parts[0].LSN)
		}
	})

	// A context that is over stops every call and changes nothing.
	t.Run("context", func(t *testing.T) {
		j := open(t)
		fill(t, j, 1)
		over, cancel := context.WithCancel(ctx)
		cancel()
		require.Error(t, j.Append(over, Entry(ddb.Position{LSN: 1, Epoch: 1}, "x")...))
		_, err := j.Read(over, 0, 1<<19, 1)
		require.Error(t, err)
		_, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 1, last.LSN)
	})

	// Readers and the writer do not disturb each other, and no reader sees a gap.
	t.Run("concurrent", func(t *testing.T) {
		j := open(t)
		done := make(chan struct{})
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				at := ddb.LSN(0)
				for at < 100 {
					filled := false
					select {
					case <-done:
						filled = true
					default:
					}
					parts, err := j.Read(ctx, at, 1<<19, 1000)
					if err != nil {
						t.Error(err)
						return
					}
					for _, p := range parts {
						if p.LSN != at+1 {
							t.Errorf("entry %d after %d", p.LSN, at)
							return
						}
						at = p.LSN
					}
					if filled && len(parts) == 0 && at < 100 {
						t.Errorf("the end is at %d", at)
						return
					}
				}
			})
		}
		fill(t, j, 100)
		close(done)
		readers.Wait()
	})

	// A journal that tells its size tells it of whole entries.
	t.Run("size", func(t *testing.T) {
		j := open(t)
		sizer, ok := j.(ddb.JournalSizer)
		if !ok {
			t.Skip("the journal is no ddb.JournalSizer: ddb does not trim it")
		}
		fill(t, j, 3)
		parts, err := j.Read(ctx, 0, -1, 1<<20)
		require.NoError(t, err)
		n, bytes, oldest, err := sizer.Size(ctx, 1)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		var want int64
		for _, p := range parts[1:] {
			want += int64(len(p.Payload))
		}
		require.Equal(t, want, bytes)
		require.True(t, oldest.Equal(parts[1].Time()), "%v", oldest)
		n, bytes, oldest, err = sizer.Size(ctx, 3)
		require.NoError(t, err)
		require.True(t, n == 0 && bytes == 0 && oldest.IsZero(), "%d, %d, %v", n, bytes, oldest)
		lsn, err := sizer.Before(ctx, parts[2].Time())
		require.NoError(t, err)
		require.Less(t, lsn, ddb.LSN(3))
		lsn, err = sizer.Before(ctx, parts[2].Time().Add(time.Nanosecond))
		require.NoError(t, err)
		require.EqualValues(t, 3, lsn)
	})

	if reopen == nil {
		return
	}
	// What was appended survives a restart.
	t.Run("reopen", func(t *testing.T) {
		j := open(t)
		pos := fill(t, j, 5)
		j = reopen(t, j)
		_, last, err := j.Bounds(ctx)
		require.NoError(t, err)
		require.Equal(t, pos[5], last)
	})
}

// PendingQueue checks what ddb relies on in a pending queue. open returns the
// queue of a follower that has acknowledged nothing, and a function that appends an entry to what it must get.
func PendingQueue(t *testing.T, open func(t *testing.T) (ddb.PendingQueue, func(parts ...ddb.Part) error)) {
	ctx := t.Context()

	const behind = 1 << 19 // a part index that no entry reaches

	// Entries come in order from where one asks, acknowledged or not, again and again.
	t.Run("order", func(t *testing.T) {
		q, put := open(t)
		var pos ddb.Position
		for range 5 {
			e := Entry(pos, "x")
			require.NoError(t, put(e...))
			pos = end(e)
		}
		for range 2 {
			parts, err := q.Next(ctx, 0, behind, 1<<20)
			require.NoError(t, err)
			require.Len(t, parts, 5)
			parts, err = q.Next(ctx, 0, behind, 1)
			require.NoError(t, err)
			require.Len(t, parts, 1)
		}
		require.NoError(t, q.Ack(ctx, 3))
		parts, err := q.Next(ctx, 3, behind, 1<<20)
		require.NoError(t, err)
		require.Len(t, parts, 2)
		require.EqualValues(t, 4, parts[0].LSN)
		parts, err = q.Next(ctx, 5, behind, 1<<20)
		require.NoError(t, err)
		require.Empty(t, parts)
	})

	// An entry of several parts is continued at any of them.
	t.Run("parts", func(t *testing.T) {
		q, put := open(t)
		first := Entry(ddb.Position{}, "a", "b", "c")
		require.NoError(t, put(first...))
		require.NoError(t, put(Entry(end(first), "d")...))
		parts, err := q.Next(ctx, 1, 0, 1<<20)
		require.NoError(t, err)
		require.Len(t, parts, 3)
		require.Equal(t, "b", string(parts[0].Payload))
		require.Equal(t, "d", string(parts[2].Payload))
	})

	// An old acknowledgement is ignored; one from the future is an error and removes nothing.
	t.Run("ack", func(t *testing.T) {
		q, put := open(t)
		require.NoError(t, put(Entry(ddb.Position{}, "x")...))
		require.Error(t, q.Ack(ctx, 9))
		s, err := q.Stats(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Length)
		require.NoError(t, q.Ack(ctx, 1))
		require.NoError(t, q.Ack(ctx, 0))
		s, err = q.Stats(ctx)
		require.NoError(t, err)
		require.Zero(t, s)
	})

	// The statistics count what waits, as it comes and goes.
	t.Run("stats", func(t *testing.T) {
		q, put := open(t)
		s, err := q.Stats(ctx)
		require.NoError(t, err)
		require.Zero(t, s)
		var pos ddb.Position
		for n := range 3 {
			e := Entry(pos, "four")
			require.NoError(t, put(e...))
			pos = end(e)
			s, err = q.Stats(ctx)
			require.NoError(t, err)
			require.EqualValues(t, n+1, s.Length)
		}
		require.NoError(t, q.Ack(ctx, 2))
		s, err = q.Stats(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Length)
		require.NoError(t, q.Ack(ctx, 3))
		s, err = q.Stats(ctx)
		require.NoError(t, err)
		require.Zero(t, s)
	})
}

// Picker checks what ddb relies on in a picker: it chooses a valid index, from many
// goroutines at once, and does not starve a candidate that is as good as the others.
func Picker(t *testing.T, p ddb.Picker) {
	one := []ddb.Candidate{{ID: "only"}}
	require.Equal(t, 0, p.Pick(one))
	three := []ddb.Candidate{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	var counts [3]int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				i := p.Pick(three)
				if i < 0 || i > 2 {
					t.Errorf("picked %d of 3", i)
					return
				}
				mu.Lock()
				counts[i]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i, n := range counts {
		require.Greater(t, n, 400, "candidate %d of equals was starved: %v", i, counts)
	}
}

// HealthChecker checks what ddb relies on in a checker: healthy answers, an error within the
// context's time for a node that is gone, and safety for use from many goroutines.
func HealthChecker(t *testing.T, c ddb.HealthChecker, id string, healthy, gone *sql.DB) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			r, err := c.Check(ctx, id, healthy)
			if err != nil || r.Lag < 0 {
				t.Errorf("healthy node: %+v, %v", r, err)
			}
		})
	}
	all.Wait()
	if gone == nil {
		return
	}
	r, err := c.Check(ctx, id+"-gone", gone)
	if err == nil && r.Lag != ddb.LagUnknown {
		t.Errorf("a node that is gone was reported with lag %v and no error", r.Lag)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the checker used up its context on a node that refuses connections")
	}
}
