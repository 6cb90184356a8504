package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// numbers is a table of so many numbers for SQLite.
func numbers(n int) string {
	return fmt.Sprintf("(WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r LIMIT %d) SELECT i FROM r)", n)
}

// hungry are statements of a reader that ask for much memory, and what they are answered with: 200 is for an answer that
// is cut off.
var hungry = map[string][]struct {
	sql    string
	status int
}{
	"sqlite": {
		{"SELECT hex(zeroblob(400000000))", 413},
		{"SELECT zeroblob(900000000)", 413},
		{"SELECT length(hex(zeroblob(400000000)))", 413},
		{"SELECT printf('%.*c', 900000000, 'x')", 413},
		{"SELECT replace(hex(zeroblob(4000000)), '0', hex(zeroblob(1000)))", 413},
		{"SELECT group_concat(hex(zeroblob(500000))) FROM " + numbers(3000), 413},
		{"SELECT json_group_array(hex(zeroblob(50000))) FROM " + numbers(30000), 413},
		{"SELECT length(json_group_object(i, hex(zeroblob(50000)))) FROM " + numbers(30000), 413},
		{"SELECT " + strings.TrimSuffix(strings.Repeat("hex(zeroblob(4000000)),", 500), ","), 413},
		{"SELECT length(hex(zeroblob(4000000)))" + many(300, func(i int) string { return fmt.Sprintf("+length(hex(zeroblob(%d)))", 4000000+i) }), 413},
		{"WITH RECURSIVE r(i, x) AS (SELECT 1, 'x' UNION ALL SELECT i+1, x||x FROM r) SELECT i FROM r WHERE i > 60", 413},
		{"SELECT hex(zeroblob(500000)) FROM " + numbers(3000), 200},
		{"SELECT b FROM big", 200},
		{"SELECT b, b, b, b, b, b, b, b, b, b, b, b FROM big", 413},
		{"SELECT group_concat(hex(b)) FROM big", 413},
		{"SELECT * FROM big a, big b", 200},
		{"SELECT * FROM big a, big b, big c, big d, big e, big f, big g, big h, big i", 413},
	},
	"mariadb": {
		{"SELECT repeat('x', 16000000)", 200},
		{"SELECT repeat('x', 16000000), repeat('x', 16000000)", 413},
		{"SELECT " + strings.TrimSuffix(strings.Repeat("repeat('x', 16000000),", 12), ","), 413},
		{"SELECT repeat('x', 1000000) FROM big a, big b, big c, big d", 200},
		{"SELECT group_concat(repeat('x', 900000)) FROM big", 200},
		{"SELECT b, b, b, b, b, b, b, b, b, b, b, b FROM big", 413},
		{"SELECT * FROM big a, big b, big c, big d, big e, big f, big g, big h, big i", 413},
	},
}

func many(n int, f func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(f(i))
	}
	return b.String()
}

// A reader's statements, however they are made, leave the process's memory alone, one at a time and eight at once.
func TestHungryStatements(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("this system does not tell what a process holds")
	}
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{Token: "the admin's token", Tokens: map[string]console.Access{"reader": console.Read}})
		kind := map[string]string{"sqlite": "BLOB", "mariadb": "LONGBLOB"}[e.name]
		h.exec("CREATE TABLE big (id INTEGER PRIMARY KEY, b " + kind + ")")
		for i := range 30 {
			h.exec("INSERT INTO big VALUES (?, ?)", i, bytes.Repeat([]byte{byte(i)}, 2<<20))
		}
		h.token = "reader"
		for _, callers := range []int{1, 8} {
			for _, c := range hungry[e.name] {
				t.Run(fmt.Sprint(callers, " ", c.sql[:min(60, len(c.sql))]), func(t *testing.T) {
					most := peak(t, func() {
						var all sync.WaitGroup
						for range callers {
							all.Go(func() { h.eat(t, c.sql, c.status, callers > 1) })
						}
						all.Wait()
					})
					t.Logf("%d callers: %d MiB at most", callers, most>>20)
					// The race detector holds a multiple of what it sees.
					require.Less(t, most>>20, map[int]int64{1: 768, 8: 1280}[callers], "MiB at most")
				})
			}
		}
		h.sql(200, map[string]any{"sql": "SELECT count(*) FROM big"})
	})
}

// eat sends a statement and reads the answer without keeping it.
func (h *house) eat(t *testing.T, query string, want int, crowded bool) {
	body, err := json.Marshal(map[string]string{"sql": query})
	if err != nil {
		t.Error(err)
		return
	}
	r, err := http.NewRequestWithContext(testContext(t), "POST", h.server.URL+"/api/sql", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	res, err := h.server.Client().Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	start, _ := io.ReadAll(io.LimitReader(res.Body, 200))
	n, err := io.Copy(io.Discard, res.Body)
	switch {
	case crowded && (res.StatusCode == 503 || res.StatusCode == 413): // too many at once, or ended for what another did
	case crowded && errors.Is(err, io.ErrUnexpectedEOF): // the same, when a part was sent
	case res.StatusCode != want || err != nil:
		t.Errorf("%s: status %d after %d bytes: %v: %s", query[:min(60, len(query))], res.StatusCode, n, err, start)
	case n > 64<<20:
		t.Errorf("%s: %d bytes", query[:min(60, len(query))], n)
	}
}

// peak returns the most that the process held beyond what it held before.
func peak(t *testing.T, f func()) int64 {
	debug.FreeOSMemory()
	before := held(t)
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		most := before
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, held(t))
			case <-stop:
				done <- most
				return
			}
		}
	}()
	f()
	close(stop)
	return <-done - before
}

func held(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Error(err)
		return 0
	}
	fields := strings.Fields(string(text))
	resident, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return resident * int64(os.Getpagesize())
}

// A large answer comes whole, or cut off where the limit says, through a replica too.
func TestLargeAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{MaxBytes: 4 << 20})
		h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, s LONGTEXT)")
		for i := range 30 {
			h.exec("INSERT INTO t VALUES (?, ?)", i, strings.Repeat("x", 100<<10))
		}
		a := h.sql(200, map[string]any{"sql": "SELECT id, s FROM t ORDER BY id"})
		require.Len(t, a.Rows, 30)
		require.False(t, a.Truncated)
		require.Len(t, a.Columns, 2)
		a = h.sql(200, map[string]any{"sql": "SELECT 1; SELECT id, s FROM t ORDER BY id"})
		require.Len(t, a.Rows, 30)
		require.Len(t, a.Results, 2)
		require.Len(t, a.Results[1].Rows, 30)
		a = h.sql(200, map[string]any{"sql": "SELECT a.id, b.s FROM t a, t b ORDER BY a.id, b.id"})
		require.True(t, a.Truncated)
		require.InDelta(t, 41, len(a.Rows), 1)
		a = h.sql(200, map[string]any{"sql": "SELECT a.s FROM t a, t b; SELECT id FROM t"})
		require.True(t, a.Results[0].Truncated)
		require.Empty(t, a.Rows, "nothing is left for it")
		h.exec("INSERT INTO t VALUES (99, ?)", strings.Repeat("y", 5<<20))
		a = h.sql(413, map[string]any{"sql": "SELECT * FROM t WHERE id = 99"})
		require.Contains(t, a.Error, "ask for")
		require.Len(t, h.sql(200, map[string]any{"sql": "SELECT substr(s, 1, 100) FROM t WHERE id < 99"}).Rows, 30)

		h.follow(ddb.Replica, "r1", nil)
		require.NoError(t, h.master.WaitLevel(testContext(t)))
		require.Len(t, h.sql(200, map[string]any{"sql": "SELECT s FROM t WHERE id < 30", "node": "r1"}).Rows, 30)
		a = h.sql(413, map[string]any{"sql": "SELECT * FROM t WHERE id = 99", "node": "r1"})
		require.Contains(t, a.Error, "ask for")
		code, _, body := h.call("GET", "/api/rows?table=t&order=id&limit=30", nil)
		require.Equal(t, 200, code)
		require.True(t, bytes.Contains(bytes.ToUpper(body), []byte(`"TYPE":"LONGTEXT"`)), "%s", body[max(0, len(body)-300):])
	})
}

// An answer that breaks off on its way cuts the connection, so that nobody takes it for whole.
func TestBrokenAnswer(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
	h.exec("INSERT INTO t SELECT i, hex(zeroblob(10000)) FROM " + numbers(400))
	body, err := json.Marshal(map[string]string{"sql": "SELECT id, s FROM t UNION ALL SELECT 0, abs(-9223372036854775808)"})
	require.NoError(t, err)
	res, err := h.server.Client().Post(h.server.URL+"/api/sql", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 200, res.StatusCode)
	n, err := io.Copy(io.Discard, res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Greater(t, n, int64(1<<20))
	a := h.sql(400, map[string]any{"sql": "SELECT 1 UNION ALL SELECT abs(-9223372036854775808)"})
	require.Contains(t, a.Error, "overflow")
}
