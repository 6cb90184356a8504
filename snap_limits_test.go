package ddb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
)

// Each limit of the pending queue refuses local writes by its name, and an exchange makes room.
func TestSnapQueueLimits(t *testing.T) {
	for name, o := range map[string]ddb.Options{"QueueMaxBytes": {QueueMaxBytes: 4000}, "QueueMaxAge": {QueueMaxAge: 50 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, sqliteEngine(t), ddb.Options{}, pairSchema)
			s.snap("a", o)
			s.cut("a")
			var err error
			written := 0
			for ; err == nil; written++ {
				_, err = s.nodes["a"].ExecContext(s.ctx, "INSERT INTO p VALUES (?, ?, 'pending', 0)", written, written)
			}
			require.ErrorIs(t, err, ddb.ErrQueueFull)
			require.ErrorContains(t, err, name)
			require.Greater(t, written, 1)
			s.heal("a")
			s.exchange("a")
			s.exec("a", "INSERT INTO p VALUES (-1, -1, 'room again', 0)")
			s.exchange("a")
			s.same("p")
			require.Equal(t, fmt.Sprintf("[%d]", written), s.rows("master", "SELECT COUNT(*) FROM p"))
		})
	}
}

// nowhere is a network in which nobody answers. It notes when it was tried.
type nowhere struct {
	mu    sync.Mutex
	dials []time.Time
}

func (n *nowhere) Dial(context.Context, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Now())
	return nil, errors.New("nobody answers")
}

func (n *nowhere) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.New("nobody may listen")
}

// A snap whose master is away tries again with growing pauses that differ from try to try.
func TestSnapBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, db := testdb.SQLite(t)
		n := new(nowhere)
		c, err := ddb.Open(t.Context(), db, ddb.Options{ID: "a", Role: ddb.Snap, Master: "gone", Transport: n})
		require.NoError(t, err)
		time.Sleep(2 * time.Minute) // virtual
		require.NoError(t, c.Close())
		var gaps []time.Duration
		different := make(map[time.Duration]bool)
		for i := 1; i < len(n.dials); i++ {
			gaps = append(gaps, n.dials[i].Sub(n.dials[i-1]))
			different[gaps[i-1]] = true
		}
		require.Greater(t, len(gaps), 10)
		require.Less(t, gaps[0], time.Second)
		last := gaps[len(gaps)-5:]
		for _, gap := range last {
			require.Greater(t, gap, 2*gaps[0])
			require.LessOrEqual(t, gap, 23*time.Second) // half as much again as the longest pause
		}
		require.Greater(t, len(different), len(gaps)/2, "%v", gaps)
	})
}
