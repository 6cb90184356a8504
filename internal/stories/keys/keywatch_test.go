package keys_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// reopenLogged opens a node again, so that its warnings can be read and hours of its time pass quickly.
func reopenLogged(s *testcluster.Shop, id string) *testcluster.Buffer {
	s.TB.Helper()
	require.NoError(s.TB, s.Nodes[id].Close())
	log := new(testcluster.Buffer)
	o := s.Opts[id]
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log})
	o.Heartbeat, o.PollInterval = 0, time.Second
	c, err := ddb.Open(s.Ctx, s.DBs[id], o)
	require.NoError(s.TB, err)
	s.Nodes[id] = c
	return log
}

// setKeyWatch changes how often nodes that are opened from now on look at the keys they hand out, and returns what undoes that.
func setKeyWatch(every, tick time.Duration) (undo func()) {
	e, t := keys.WatchEvery, keys.WatchTick
	keys.WatchEvery, keys.WatchTick = every, tick
	return func() { keys.WatchEvery, keys.WatchTick = e, t }
}

// Keys that run out while a node is up are noticed within ten minutes, and as soon as the
// schema changes; each table is named once. In virtual time, on the master and on a snap.
func TestKeysRunOutLater(t *testing.T) {
	for _, id := range []string{"master", "a"} {
		t.Run(id, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { keysRunOutLater(t, id) }) })
	}
}

func keysRunOutLater(t *testing.T, id string) {
	s := testcluster.NewShop(t, testcluster.SQLite, ddb.Options{}, "CREATE TABLE first (id INTEGER PRIMARY KEY, v INT); CREATE TABLE second (id INTEGER PRIMARY KEY, v INT)", "a")
	s.Ctx = t.Context() // hours pass
	logs := map[string]*testcluster.Buffer{"master": reopenLogged(s, "master"), "a": reopenLogged(s, "a")}
	log := logs[id]
	require.NoError(t, s.Nodes["a"].WaitReady(s.Ctx))
	count := func(table string) int { return strings.Count(log.String(), "table="+table) }
	fill := func(table string) {
		key, err := s.Exec(id, "INSERT INTO "+table+" (v) VALUES (1)").LastInsertId()
		require.NoError(t, err)
		const keys = 1 << 40 // of a snap; the master has twice as many
		high := key/keys*keys + keys/10*9
		if id == "master" {
			high += keys
		}
		s.Exec(id, fmt.Sprintf("INSERT INTO %s VALUES (%d, 1)", table, high))
	}
	time.Sleep(time.Minute)
	fill("first")
	time.Sleep(5 * time.Minute)
	require.Zero(t, count("first"))
	time.Sleep(5 * time.Minute)
	require.Equal(t, 1, count("first"))
	fill("second")
	time.Sleep(time.Minute)
	require.Zero(t, count("second"))
	s.Exec("master", "CREATE TABLE third (id INTEGER PRIMARY KEY, v INT)")
	time.Sleep(time.Minute)
	require.Equal(t, 1, count("second"))
	time.Sleep(30 * time.Minute)
	require.Equal(t, 1, count("first"))
	require.Equal(t, 1, count("second"))
	require.Zero(t, count("third"))
}

// So it is on MariaDB, in real time.
func TestKeysRunOutLaterMariaDB(t *testing.T) {
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprint("schema change ", changes), func(t *testing.T) {
			every := time.Hour
			if !changes {
				every = 5 * time.Millisecond
			}
			t.Cleanup(setKeyWatch(every, 5*time.Millisecond))
			s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{}, "CREATE TABLE narrow (id TINYINT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)", "a")
			logs := []*testcluster.Buffer{reopenLogged(s, "master"), reopenLogged(s, "a")}
			require.NoError(t, s.Nodes["a"].WaitReady(s.Ctx))
			s.Exec("master", "INSERT INTO narrow VALUES (110, 1)")
			s.Exchange("a")
			if changes {
				s.Exec("master", "CREATE TABLE another (id INT PRIMARY KEY)")
			}
			for _, log := range logs {
				require.Eventually(t, func() bool { return strings.Contains(log.String(), "table=narrow") }, testcluster.Patience, 5*time.Millisecond)
			}
		})
	}
}

// From the first snap on each node warns at once of AUTO_INCREMENT columns that give it few keys, with the statement that
// helps. When its keys are used up an insert fails, and says why.
func TestNarrowKeys(t *testing.T) {
	t.Cleanup(setKeyWatch(time.Hour, 5*time.Millisecond))
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{}, "CREATE TABLE tiny (id TINYINT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT);"+
		"CREATE TABLE small (id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT); CREATE TABLE wide (id MEDIUMINT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)")
	warns := func(log *testcluster.Buffer) {
		t.Helper()
		for _, text := range []string{"table=tiny", "table=small", "keys_per_node=0", "keys_per_node=255", "MODIFY `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"} {
			require.Eventually(t, func() bool { return strings.Count(log.String(), text) == 1 }, testcluster.Patience, 5*time.Millisecond, text)
		}
		require.NotContains(t, log.String(), "table=wide")
	}
	log := reopenLogged(s, "master")
	s.Exec("master", "INSERT INTO wide (v) VALUES (1)")
	require.NotContains(t, log.String(), "AUTO_INCREMENT")
	s.Snap("a", ddb.Options{})
	warns(log)
	warns(reopenLogged(s, "master"))
	warns(reopenLogged(s, "a"))
	require.NoError(t, s.Nodes["a"].WaitReady(s.Ctx))
	for _, id := range []string{"master", "a"} {
		s.Exec(id, "INSERT INTO tiny (v) VALUES (1)")
		for _, verb := range []string{"INSERT", "INSERT IGNORE", "REPLACE"} {
			res, err := s.Nodes[id].Exec(verb + " INTO tiny (v) VALUES (2)")
			if verb == "INSERT IGNORE" {
				require.NoError(t, err)
				n, err := res.RowsAffected()
				require.NoError(t, err)
				require.Zero(t, n)
				continue
			}
			require.ErrorContains(t, err, "has used up its keys of an AUTO_INCREMENT column", verb)
		}
		require.Equal(t, "[0]", s.Rows(id, "SELECT count(*) FROM tiny WHERE v = 2"))
	}
}
