package snaps_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/transport/fault"
)

// A conflict can be retried and dismissed on a replica, whose database has another name than the master's.
func TestConflictOnReplica(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		s.Links["replica"] = fault.New(s.Net)
		r := s.Open("replica", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.Links["replica"]})
		require.NoError(t, r.WaitReady(s.Ctx))
		s.Exec("master", "INSERT INTO p VALUES (1, 10, 'one', 0), (2, 20, 'two', 0)")
		s.Exchange("a")
		s.Cut("a")
		for id := 1; id <= 2; id++ {
			s.Exec("a", fmt.Sprintf("UPDATE p SET v = 'mine' WHERE id = %d", id))
			s.Exec("master", fmt.Sprintf("UPDATE p SET v = 'theirs' WHERE id = %d", id))
		}
		s.Heal("a")
		s.Exchange("a")
		require.NoError(t, testcluster.WaitLSN(s.Ctx, r, s.Nodes["master"]))
		list := s.Conflicts("replica")
		require.Len(t, list, 2)
		for _, c := range list {
			if c.Key == `{"id":1}` {
				require.NoError(t, r.RetryConflict(s.Ctx, c.ID))
			} else {
				require.NoError(t, r.DismissConflict(s.Ctx, c.ID))
			}
		}
		s.Exchange("a")
		require.NoError(t, testcluster.WaitLSN(s.Ctx, r, s.Nodes["master"]))
		s.Same("p")
		require.Empty(t, s.Conflicts("replica"))
		require.Equal(t, "[1,10,\"mine\",0]\n[2,20,\"theirs\",0]", s.Rows("a", "SELECT * FROM p"))
	})
}

// A table whose handed-out keys are four fifths used up is named in the log.
func TestKeysRunOut(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		column, high := "TINYINT NOT NULL AUTO_INCREMENT PRIMARY KEY", "110"
		if string(e) == "sqlite" {
			column, high = e.AutoKey(), fmt.Sprint(int64(19)<<40/10)
		}
		s := testcluster.NewShop(t, e, ddb.Options{}, "CREATE TABLE ample (id "+e.AutoKey()+", v INT); CREATE TABLE narrow (id "+column+", v INT)")
		s.Exec("master", "INSERT INTO ample VALUES (1, 1)")
		s.Exec("master", "INSERT INTO narrow VALUES ("+high+", 1)")
		require.NoError(t, s.Nodes["master"].Close())
		log := new(testcluster.Buffer)
		o := s.Opts["master"]
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
		m, err := ddb.Open(s.Ctx, s.DBs["master"], o)
		require.NoError(t, err)
		s.Nodes["master"] = m
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "table=narrow") }, testcluster.Patience, 5*time.Millisecond)
		require.NotContains(t, log.String(), "ample")
		require.Contains(t, log.String(), "keys are running out")
	})
}

// The first copy says how many rows there are, how many have come and how many bytes.
func TestSnapProgress(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{Heartbeat: 10 * time.Second}, testcluster.PairSchema) // bytes are counted over one connection: no silence ends it
		for i := range 50 {
			s.Exec("master", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", i, i))
		}
		if string(e) == "mariadb" { // whose estimate is taken from statistics
			_, err := s.DBs["master"].Exec("ANALYZE TABLE p")
			require.NoError(t, err)
		}
		var mu sync.Mutex
		var last ddb.Progress
		s.Snap("a", ddb.Options{OnProgress: func(p ddb.Progress) { mu.Lock(); last = p; mu.Unlock() }})
		mu.Lock()
		defer mu.Unlock()
		require.True(t, last.Done)
		require.GreaterOrEqual(t, last.Rows, int64(50)) // ddb's own are counted too
		require.InDelta(t, last.Rows, last.Total, 5)
		require.Greater(t, last.Bytes, int64(100))
	})
}

// Statements of many callers share commits on the snap, and each is a transaction of its own on the master all the same:
// those that touch one row again and again, those of many rows and those on a table whose keys only the database compares.
func TestSnapGroupedWrites(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, `CREATE TABLE one (id INTEGER PRIMARY KEY, n INT); CREATE TABLE text (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, n INT);
		CREATE TABLE many (id INTEGER PRIMARY KEY, n INT)`, "a")
	s.Exec("master", "INSERT INTO one VALUES (1, 0)")
	s.Exec("master", "INSERT INTO text VALUES ('Key', 0)")
	s.Exchange("a")
	s.Cut("a")
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
				_, err := s.Nodes["a"].ExecContext(s.Ctx, query)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, writers*each, s.Nodes["a"].Nodes()[0].Pending, "one batch for each statement")
	s.Heal("a")
	s.Exchange("a")
	s.Same("one", "text", "many")
	require.Empty(t, s.Conflicts("a"))
	require.Equal(t, fmt.Sprintf("[1,%d]", writers*each/2), s.Rows("master", "SELECT * FROM one"))
	require.Equal(t, fmt.Sprintf("[\"Key\",%d]", writers*each/4), s.Rows("master", "SELECT * FROM text"))
	require.Equal(t, fmt.Sprintf("[%d]", writers*each/4*300), s.Rows("master", "SELECT COUNT(*) FROM many"))
}

// A snap with a wrong key is not let in, and the log warns before the queue is full.
func TestSnapKeyAndWarning(t *testing.T) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{Nodes: map[string]ddb.NodeAccess{"a": {Key: []byte("k")}, "b": {Key: []byte("other")}}}, testcluster.PairSchema)
	log := new(testcluster.Buffer)
	s.Snap("a", ddb.Options{Key: []byte("k"), QueueMaxBatches: 10})
	require.NoError(t, s.Nodes["a"].Close())
	o := s.Opts["a"]
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
	a, err := ddb.Open(s.Ctx, s.DBs["a"], o)
	require.NoError(t, err)
	s.Nodes["a"] = a
	require.NoError(t, a.WaitReady(s.Ctx))
	s.Cut("a")
	for i := range 10 {
		if i == 8 {
			require.NotContains(t, log.String(), "filling up")
		}
		s.Exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, '', 0)", i, i))
	}
	require.Contains(t, log.String(), "filling up")
	_, err = a.Exec("INSERT INTO p VALUES (99, 99, '', 0)")
	require.ErrorIs(t, err, ddb.ErrQueueFull)
	b := s.Open("b", ddb.Options{Role: ddb.Snap, Master: "master", Transport: s.Net, Key: []byte("k")})
	require.Error(t, b.WaitReady(s.Ctx))
	require.Equal(t, ddb.Failed, b.Nodes()[0].State)
}

// A table that comes to a snap anew keeps its triggers there, those on a view made anew too, and the connection that
// writes knows its new columns at once.
func TestSnapTableMadeAnew(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.NewFixture(t, engine, 0)
		f.OpenMaster()
		snap := f.NewNode("snap")
		require.NoError(t, f.Open(snap, func(o *ddb.Options) { o.Role, o.Master = ddb.Snap, "master" }))
		require.NoError(t, snap.WaitReady(f.Ctx))
		f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE log (id INT PRIMARY KEY, w INT)",
			"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO log VALUES (new.id, 1); END")
		into := "t"
		if engine == "sqlite" {
			into = "w"
			f.Do("CREATE VIEW w AS SELECT * FROM t", "CREATE TRIGGER wt INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.id, new.v, new.z); END")
		}
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		_, err := snap.Exec("INSERT INTO log VALUES (-1, 1)")
		require.NoError(t, err)
		f.Bypass("ALTER TABLE t ADD COLUMN z INT")
		if engine == "sqlite" {
			f.Tx("DROP VIEW w", "CREATE VIEW w AS SELECT id, v, z FROM t",
				"CREATE TRIGGER wt INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.id, new.v, new.z); END")
		}
		require.Eventually(t, func() bool {
			_, err := snap.Raw.ExecContext(f.Ctx, "SELECT z FROM t")
			return err == nil
		}, testcluster.Patience, 5*time.Millisecond)
		require.NoError(t, f.Master.WaitLevel(f.Ctx))
		_, err = snap.Exec("INSERT INTO t VALUES (2, 1, 1)")
		require.NoError(t, err)
		_, err = snap.Exec("INSERT INTO " + into + " VALUES (3, 1, 1)")
		require.NoError(t, err)
		require.Equal(t, "3", f.One(snap, "SELECT COUNT(*) FROM log"))
	})
}
