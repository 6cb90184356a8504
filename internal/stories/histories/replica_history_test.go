package histories_test

import (
	"crypto/sha256"
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// attempt is a test of one random history: it fails and cleans up through rapid.
type attempt struct {
	testing.TB
	rt *rapid.T
}

func (a attempt) Helper()                   { a.rt.Helper() }
func (a attempt) Errorf(s string, v ...any) { a.rt.Errorf(s, v...) }
func (a attempt) Error(v ...any)            { a.rt.Error(v...) }
func (a attempt) Fatalf(s string, v ...any) { a.rt.Fatalf(s, v...) }
func (a attempt) Fatal(v ...any)            { a.rt.Fatal(v...) }
func (a attempt) FailNow()                  { a.rt.FailNow() }
func (a attempt) Fail()                     { a.rt.Fail() }
func (a attempt) Failed() bool              { return a.rt.Failed() }
func (a attempt) Logf(s string, v ...any)   { a.rt.Logf(s, v...) }
func (a attempt) Log(v ...any)              { a.rt.Log(v...) }
func (a attempt) Cleanup(f func())          { a.rt.Cleanup(f) }
func (a attempt) TempDir() string {
	dir, err := os.MkdirTemp("", "ddb-property")
	require.NoError(a, err)
	a.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// history drives a fixture at random and knows every state that its master has had.
type history struct {
	*testcluster.Fixture
	rt     *rapid.T
	states map[[32]byte]int
	last   string
	extra  int             // columns and tables added so far
	ready  map[string]bool // replicas that have been readable once
}

// state returns all that a program can see in a node's database at one moment.
func (h *history) state(n *testcluster.Node) (string, [32]byte) {
	h.Helper()
	tx, err := n.Raw.BeginTx(h.Ctx, &sql.TxOptions{Isolation: h.isolation()})
	require.NoError(h, err)
	defer tx.Rollback()
	var b strings.Builder
	if h.Engine == "sqlite" {
		h.DumpSQLite(&b, tx)
	} else {
		for _, q := range []string{"SELECT * FROM account ORDER BY id", "SELECT * FROM seat ORDER BY id", "SELECT * FROM parent ORDER BY id", "SELECT * FROM child ORDER BY id"} {
			fmt.Fprintln(&b, h.Strings(tx, q))
		}
	}
	return b.String(), sha256.Sum256([]byte(b.String()))
}

func (h *history) isolation() sql.IsolationLevel {
	if h.Engine == "sqlite" {
		return sql.LevelDefault
	}
	return sql.LevelRepeatableRead
}

// note records the master's state after a commit.
func (h *history) note() {
	h.Helper()
	text, sum := h.state(h.Master)
	h.states[sum], h.last = len(h.states), text
}

// check verifies that what each replica shows is a state that the master had (promise 2).
func (h *history) check() {
	h.Helper()
	for _, r := range h.Replicas {
		if r.Cluster != nil && !h.ready[r.ID] {
			h.ready[r.ID] = r.Nodes()[0].State == ddb.Active
		}
		if h.ready[r.ID] {
			text, sum := h.state(r)
			if _, had := h.states[sum]; !had {
				h.Fatalf("replica %s shows what the master never was:\n%s\nthe master now:\n%s", r.ID, text, h.last)
			}
		}
	}
}

const accounts, seats = 4, 5

func (h *history) setUp() {
	h.Helper()
	h.OpenMaster()
	h.Do("CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL)",
		"CREATE TABLE seat (id INT PRIMARY KEY, who INT UNIQUE)",
		"CREATE TABLE parent (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE)",
		"CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)")
	h.note()
	for i := range accounts {
		h.Do(fmt.Sprintf("INSERT INTO account VALUES (%d, 100)", i))
		h.note()
	}
	for i := range seats {
		h.Do(fmt.Sprintf("INSERT INTO seat VALUES (%d, %d)", i, i+10))
		h.note()
	}
	for _, r := range h.Replicas {
		require.NoError(h, h.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
	}
}

func (h *history) num(n int, what string) int { return rapid.IntRange(0, n-1).Draw(h.rt, what) }

// statements draws what one transaction does.
func (h *history) statements() []string {
	var list []string
	for range h.num(4, "statements") + 1 {
		a, b := h.num(seats, "a"), h.num(seats, "b")
		switch h.num(8, "statement") {
		case 0:
			amount := h.num(50, "amount")
			list = append(list, fmt.Sprintf("UPDATE account SET balance = balance - %d WHERE id = %d", amount, a%accounts),
				fmt.Sprintf("UPDATE account SET balance = balance + %d WHERE id = %d", amount, b%accounts))
		case 1: // two rows swap a unique value
			list = append(list, fmt.Sprintf("UPDATE seat SET who = -who WHERE id IN (%d, %d)", a, b),
				fmt.Sprintf("UPDATE seat SET who = CASE id WHEN %d THEN %d ELSE %d END WHERE id IN (%d, %d) AND %d <> %d", a, 100+b, 100+a, a, b, a, b))
		case 2:
			list = append(list, fmt.Sprintf("REPLACE INTO seat VALUES (%d, %d)", a, 100+b))
		case 3:
			list = append(list, fmt.Sprintf("DELETE FROM seat WHERE id = %d", a))
		case 4:
			list = append(list, fmt.Sprintf("REPLACE INTO parent VALUES (%d, 'p%d')", a, b))
		case 5:
			list = append(list, fmt.Sprintf("REPLACE INTO child SELECT %d, id FROM parent WHERE id = %d", 10*a+b, a))
		case 6:
			list = append(list, fmt.Sprintf("DELETE FROM parent WHERE id = %d", a))
		case 7:
			list = append(list, fmt.Sprintf("UPDATE parent SET id = id + 100 WHERE id = %d", a))
		}
	}
	return list
}

// write runs a transaction through ddb that commits or rolls back; its statements may fail.
func (h *history) write(rt *rapid.T) {
	h.rt = rt
	through := h.nodeFor("through")
	tx, err := through.BeginTx(h.Ctx, nil)
	if err != nil {
		require.NotSame(h, h.Master, through, "%v", err) // a replica may have lost the master
		return
	}
	for _, s := range h.statements() {
		if _, err := tx.ExecContext(h.Ctx, s); err != nil && through != h.Master {
			tx.Rollback()
			h.note()
			return
		}
	}
	if rapid.Bool().Draw(rt, "roll back") {
		tx.Rollback()
	} else if err := tx.Commit(); err != nil {
		require.NotSame(h, h.Master, through, "%v", err)
	}
	h.note()
	h.check()
}

// nodeFor draws a node that is open: mostly the master.
func (h *history) nodeFor(what string) *testcluster.Node {
	if i := h.num(8, what); i < len(h.Replicas) && h.Replicas[i].Cluster != nil {
		return h.Replicas[i]
	}
	return h.Master
}

// autocommit runs single statements.
func (h *history) autocommit(rt *rapid.T) {
	h.rt = rt
	for _, s := range h.statements() {
		if strings.Contains(s, "account") {
			continue
		}
		h.Master.ExecContext(h.Ctx, s)
		h.note()
	}
	h.check()
}

// bypassing writes without ddb.
func (h *history) bypassing(rt *rapid.T) {
	h.rt = rt
	tx, err := h.Master.Raw.BeginTx(h.Ctx, nil)
	require.NoError(h, err)
	for _, s := range h.statements() {
		tx.ExecContext(h.Ctx, s)
	}
	require.NoError(h, tx.Commit())
	h.note()
	h.check()
}

// alter changes the schema.
func (h *history) alter(rt *rapid.T) {
	h.rt = rt
	h.extra++
	switch h.num(4, "schema statement") {
	case 0:
		h.Do(fmt.Sprintf("ALTER TABLE account ADD COLUMN c%d INT DEFAULT %d", h.extra, h.extra))
	case 1:
		h.Do(fmt.Sprintf("CREATE TABLE more%d (id INT PRIMARY KEY, v INT)", h.extra))
		h.note()
		h.Do(fmt.Sprintf("INSERT INTO more%d VALUES (1, 1), (2, 2)", h.extra))
	case 2:
		h.Do(fmt.Sprintf("CREATE INDEX i%d ON seat (who, id)", h.extra))
	case 3:
		if h.Engine == "mariadb" {
			return // noticed only after a while, and the table is made anew in sight of clients that bypass ddb
		}
		h.Bypass(fmt.Sprintf("ALTER TABLE parent ADD COLUMN c%d INT DEFAULT %d", h.extra, h.extra))
	}
	h.note()
	h.check()
}

func (h *history) replica(rt *rapid.T) *testcluster.Node {
	h.rt = rt
	return h.Replicas[h.num(len(h.Replicas), "replica")]
}

// restartReplica closes a replica, in the middle of whatever it does, and opens it again.
func (h *history) restartReplica(rt *rapid.T) {
	r := h.replica(rt)
	r.Fault.Cut("master")
	r.Stop()
	h.check()
	r.Fault.Heal("master")
	require.NoError(h, h.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
}

// restartMaster closes the master and opens it again.
func (h *history) restartMaster(*rapid.T) {
	h.Master.Stop()
	h.OpenMaster()
	h.note()
}

// crashReplica leaves a replica as a crash does, in the middle of whatever it does, and goes on with what is there.
func (h *history) crashReplica(rt *rapid.T) {
	r := h.replica(rt)
	if h.Engine == "mariadb" {
		return // see internal/crashtest
	}
	if rapid.Bool().Draw(rt, "amid a write") {
		for _, s := range h.statements() {
			h.Master.ExecContext(h.Ctx, s)
			h.note()
		}
	}
	r.Fault.CutAll()
	raw := crashImage(h, r.Raw)
	r.Stop()
	r.Raw = raw
	h.check()
	r.Fault.HealAll()
	require.NoError(h, h.Open(r, func(o *ddb.Options) { o.Role, o.Master = ddb.Replica, "master" }))
	h.check()
}

// crashMaster leaves the master as a crash does, in the middle of a load, and goes on with what is there: no
// transaction that was acknowledged before is missing. No replica hears of what comes after.
func (h *history) crashMaster(rt *rapid.T) {
	h.rt = rt
	if h.Engine == "mariadb" {
		return // see internal/crashtest
	}
	load := make([][]string, h.num(5, "transactions")+1)
	for i := range load {
		load[i] = h.statements()
	}
	after := h.num(len(load), "crash after")
	_, now := h.state(h.Master)
	before, acked := maps.Clone(h.states), [][32]byte{now}
	var mu sync.Mutex // guards acked
	reached, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i, statements := range load {
			if i == after {
				close(reached)
			}
			h.doomed(statements)
			h.note()
			_, sum := h.state(h.Master)
			mu.Lock()
			acked = append(acked, sum)
			mu.Unlock()
		}
	}()
	<-reached
	h.Master.Fault.CutAll()
	mu.Lock()
	lost := len(acked) - 1
	mu.Unlock()
	raw := crashImage(h, h.Master.Raw)
	<-done
	h.Master.Stop()
	h.Master.Raw = raw
	text, sum := h.state(h.Master)
	at := len(acked) - 1
	for ; at >= lost && acked[at] != sum; at-- {
	}
	require.GreaterOrEqual(h, at, lost, "the master has lost what it had acknowledged; it shows\n%s", text)
	for _, never := range acked[at+1:] { // has been nowhere else
		if _, was := before[never]; !was {
			delete(h.states, never)
		}
	}
	h.Master.Fault.HealAll()
	h.OpenMaster()
	h.note()
	h.check()
}

// doomed runs a transaction on a master that is about to crash.
func (h *history) doomed(statements []string) {
	h.Helper()
	tx, err := h.Master.BeginTx(h.Ctx, nil)
	require.NoError(h, err)
	for _, s := range statements {
		tx.ExecContext(h.Ctx, s)
	}
	require.NoError(h, tx.Commit())
}

// links makes links fail and work again.
func (h *history) links(rt *rapid.T) {
	r := h.replica(rt)
	switch h.num(5, "link") {
	case 0:
		r.Fault.Cut("master")
	case 1:
		r.Fault.Hang("master")
	case 2:
		r.Fault.SetLatency(time.Duration(h.num(400, "latency")) * time.Millisecond)
	case 3:
		r.Fault.SetBandwidth(int64(h.num(100_000, "bandwidth") + 500))
	case 4:
		healLink(r)
	}
}

func healLink(n *testcluster.Node) {
	n.Fault.HealAll()
	n.Fault.Heal("master")
	n.Fault.SetLatency(0)
	n.Fault.SetBandwidth(0)
}

// wait lets time pass.
func (h *history) wait(rt *rapid.T) {
	h.rt = rt
	for range h.num(5, "pauses") {
		time.Sleep(time.Duration(h.num(300, "milliseconds")) * time.Millisecond)
		h.check()
	}
}

// finish heals everything, after which all nodes must become equal.
func (h *history) finish() {
	h.Helper()
	for _, r := range h.Replicas {
		healLink(r)
		require.NoError(h, r.WaitReady(h.Ctx))
	}
	h.Level()
	h.check()
	require.Equal(h, fmt.Sprint(100*accounts), h.One(h.Master, "SELECT SUM(balance) FROM account"))
	for _, r := range h.Replicas {
		r.Stop()
	}
	h.Master.Stop()
}

func randomHistory(t *testing.T, rt *rapid.T, engine testcluster.Engine, replicas int) {
	h := &history{Fixture: testcluster.NewFixture(attempt{t, rt}, engine, replicas), rt: rt, states: make(map[[32]byte]int), ready: make(map[string]bool)}
	h.setUp()
	rt.Repeat(map[string]func(*rapid.T){
		"write": h.write, "write again": h.write, "autocommit": h.autocommit, "bypass": h.bypassing, "alter": h.alter,
		"restart a replica": h.restartReplica, "restart the master": h.restartMaster,
		"crash a replica": h.crashReplica, "crash the master": h.crashMaster, "links": h.links, "wait": h.wait, "wait again": h.wait,
	})
	h.finish()
}

// Whatever happens to links and nodes, in virtual time: each replica always shows a state that the
// master had, and in the end all are equal.
func TestRandomHistoriesSQLite(t *testing.T) {
	checks(t, 20)
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(rt *rapid.T) { randomHistory(t, rt, "sqlite", 3) })
	})
}

// checks makes rapid try n histories, unless the command line says how many.
func checks(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() == f.DefValue {
		require.NoError(t, f.Value.Set(fmt.Sprint(n)))
		t.Cleanup(func() { f.Value.Set(f.DefValue) })
	}
}

// bubbled hides Deadline, which a bubble has none of.
type bubbled struct{ testing.TB }

// The same against a real MariaDB in real time, smaller.
func TestRandomHistoriesMariaDB(t *testing.T) {
	checks(t, 5) // -short makes a fifth of it
	rapid.Check(t, func(rt *rapid.T) { randomHistory(t, rt, "mariadb", 2) })
}
