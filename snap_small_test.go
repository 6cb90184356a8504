package ddb_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport/fault"
)

// A conflict can be retried and dismissed on a replica, whose database has another name than the master's.
func TestConflictOnReplica(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema, "a")
		s.links["replica"] = fault.New(s.net)
		r := s.open("replica", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.links["replica"]})
		require.NoError(t, r.WaitReady(s.ctx))
		s.exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0), (2, 20, 'two', 0)")
		s.exchange("a")
		s.cut("a")
		for id := 1; id <= 2; id++ {
			s.exec("a", fmt.Sprintf("UPDATE p SET v = 'mine' WHERE id = %d", id))
			s.exec("master", fmt.Sprintf("UPDATE p SET v = 'theirs' WHERE id = %d", id))
		}
		s.heal("a")
		s.exchange("a")
		require.NoError(t, ddb.WaitLSN(s.ctx, r, s.nodes["master"]))
		list := s.conflicts("replica")
		require.Len(t, list, 2)
		for _, c := range list {
			if c.Key == `{"id":1}` {
				require.NoError(t, r.RetryConflict(s.ctx, c.ID))
			} else {
				require.NoError(t, r.DismissConflict(s.ctx, c.ID))
			}
		}
		s.exchange("a")
		require.NoError(t, ddb.WaitLSN(s.ctx, r, s.nodes["master"]))
		s.same("p")
		require.Empty(t, s.conflicts("replica"))
		require.Equal(t, "[1,10,\"mine\",0]\n[2,20,\"theirs\",0]", s.rows("a", "SELECT * FROM p"))
	})
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A table whose handed-out keys are four fifths used up is named in the log.
func TestKeysRunOut(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		column, high := "TINYINT NOT NULL AUTO_INCREMENT PRIMARY KEY", "110"
		if e.name == "sqlite" {
			column, high = e.int, fmt.Sprint(int64(19)<<40/10)
		}
		s := newShop(t, e, ddb.Options{}, "CREATE TABLE ample (id "+e.int+", v INT); CREATE TABLE narrow (id "+column+", v INT)")
		s.exec("master", "INSERT INTO ample VALUES (1, 1)")
		s.exec("master", "INSERT INTO narrow VALUES ("+high+", 1)")
		require.NoError(t, s.nodes["master"].Close())
		log := new(lockedBuffer)
		o := s.opts["master"]
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
		m, err := ddb.Open(s.ctx, s.dbs["master"], o)
		require.NoError(t, err)
		s.nodes["master"] = m
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "table=narrow") }, testPatience, testStep)
		require.NotContains(t, log.String(), "ample")
		require.Contains(t, log.String(), "keys are running out")
	})
}

// The first copy says how many rows there are, how many have come and how many bytes.
func TestSnapProgress(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{}, pairSchema)
		for i := range 50 {
			s.exec("master", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", i, i))
		}
		if e.name == "mariadb" { // whose estimate is taken from statistics
			_, err := s.dbs["master"].Exec("ANALYZE TABLE p")
			require.NoError(t, err)
		}
		var mu sync.Mutex
		var last ddb.Progress
		s.snap("a", ddb.Options{OnProgress: func(p ddb.Progress) { mu.Lock(); last = p; mu.Unlock() }})
		mu.Lock()
		defer mu.Unlock()
		require.True(t, last.Done)
		require.GreaterOrEqual(t, last.Rows, int64(50)) // ddb's own are counted too
		require.InDelta(t, last.Rows, last.Total, 5)
		require.Greater(t, last.Bytes, int64(100))
	})
}

// The stamps of newest wins do not grow without end.
func TestStampsAreBounded(t *testing.T) {
	t.Cleanup(ddb.SetMaxStamps(20)) // runs when the master is closed
	s := newShop(t, sqliteEngine(t), ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.NewestWins}}, pairSchema, "a")
	for i := range 100 {
		s.exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", i, i))
		if i%5 == 0 {
			s.exchange("a")
		}
	}
	s.exchange("a")
	var n int
	require.NoError(t, s.dbs["master"].QueryRow("SELECT COUNT(*) FROM _ddb_meta WHERE k LIKE 'stamp:%'").Scan(&n))
	require.Positive(t, n)
	require.LessOrEqual(t, n, 40)
}

// Statements of many callers share commits on the snap, and each is a transaction of its own on the master all the same:
// those that touch one row again and again, those of many rows and those on a table whose keys only the database compares.
func TestSnapGroupedWrites(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{}, `CREATE TABLE one (id INTEGER PRIMARY KEY, n INT); CREATE TABLE text (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, n INT);
		CREATE TABLE many (id INTEGER PRIMARY KEY, n INT)`, "a")
	s.exec("master", "INSERT INTO one VALUES (1, 0)")
	s.exec("master", "INSERT INTO text VALUES ('Key', 0)")
	s.exchange("a")
	s.cut("a")
	const writers, each = 8, 16
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				query := "UPDATE one SET n = n + 1 WHERE id = 1"
				switch (w + i) % 4 {
				case 1:
					query = "UPDATE text SET n = n + 1 WHERE k = 'KEY'"
				case 2:
					query = fmt.Sprintf("INSERT INTO many WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 299) SELECT %d + i, 0 FROM s", (w*each+i)*1000)
				}
				_, err := s.nodes["a"].ExecContext(s.ctx, query)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, writers*each, s.nodes["a"].Nodes()[0].Pending, "one batch for each statement")
	s.heal("a")
	s.exchange("a")
	s.same("one", "text", "many")
	require.Empty(t, s.conflicts("a"))
	require.Equal(t, fmt.Sprintf("[1,%d]", writers*each/2), s.rows("master", "SELECT * FROM one"))
	require.Equal(t, fmt.Sprintf("[\"Key\",%d]", writers*each/4), s.rows("master", "SELECT * FROM text"))
	require.Equal(t, fmt.Sprintf("[%d]", writers*each/4*300), s.rows("master", "SELECT COUNT(*) FROM many"))
}

// A snap with a wrong key is not let in, and the log warns before the queue is full.
func TestSnapKeyAndWarning(t *testing.T) {
	s := newShop(t, sqliteEngine(t), ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {Key: []byte("k")}, "b": {Key: []byte("other")}}}, pairSchema)
	log := new(lockedBuffer)
	s.snap("a", ddb.Options{Key: []byte("k"), QueueMaxBatches: 10})
	require.NoError(t, s.nodes["a"].Close())
	o := s.opts["a"]
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
	a, err := ddb.Open(s.ctx, s.dbs["a"], o)
	require.NoError(t, err)
	s.nodes["a"] = a
	require.NoError(t, a.WaitReady(s.ctx))
	s.cut("a")
	for i := range 10 {
		if i == 8 {
			require.NotContains(t, log.String(), "filling up")
		}
		s.exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, '', 0)", i, i))
	}
	require.Contains(t, log.String(), "filling up")
	_, err = a.Exec("INSERT INTO p VALUES (99, 99, '', 0)")
	require.ErrorIs(t, err, ddb.ErrQueueFull)
	b := s.open("b", ddb.Options{Role: ddb.Snap, Master: "master", Transport: s.net, Key: []byte("k")})
	require.Error(t, b.WaitReady(s.ctx))
	require.Equal(t, ddb.Failed, b.Nodes()[0].State)
}

// A table that comes to a snap anew keeps its triggers there, those on a view made anew too, and the connection that
// writes knows its new columns at once.
func TestSnapTableMadeAnew(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 0)
		f.openMaster()
		snap := f.newNode("snap")
		require.NoError(t, f.open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" }))
		require.NoError(t, snap.WaitReady(f.ctx))
		f.do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE log (id INT PRIMARY KEY, w INT)",
			"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO log VALUES (new.id, 1); END")
		into := "t"
		if engine == "sqlite" {
			into = "w"
			f.do("CREATE VIEW w AS SELECT * FROM t", "CREATE TRIGGER wt INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.id, new.v, new.z); END")
		}
		require.NoError(t, f.m.WaitLevel(f.ctx))
		_, err := snap.Exec("INSERT INTO log VALUES (-1, 1)")
		require.NoError(t, err)
		f.bypass("ALTER TABLE t ADD COLUMN z INT")
		if engine == "sqlite" {
			f.tx("DROP VIEW w", "CREATE VIEW w AS SELECT id, v, z FROM t",
				"CREATE TRIGGER wt INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.id, new.v, new.z); END")
		}
		require.Eventually(t, func() bool {
			_, err := snap.raw.ExecContext(f.ctx, "SELECT z FROM t")
			return err == nil
		}, patience, testStep)
		require.NoError(t, f.m.WaitLevel(f.ctx))
		_, err = snap.Exec("INSERT INTO t VALUES (2, 1, 1)")
		require.NoError(t, err)
		_, err = snap.Exec("INSERT INTO " + into + " VALUES (3, 1, 1)")
		require.NoError(t, err)
		require.Equal(t, "3", f.one(snap, "SELECT COUNT(*) FROM log"))
	})
}
