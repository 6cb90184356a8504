package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// history is what CollectTransactions has told, put together.
type history struct {
	t    *testing.T
	rows map[string]map[string]string // by table and folded key
	n    int                          // transactions
}

// asText shows a row; a missing one is "".
func asText(values []any) string {
	if values == nil {
		return ""
	}
	return codec.Describe(values)
}

// take adds what notes tell, and checks that each transaction began where those before it had ended.
func (h *history) take(n *node, most int) (more bool) {
	h.t.Helper()
	type change struct{ table, key, base, now string }
	var list [][]change
	n.in(dialect.Pass, func(c *sql.Conn) {
		var tables []*dialect.Table
		for name := range h.rows {
			tables = append(tables, n.table(name))
		}
		notes, left, err := n.eng.CollectTransactions(h.t.Context(), c, tables, most, func(tx int, t *dialect.Table, r dialect.Row) error {
			for len(list) <= tx {
				list = append(list, nil)
			}
			list[tx] = append(list[tx], change{t.Name, strings.ToLower(codec.Describe(r.Key)), asText(r.Base), asText(r.Values)})
			return nil
		})
		n.ok(err)
		more = left
		for _, x := range notes {
			n.ok(n.eng.Clear(h.t.Context(), c, x))
		}
	})
	for _, tx := range list {
		for _, x := range tx {
			if was := h.rows[x.table][x.key]; was != x.base {
				h.t.Fatalf("transaction %d: %s %s was %s, but its notes say %s", h.n, x.table, x.key, was, x.base)
			}
			if h.rows[x.table][x.key] = x.now; x.now == "" {
				delete(h.rows[x.table], x.key)
			}
		}
		h.n++
		h.consistent()
	}
	return more
}

// consistent checks what constraints say of every state between two transactions.
func (h *history) consistent() {
	h.t.Helper()
	used := map[string]bool{}
	for _, row := range h.rows["t"] {
		if u := strings.Split(strings.Trim(row, "()"), ", ")[2]; u != "<nil>" && used[u] {
			h.t.Fatalf("after transaction %d two rows hold u = %s: %v", h.n, u, h.rows["t"])
		} else {
			used[u] = true
		}
	}
	for _, row := range h.rows["c"] {
		if k := strings.ToLower(strings.Split(strings.Trim(row, "()"), ", ")[1]); h.rows["t"]["("+k+")"] == "" {
			h.t.Fatalf("after transaction %d row %s has no parent: %v", h.n, row, h.rows["t"])
		}
	}
}

// Notes tell the transactions of concurrent writers apart, in an order in which they could have run one after
// another: rows by keys that differ in letter case, unique values that move, cascades, savepoints and
// rollbacks, by ddb and by clients that bypass it, however many notes are read at a time.
func TestTransactions(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE t (k VARCHAR(10) COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, v INT, u INT UNIQUE, w LONGTEXT)",
		"CREATE TABLE c (id INT NOT NULL PRIMARY KEY, k VARCHAR(10) COLLATE utf8mb4_general_ci NOT NULL, FOREIGN KEY (k) REFERENCES t (k) ON DELETE CASCADE ON UPDATE CASCADE)")
	n.install(dialect.Images)
	var writers sync.WaitGroup
	for w := range 5 {
		rnd := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() { writeAtRandom(t.Context(), n, rnd, w) })
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	rnd := rand.New(rand.NewPCG(seed, 100))
	h := &history{t: t, rows: map[string]map[string]string{"t": {}, "c": {}}}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		h.take(n, 1+rnd.IntN(60))
	}
	for h.take(n, 20) {
	}
	for name, rows := range h.rows {
		have, err := lang.Texts(t.Context(), n.db, "SELECT COUNT(*) FROM "+name)
		n.ok(err)
		if have[0][0].String != fmt.Sprint(len(rows)) {
			t.Errorf("table %s has %s rows, the notes tell of %d", name, have[0][0].String, len(rows))
		}
	}
	if h.n < 300 {
		t.Errorf("only %d transactions were told apart", h.n)
	}
}

// writeAtRandom makes transactions on a connection of its own. Writers 0 and 1 are no ddb.
func writeAtRandom(ctx context.Context, n *node, rnd *rand.Rand, w int) {
	c, err := n.db.Conn(ctx)
	if err != nil {
		n.Error(err)
		return
	}
	defer c.Close()
	key := func() string {
		k := string(rune('a' + rnd.IntN(6)))
		if rnd.IntN(3) == 0 {
			k = strings.ToUpper(k)
		}
		return k
	}
	statement := func() string {
		switch rnd.IntN(9) {
		case 0, 1, 2:
			return fmt.Sprintf("INSERT INTO t VALUES ('%s', %d, %d, REPEAT('x', %d))", key(), rnd.IntN(10), rnd.IntN(6), rnd.IntN(9))
		case 3:
			return fmt.Sprintf("UPDATE t SET v = v + 1 WHERE k <= '%s'", key())
		case 4:
			return fmt.Sprintf("UPDATE t SET u = %d WHERE k = '%s'", rnd.IntN(6), key())
		case 5:
			return fmt.Sprintf("UPDATE t SET k = '%s' WHERE k = '%s'", key(), key())
		case 6:
			return fmt.Sprintf("DELETE FROM t WHERE k = '%s'", key())
		case 7:
			return fmt.Sprintf("REPLACE INTO c VALUES (%d, '%s')", rnd.IntN(12), key())
		}
		return fmt.Sprintf("INSERT INTO c SELECT %d, k FROM t ON DUPLICATE KEY UPDATE id = c.id + 20", rnd.IntN(12))
	}
	run := func(q string) { c.ExecContext(ctx, q) } // errors are part of it: constraints, deadlocks
	for range 200 {
		if rnd.IntN(2) == 0 {
			run(statement())
			continue
		}
		if w > 1 {
			run(n.eng.Mark(true))
		}
		run("START TRANSACTION")
		for range 1 + rnd.IntN(4) {
			run("SAVEPOINT s")
			run(statement())
			if rnd.IntN(4) == 0 {
				run("ROLLBACK TO s")
			}
		}
		run([]string{"COMMIT", "COMMIT", "ROLLBACK"}[rnd.IntN(3)])
	}
}
