package conflicts_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// On MariaDB too each local transaction is one batch, however it came: single statements that follow each
// other on one connection, transactions, those of a pinned connection, and those of clients that bypass ddb.
func TestSnapTransactionsStayApart(t *testing.T) {
	e := testcluster.MariaDB
	s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE item (id "+e.AutoKey()+", price INT); CREATE TABLE other (id INT PRIMARY KEY, n INT)", "a")
	s.Exec("master", "INSERT INTO item VALUES (1, 10), (2, 20), (3, 30)")
	s.Exchange("a")
	s.Cut("a")
	a := s.Nodes["a"]
	batches := strings.Trim(s.Rows("a", "SELECT CONCAT('`', DATABASE(), '_ddb`.batches')"), `[]"`)
	want := int64(0)
	made := func(n int64) {
		t.Helper()
		want += n
		require.Eventually(t, func() bool {
			return s.Rows("a", "SELECT COUNT(*) FROM "+batches) == fmt.Sprintf("[%d]", want) && a.Nodes()[0].Pending == want
		}, testcluster.Patience, 5*time.Millisecond, "%d batches", want)
	}
	s.Exec("a", "INSERT INTO item VALUES (100, 1)")
	s.Exec("a", "INSERT INTO item VALUES (101, 1)")
	s.Exec("a", "UPDATE item SET price = price + 1 WHERE id > 99")
	s.Exec("a", "UPDATE item SET price = price + 1 WHERE id > 99")
	made(4)
	for range 2 {
		tx, err := a.BeginTx(s.Ctx, nil)
		require.NoError(t, err)
		for _, q := range []string{"UPDATE item SET price = price - 5 WHERE id = 1", "INSERT INTO other SELECT COUNT(*), 1 FROM other", "UPDATE item SET price = price + 5 WHERE id = 2"} {
			_, err = tx.ExecContext(s.Ctx, q)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
	made(2)
	pinned, err := a.Conn(s.Ctx)
	require.NoError(t, err)
	defer pinned.Close()
	_, err = pinned.ExecContext(s.Ctx, "SET @x = 7")
	require.NoError(t, err)
	for range 2 {
		tx, err := pinned.BeginTx(s.Ctx, nil)
		require.NoError(t, err)
		for id := 1; id <= 2; id++ {
			_, err = tx.ExecContext(s.Ctx, "UPDATE item SET price = price + @x WHERE id = ?", id)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
	_, err = pinned.ExecContext(s.Ctx, "INSERT INTO item (price) VALUES (@x)")
	require.NoError(t, err)
	made(3)
	require.Equal(t, "[1]", s.Rows("a", "SELECT COUNT(*) FROM item WHERE price = 7 AND id > 101 AND id % 256 > 1"), "a pinned connection hands out this node's keys")
	tx, err := s.DBs["a"].BeginTx(s.Ctx, nil)
	require.NoError(t, err)
	for _, q := range []string{"UPDATE item SET price = price - 1 WHERE id = 1", "UPDATE item SET price = price + 1 WHERE id = 3"} {
		_, err = tx.ExecContext(s.Ctx, q)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	made(1)
	s.Heal("a")
	s.Exchange("a")
	s.Same("item", "other")
	require.Empty(t, s.Conflicts("master"))
}

// A row or a transaction that no batch could hold is refused before it is committed, with the way out, and the
// snap goes on.
func TestSnapTooLargeForBatch(t *testing.T) {
	e := testcluster.MariaDB
	s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE doc (id INT PRIMARY KEY, body LONGBLOB)", "a")
	s.Exec("master", "INSERT INTO doc SELECT seq, REPEAT('x', 100000) FROM seq_1_to_150")
	s.Exchange("a")
	before := s.Rows("a", "SELECT COUNT(*), SUM(CRC32(body)) FROM doc")
	_, err := s.Nodes["a"].ExecContext(s.Ctx, "INSERT INTO doc VALUES (1000, REPEAT('y', 9000000))")
	require.ErrorContains(t, err, "raise max_allowed_packet; table")
	_, err = s.Nodes["a"].ExecContext(s.Ctx, "UPDATE doc SET body = REPEAT('y', 100000)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.ErrorContains(t, err, "split it")
	require.Equal(t, before, s.Rows("a", "SELECT COUNT(*), SUM(CRC32(body)) FROM doc"))
	s.Exec("a", "UPDATE doc SET body = REPEAT('y', 7000000) WHERE id = 1")
	_, err = s.DBs["a"].ExecContext(s.Ctx, "UPDATE doc SET body = REPEAT('z', 100000)") // committed before ddb hears of it: it goes in parts
	require.NoError(t, err)
	s.Exchange("a")
	s.Same("doc")
	require.Equal(t, "[150]", s.Rows("master", "SELECT COUNT(*) FROM doc WHERE body = REPEAT('z', 100000)"))
}

// Clients that bypass ddb count up while entries come in, those of their own changes among them. No step is lost.
func TestSnapBypassBetweenEntries(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE acc (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)", "a")
		const counters, each, steps = 2, 8, 800
		for i := range each * counters {
			s.Exec("master", fmt.Sprintf("INSERT INTO acc VALUES (%d, 0)", i))
		}
		s.Exchange("a")
		var all sync.WaitGroup
		for w := range counters { // each has rows of its own
			all.Go(func() {
				for step := 0; step < steps; {
					if _, err := s.DBs["a"].Exec("UPDATE acc SET n = n + 1 WHERE id = ?", each*w+step%each); err == nil {
						step++
					}
				}
			})
		}
		all.Wait()
		require.Eventually(t, func() bool {
			return s.Rows("master", "SELECT CAST(SUM(n) AS CHAR) + 0 FROM acc") == fmt.Sprintf("[%d]", counters*steps)
		}, testcluster.Patience, 5*time.Millisecond)
		s.Exchange("a")
		s.Same("acc")
		require.Empty(t, s.Conflicts("a"))
		require.Equal(t, strings.Repeat(fmt.Sprintf("[%d]\n", steps/each), each*counters), s.Rows("a", "SELECT n FROM acc")+"\n")
	})
}
