package snaps_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// Each limit of the pending queue refuses local writes by its name, and an exchange makes room.
func TestSnapQueueLimits(t *testing.T) {
	for name, o := range map[string]ddb.Options{"QueueMaxBytes": {QueueMaxBytes: 4000}, "QueueMaxAge": {QueueMaxAge: 50 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, testcluster.PairSchema)
			s.Snap("a", o)
			s.Cut("a")
			var err error
			written := 0
			for ; err == nil; written++ {
				_, err = s.Nodes["a"].ExecContext(s.Ctx, "INSERT INTO p VALUES (?, ?, 'pending', 0)", written, written)
			}
			require.ErrorIs(t, err, ddb.ErrQueueFull)
			require.ErrorContains(t, err, name)
			require.Greater(t, written, 1)
			s.Heal("a")
			s.Exchange("a")
			s.Exec("a", "INSERT INTO p VALUES (-1, -1, 'room again', 0)")
			s.Exchange("a")
			s.Same("p")
			require.Equal(t, fmt.Sprintf("[%d]", written), s.Rows("master", "SELECT COUNT(*) FROM p"))
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

// setMaxBatch changes how large a batch of a snap may be, and returns what undoes that. No snap may be open.
func setMaxBatch(n int) (undo func()) {
	was := batch.MaxBytes
	batch.MaxBytes = n
	return func() { batch.MaxBytes = was }
}

// A transaction by a client that bypasses ddb on SQLite, too large for one batch, is exchanged in parts. A row that is too large by
// itself is named, and what waits goes on when it is made smaller.
func TestSnapBypassTooLarge(t *testing.T) {
	t.Cleanup(setMaxBatch(64 << 10)) // runs when the snap is closed
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE big (id INTEGER PRIMARY KEY, v BLOB)")
	log := new(testcluster.Buffer)
	s.Snap("a", ddb.Options{})
	require.NoError(t, s.Nodes["a"].Close())
	o := s.Opts["a"]
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
	a, err := ddb.Open(s.Ctx, s.DBs["a"], o)
	require.NoError(t, err)
	s.Nodes["a"] = a
	bypass := func(query string) {
		_, err := s.DBs["a"].Exec(query)
		require.NoError(t, err)
	}
	bypass("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO big SELECT i, randomblob(10000) FROM n")
	s.WaitFor("[100]", "SELECT COUNT(*) FROM big")
	s.Exchange("a")
	s.Same("big")
	require.Contains(t, log.String(), "in parts")

	bypass("INSERT INTO big VALUES (101, randomblob(100000))")
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "one row of table big") }, testcluster.Patience, 5*time.Millisecond)
	_, err = a.ExecContext(s.Ctx, "INSERT INTO big VALUES (102, 'behind')")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	bypass("UPDATE big SET v = 'small' WHERE id = 101")
	s.Exec("a", "INSERT INTO big VALUES (102, 'behind')")
	s.Exchange("a")
	s.Same("big")
	require.Equal(t, `["behind"]`+"\n"+`["small"]`, s.Rows("master", "SELECT v FROM big WHERE id > 100"))
}
