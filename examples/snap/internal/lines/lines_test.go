package lines

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/examples/snap/internal/live"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer runs a session over the cluster with the answers and returns what it says.
func answer(t *testing.T, c *ddb.Cluster, w *live.Watcher, answers ...string) string {
	t.Helper()
	var out strings.Builder
	s := Session{Store: records.New(c, records.SQLite), Watcher: w, Conflicts: c, In: strings.NewReader(strings.Join(answers, "\n")), Out: &out}
	if err := s.Run(t.Context()); err != nil {
		require.ErrorIs(t, err, ErrRefused)
		require.Contains(t, out.String(), "refused: ")
	}
	return out.String()
}

func watch(t *testing.T, c *ddb.Cluster) *live.Watcher {
	w := live.New()
	w.Start(c, func(ctx context.Context) (int, error) {
		list, err := c.Conflicts(ctx)
		return len(list), err
	})
	t.Cleanup(w.Stop)
	return w
}

// SELECT ALL and a search go through pages of 20 rows, forwards, backwards, to the ends and back to the menu.
func TestPaging(t *testing.T) {
	_, db := testdb.SQLite(t)
	_, err := db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 45) SELECT i, 'v'||i FROM n")
	require.NoError(t, err)
	c, err := ddb.Open(t.Context(), db, ddb.Options{})
	require.NoError(t, err)
	defer c.Close()
	out := answer(t, c, watch(t, c), "4", "t", "n", "x", "l", "p", "f", "0", "3", "1", "2", "v4", "n", "2", "n", "6", "1")
	at := 0
	for _, want := range []string{"rows 1 to 20 of 45", "rows 21 to 40 of 45", `refused: "x" is none of these`, "rows 26 to 45 of 45", "rows 6 to 25 of 45",
		"rows 1 to 20 of 45", "1 - INSERT", "rows 1 to 7 of 7", "  v = v40", "Delete id 40 from t? (y/n): ", "nothing written"} {
		i := strings.Index(out[at:], want)
		require.GreaterOrEqual(t, i, 0, "missing %q in\n%s", want, out[at:])
		at += i
	}
	require.Equal(t, 1, strings.Count(out[at:], "Choose: "), "nothing is asked after Exit")
}

// The conflicts of a snap are listed with both rows, and retried or dismissed.
func TestConflicts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, mdb := testdb.SQLite(t)
	_, sdb := testdb.SQLite(t)
	_, err := mdb.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	require.NoError(t, err)
	network := inmem.New()
	open := func(o ddb.Options) *ddb.Cluster {
		o.Transport, o.Heartbeat = network, 50*time.Millisecond
		c, err := ddb.Open(ctx, mdb, o)
		require.NoError(t, err)
		return c
	}
	m := open(ddb.Options{Listen: "m"})
	s, err := ddb.Open(ctx, sdb, ddb.Options{ID: "s", Role: ddb.Snap, Master: "m", Transport: network, Heartbeat: 50 * time.Millisecond})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.WaitReady(ctx))
	require.NoError(t, m.Close())
	for _, q := range []string{"UPDATE t SET v = 'shop' WHERE id = 1", "UPDATE t SET v = 'shop' WHERE id = 2"} {
		_, err = s.Exec(q)
		require.NoError(t, err)
	}
	m = open(ddb.Options{})
	_, err = m.Exec("UPDATE t SET v = 'office'")
	require.NoError(t, err)
	require.NoError(t, m.Close())
	m = open(ddb.Options{Listen: "m"})
	defer m.Close()

	w := watch(t, s)
	for st, changed := w.Load(); st.Conflicts != 2; st, changed = w.Load() {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no conflicts: %+v", st)
		}
	}
	out := answer(t, s, w, "7", "1", "1", "7", "1", "2", "7")
	for _, want := range []string{"refused; the master's row stands", "1 - retry with the values of s", "2 - dismiss", "* | v", "| shop | office", "written again", "dismissed", "no conflicts wait"} {
		require.Contains(t, out, want)
	}
	require.Eventually(t, func() bool {
		var n int
		return mdb.QueryRow("SELECT count(*) FROM t WHERE v = 'shop'").Scan(&n) == nil && n == 1
	}, time.Minute, 10*time.Millisecond, "the retried values reach the master")
}
