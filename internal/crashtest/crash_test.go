package crashtest

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/testdb"
)

const (
	rounds      = 50
	shortRounds = 8
	checkEvery  = 10                     // rounds
	maxLoad     = 500 * time.Millisecond // before a kill
	balance     = 100                    // of each account at the start
	accounts    = 10
	readyLimit  = 60 * time.Second
)

func TestMain(m *testing.M) { testdb.Main(m) }

// Whatever process is killed at whatever moment: on SQLite no acknowledged write is missing
// and all nodes end equal.
func TestCrashSQLite(t *testing.T) {
	dir := t.TempDir()
	var nodes []*member
	for _, id := range []string{"master", "r1", "r2"} {
		path := filepath.Join(dir, id+".db")
		nodes = append(nodes, &member{id: id, driver: "sqlite", dsn: testdb.SQLiteDSN(path), db: testdb.OpenSQLite(t, path), dump: dumpSQLite})
	}
	run(t, nodes)
}

// So it is on MariaDB, whose servers are killed too now and then.
func TestCrashMariaDB(t *testing.T) {
	var nodes []*member
	for _, id := range []string{"master", "r1", "r2"} {
		server := testdb.MariaDB(t)
		server.CreateDatabase(t, "crash")
		nodes = append(nodes, &member{id: id, driver: "mysql", dsn: server.DSN("crash"), db: server.Open(t, "crash"), dump: dumpMariaDB, server: server})
	}
	run(t, nodes)
}

// member is a node: its database, and its process while that lives.
type member struct {
	id     string
	driver string
	dsn    string
	db     *sql.DB // the test's own view of the database
	dump   func(t *testing.T, db *sql.DB) []string
	server *testdb.Server // nil unless it is to be killed too
	snap   bool
	child  *child
}

// rig is a cluster under test.
type rig struct {
	t      *testing.T
	binary string
	listen string
	random *rand.Rand
	ledger *ledger
	nodes  []*member // the master first
	runs   int       // processes started so far

	writing bool // somebody may be
}

// snaps reports whether there are any.
func (r *rig) snaps() bool {
	return slices.ContainsFunc(r.nodes, func(m *member) bool { return m.snap })
}

func run(t *testing.T, nodes []*member) {
	n := rounds
	if testing.Short() {
		n = shortRounds
	}
	runRounds(t, nodes, n)
}

func runRounds(t *testing.T, nodes []*member, n int) {
	r := &rig{t: t, binary: buildChild(t), listen: freeAddress(t), ledger: newLedger(), nodes: nodes}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("DDB_SEED"), 10, 64); err == nil {
		seed = s
	}
	r.random = rand.New(rand.NewPCG(seed, seed))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to draw the same victims and moments again: DDB_SEED=%d", seed)
		}
	})
	r.prepare()
	r.startAll()
	r.check() // every replica has had its snapshot
	for i := 1; i <= n; i++ {
		r.round()
		if i%checkEvery == 0 || i == n {
			r.check()
		}
	}
	r.killAll()
	t.Log(r.ledger)
}

func buildChild(t *testing.T) string {
	binary := filepath.Join(t.TempDir(), "child")
	out, err := exec.Command("go", "build", "-o", binary, "./child").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// prepare makes the tables as a program would before it knows ddb: the master adopts them.
func (r *rig) prepare() {
	text := "TEXT"
	if r.nodes[0].driver == "mysql" {
		text = "VARCHAR(60)"
	}
	for _, s := range []string{
		"CREATE TABLE items (id " + text + " PRIMARY KEY NOT NULL, w " + text + " NOT NULL, v INTEGER NOT NULL)",
		"CREATE TABLE counters (w " + text + " PRIMARY KEY NOT NULL, n INTEGER NOT NULL)",
		"CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
		"CREATE TABLE marks (id " + text + " PRIMARY KEY NOT NULL, w " + text + " NOT NULL)",
	} {
		_, err := r.nodes[0].db.Exec(s)
		require.NoError(r.t, err)
	}
	for i := range accounts {
		_, err := r.nodes[0].db.Exec("INSERT INTO accounts VALUES (?, ?)", i+1, balance)
		require.NoError(r.t, err)
	}
}

func (r *rig) startAll() {
	r.writing = true
	for _, m := range r.nodes {
		r.start(m)
	}
	for _, m := range r.nodes {
		m.child.wait("ready")
	}
}

// start starts the node's process; it does not wait until it is ready.
func (r *rig) start(m *member) {
	r.runs++
	args := []string{"-driver", m.driver, "-dsn", m.dsn, "-id", m.id, "-run", strconv.Itoa(r.runs)}
	switch {
	case m == r.nodes[0] && r.snaps():
		// Not as fast as it can: some of what the snaps do must be accepted too.
		args = append(args, "-role", "master", "-listen", r.listen, "-writers", "2", "-pause", "30ms")
	case m == r.nodes[0]:
		args = append(args, "-role", "master", "-listen", r.listen, "-writers", "4")
	case m.snap:
		args = append(args, "-role", "snap", "-master", r.listen, "-writers", "2", "-pause", "20ms")
	default:
		args = append(args, "-role", "replica", "-master", r.listen, "-writers", "1")
	}
	m.child = startChild(r.t, m.id, r.binary, args, r.ledger)
}

func (r *rig) killAll() {
	for _, m := range r.nodes {
		m.child.kill()
	}
}

// round lets the cluster work for a moment, kills some of it and starts that again.
func (r *rig) round() {
	time.Sleep(time.Duration(r.random.Int64N(int64(maxLoad)))) // the moment is what the round is about
	victims := r.victims()
	for _, m := range victims {
		m.child.kill()
		if m.server != nil && r.random.IntN(6) == 0 {
			m.server.Kill()
			require.NoError(r.t, m.server.Start())
		}
	}
	if r.random.IntN(3) == 0 {
		for _, m := range victims {
			r.wholeTransactions(m)
		}
	}
	for _, m := range victims {
		r.start(m)
	}
	for _, m := range victims {
		m.child.wait("ready")
	}
}

// victims draws the master, a replica, or any set of nodes.
func (r *rig) victims() []*member {
	switch r.random.IntN(5) {
	case 0, 1:
		return r.nodes[:1]
	case 2, 3:
		i := 1 + r.random.IntN(len(r.nodes)-1)
		return r.nodes[i : i+1]
	}
	set := 1 + r.random.IntN(1<<len(r.nodes)-1)
	var list []*member
	for i, m := range r.nodes {
		if set>>i&1 == 1 {
			list = append(list, m)
		}
	}
	return list
}

// wholeTransactions looks at a database whose node is dead: no transfer is there by half.
func (r *rig) wholeTransactions(m *member) {
	if m.snap && r.writing {
		return // it shows transfers of its own that may be refused beside those of others
	}
	var sum int
	require.NoError(r.t, m.db.QueryRow("SELECT COALESCE(SUM(balance), 0) FROM accounts").Scan(&sum))
	require.Equal(r.t, accounts*balance, sum, "half a transaction on %s", m.id)
}

// check brings the cluster to rest, compares, and starts everything anew by another kill.
func (r *rig) check() {
	for i := len(r.nodes) - 1; i >= 0; i-- {
		r.nodes[i].child.tell("quiet")
		r.nodes[i].child.wait("quiet")
	}
	r.writing = false
	for _, m := range r.nodes {
		if m.snap {
			m.child.tell("drained")
			m.child.wait("drained")
		}
	}
	master := r.nodes[0]
	level := "level"
	for _, m := range r.nodes[1:] {
		level += " " + m.id
	}
	master.child.tell(level)
	master.child.wait("level")
	r.ledger.compare(r.t, master.db)
	if r.snaps() {
		r.compareMarks()
	}
	want := master.dump(r.t, master.db)
	for _, m := range r.nodes {
		r.wholeTransactions(m)
		sameDump(r.t, m.id, want, m.dump(r.t, m.db))
	}
	r.killAll()
	r.startAll()
}

// sameDump fails with the lines that only one of two dumps has, and not with all the others.
func sameDump(t *testing.T, id string, want, got []string) {
	t.Helper()
	count := map[string]int{}
	for _, line := range want {
		count[line]++
	}
	for _, line := range got {
		count[line]--
	}
	for line, n := range count {
		if n != 0 {
			t.Errorf("%s differs: it lacks %d times, or has too often: %s", id, n, line)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// dumpSQLite returns everything in the file but ddb's own, byte for byte.
func dumpSQLite(t *testing.T, db *sql.DB) []string {
	const users = ` name NOT LIKE '\_ddb\_%' ESCAPE '\' AND tbl_name NOT LIKE '\_ddb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' `
	dump := lines(t, db, "SELECT type || ' ' || name || ' ' || sql FROM sqlite_schema WHERE"+users+"ORDER BY 1")
	for _, table := range lines(t, db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND"+users+"ORDER BY 1") {
		columns := lines(t, db, "SELECT 'typeof(' || name || ') || quote(' || name || ')' FROM pragma_table_info(?) ORDER BY cid", table)
		expr := ""
		for i, c := range columns {
			if i > 0 {
				expr += " || ',' || "
			}
			expr += c
		}
		for _, row := range lines(t, db, "SELECT "+expr+" FROM "+table+" ORDER BY 1") {
			dump = append(dump, table+": "+row)
		}
	}
	return dump
}

// dumpMariaDB returns the definition and the checksum of every table.
func dumpMariaDB(t *testing.T, db *sql.DB) []string {
	var dump []string
	for _, table := range lines(t, db, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1") {
		var name, text string
		require.NoError(t, db.QueryRow("SHOW CREATE TABLE `"+table+"`").Scan(&name, &text))
		var sum sql.NullInt64
		require.NoError(t, db.QueryRow("CHECKSUM TABLE `"+table+"` EXTENDED").Scan(&name, &sum))
		dump = append(dump, text, fmt.Sprint(table, ": checksum ", sum.Int64))
	}
	return dump
}

func lines(t *testing.T, db *sql.DB, query string, args ...any) []string {
	rows, err := db.Query(query, args...)
	require.NoError(t, err)
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		list = append(list, s)
	}
	require.NoError(t, rows.Err())
	return list
}
