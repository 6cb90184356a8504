package crashtest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/testdb"
)

const (
	snapRounds        = 30
	shortSnapRounds   = 6
	mariadbSnapRounds = 4 // per size
)

// Three snaps write locally while their links are cut and any process is killed at any moment: in the
// end all databases are equal, and each local transaction that was acknowledged is there once or in the conflicts table.
func TestCrashSnapsSQLite(t *testing.T) {
	dir := t.TempDir()
	var nodes []*member
	for _, id := range []string{"master", "r1", "s1", "s2", "s3"} {
		path := filepath.Join(dir, id+".db")
		nodes = append(nodes, &member{id: id, driver: "sqlite", dsn: testdb.SQLiteDSN(path), db: testdb.OpenSQLite(t, path), dump: dumpSQLite, snap: id[0] == 's'})
	}
	n := snapRounds
	if testing.Short() {
		n = shortSnapRounds
	}
	runRounds(t, nodes, n)
}

// So it is on MariaDB, with fewer of everything.
func TestCrashSnapsMariaDB(t *testing.T) {
	server := testdb.MariaDB(t)
	var nodes []*member
	for _, id := range []string{"master", "r1", "s1", "s2"} {
		name := "crash_" + id
		server.CreateDatabase(t, name)
		nodes = append(nodes, &member{id: id, driver: "mysql", dsn: server.DSN(name), db: server.Open(t, name), dump: dumpMariaDB, snap: id[0] == 's'})
	}
	n := 3 * mariadbSnapRounds
	if testing.Short() {
		n = mariadbSnapRounds
	}
	runRounds(t, nodes, n)
}

// compareMarks looks for every local transaction that was acknowledged, and for any that counts twice.
func (r *rig) compareMarks() {
	r.t.Helper()
	conflicts := "_ddb_conflicts"
	if r.nodes[0].driver == "mysql" {
		conflicts = "crash_%s_ddb.conflicts"
	}
	query := func(m *member) string {
		if r.nodes[0].driver == "mysql" {
			return "SELECT rowkey FROM " + fmt.Sprintf(conflicts, m.id) + " WHERE tbl = 'marks' ORDER BY rowkey"
		}
		return "SELECT rowkey FROM " + conflicts + " WHERE tbl = 'marks' ORDER BY rowkey"
	}
	count := map[string]int{}
	for _, id := range lines(r.t, r.nodes[0].db, "SELECT id FROM marks") {
		count[id]++
	}
	accepted := len(count)
	refused := lines(r.t, r.nodes[0].db, query(r.nodes[0]))
	for _, text := range refused {
		var key struct{ ID string }
		require.NoError(r.t, json.Unmarshal([]byte(text), &key))
		count[key.ID]++
	}
	for _, m := range r.nodes[1:] {
		require.Equal(r.t, refused, lines(r.t, m.db, query(m)), "conflicts on %s", m.id)
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	for _, mark := range r.ledger.marks {
		if count[mark] == 0 {
			r.t.Errorf("the local transaction %s was acknowledged, and is neither on the master nor in the conflicts table", mark)
		}
	}
	for mark, n := range count {
		if n > 1 {
			r.t.Errorf("the local transaction %s counts %d times", mark, n)
		}
	}
	r.t.Logf("%d local transactions accepted, %d refused", accepted, len(refused))
	if r.t.Failed() {
		r.t.FailNow()
	}
}
