package ddb_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// On MariaDB too each local transaction is one batch, however it came: single statements that follow each
// other on one connection, transactions, those of a pinned connection, and those of clients that bypass ddb.
func TestSnapTransactionsStayApart(t *testing.T) {
	e := mariadbEngine(t)
	s := newShop(t, e, ddb.Options{}, "CREATE TABLE item (id "+e.int+", price INT); CREATE TABLE other (id INT PRIMARY KEY, n INT)", "a")
	s.exec("master", "INSERT INTO item VALUES (1, 10), (2, 20), (3, 30)")
	s.exchange("a")
	s.cut("a")
	a := s.nodes["a"]
	batches := strings.Trim(s.rows("a", "SELECT CONCAT('`', DATABASE(), '_ddb`.batches')"), `[]"`)
	want := int64(0)
	made := func(n int64) {
		t.Helper()
		want += n
		require.Eventually(t, func() bool {
			return s.rows("a", "SELECT COUNT(*) FROM "+batches) == fmt.Sprintf("[%d]", want) && a.Nodes()[0].Pending == want
		}, testPatience, 5*time.Millisecond, "%d batches", want)
	}
	s.exec("a", "INSERT INTO item VALUES (100, 1)")
	s.exec("a", "INSERT INTO item VALUES (101, 1)")
	s.exec("a", "UPDATE item SET price = price + 1 WHERE id > 99")
	s.exec("a", "UPDATE item SET price = price + 1 WHERE id > 99")
	made(4)
	for range 2 {
		tx, err := a.BeginTx(s.ctx, nil)
		require.NoError(t, err)
		for _, q := range []string{"UPDATE item SET price = price - 5 WHERE id = 1", "INSERT INTO other SELECT COUNT(*), 1 FROM other", "UPDATE item SET price = price + 5 WHERE id = 2"} {
			_, err = tx.ExecContext(s.ctx, q)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
	made(2)
	pinned, err := a.Conn(s.ctx)
	require.NoError(t, err)
	defer pinned.Close()
	_, err = pinned.ExecContext(s.ctx, "SET @x = 7")
	require.NoError(t, err)
	for range 2 {
		tx, err := pinned.BeginTx(s.ctx, nil)
		require.NoError(t, err)
		for id := 1; id <= 2; id++ {
			_, err = tx.ExecContext(s.ctx, "UPDATE item SET price = price + @x WHERE id = ?", id)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
	_, err = pinned.ExecContext(s.ctx, "INSERT INTO item (price) VALUES (@x)")
	require.NoError(t, err)
	made(3)
	require.Equal(t, "[1]", s.rows("a", "SELECT COUNT(*) FROM item WHERE price = 7 AND id > 101 AND id % 256 > 1"), "a pinned connection hands out this node's keys")
	tx, err := s.dbs["a"].BeginTx(s.ctx, nil)
	require.NoError(t, err)
	for _, q := range []string{"UPDATE item SET price = price - 1 WHERE id = 1", "UPDATE item SET price = price + 1 WHERE id = 3"} {
		_, err = tx.ExecContext(s.ctx, q)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	made(1)
	s.heal("a")
	s.exchange("a")
	s.same("item", "other")
	require.Empty(t, s.conflicts("master"))
}

// A row or a transaction that no batch could hold is refused before it is committed, with the way out, and the
// snap goes on.
func TestSnapTooLargeForBatch(t *testing.T) {
	e := mariadbEngine(t)
	s := newShop(t, e, ddb.Options{}, "CREATE TABLE doc (id INT PRIMARY KEY, body LONGBLOB)", "a")
	s.exec("master", "INSERT INTO doc SELECT seq, REPEAT('x', 100000) FROM seq_1_to_150")
	s.exchange("a")
	before := s.rows("a", "SELECT COUNT(*), SUM(CRC32(body)) FROM doc")
	_, err := s.nodes["a"].ExecContext(s.ctx, "INSERT INTO doc VALUES (1000, REPEAT('y', 9000000))")
	require.ErrorContains(t, err, "raise max_allowed_packet; table")
	_, err = s.nodes["a"].ExecContext(s.ctx, "UPDATE doc SET body = REPEAT('y', 100000)")
	require.ErrorIs(t, err, ddb.ErrNotReplicable)
	require.ErrorContains(t, err, "split it")
	require.Equal(t, before, s.rows("a", "SELECT COUNT(*), SUM(CRC32(body)) FROM doc"))
	s.exec("a", "UPDATE doc SET body = REPEAT('y', 7000000) WHERE id = 1")
	_, err = s.dbs["a"].ExecContext(s.ctx, "UPDATE doc SET body = REPEAT('z', 100000)") // committed before ddb hears of it: it goes in parts
	require.NoError(t, err)
	s.exchange("a")
	s.same("doc")
	require.Equal(t, "[150]", s.rows("master", "SELECT COUNT(*) FROM doc WHERE body = REPEAT('z', 100000)"))
}

// Clients that bypass ddb count up while entries come in, those of their own changes among them. No step is lost.
func TestSnapBypassBetweenEntries(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE acc (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)", "a")
		const counters, each, steps = 2, 8, 800
		for i := range each * counters {
			s.exec("master", fmt.Sprintf("INSERT INTO acc VALUES (%d, 0)", i))
		}
		s.exchange("a")
		var all sync.WaitGroup
		for w := range counters { // each has rows of its own
			all.Go(func() {
				for step := 0; step < steps; {
					if _, err := s.dbs["a"].Exec("UPDATE acc SET n = n + 1 WHERE id = ?", each*w+step%each); err == nil {
						step++
					}
				}
			})
		}
		all.Wait()
		require.Eventually(t, func() bool {
			return s.rows("master", "SELECT CAST(SUM(n) AS CHAR) + 0 FROM acc") == fmt.Sprintf("[%d]", counters*steps)
		}, testPatience, testStep)
		s.exchange("a")
		s.same("acc")
		require.Empty(t, s.conflicts("a"))
		require.Equal(t, strings.Repeat(fmt.Sprintf("[%d]\n", steps/each), each*counters), s.rows("a", "SELECT n FROM acc")+"\n")
	})
}
