package ddb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A full disk is told as such whichever way the write took, and what a database says of a write has its code on a replica too.
func TestErrorsOfEveryWay(t *testing.T) {
	f := testcluster.NewFixture(t, "sqlite", 1)
	f.Master.Raw = limitSQLite(t, f.Master.Name, 200)
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)", "INSERT INTO t VALUES (1, NULL)")
	for _, c := range []*ddb.Cluster{f.Master.Cluster, f.Replicas[0].Cluster} {
		const large = "INSERT INTO t (v) VALUES (zeroblob(2000000))"
		_, err := c.Exec(large)
		wantError(t, err, ddb.ErrDiskFull, "node master", "make room")
		_, err = c.DB().Exec(large)
		wantError(t, err, ddb.ErrDiskFull, "node master", "make room")
		wantError(t, c.QueryRow(large+" RETURNING id").Scan(new(int)), ddb.ErrDiskFull, "node master", "make room")
		tx, err := c.Begin()
		require.NoError(t, err)
		_, err = tx.Exec(large)
		wantError(t, err, ddb.ErrDiskFull, "node master", "make room")
		require.NoError(t, tx.Rollback())

		var coded interface{ Code() int }
		_, err = c.Exec("INSERT INTO t VALUES (1, NULL)")
		require.ErrorAs(t, err, &coded)
		require.Equal(t, 1555, coded.Code(), "SQLITE_CONSTRAINT_PRIMARYKEY")
	}
}

// Options that are less than nothing are refused by name.
func TestNegativeOptions(t *testing.T) {
	for name, o := range map[string]ddb.Options{
		"WaitTimeout": {WaitTimeout: -1}, "MaxLag": {MaxLag: -1}, "Heartbeat": {Heartbeat: -1}, "PollInterval": {PollInterval: -1},
		"BusyTimeout": {BusyTimeout: -1}, "JournalMaxAge": {JournalMaxAge: -1}, "JournalMaxBytes": {JournalMaxBytes: -1},
		"QueueMaxAge": {QueueMaxAge: -1}, "QueueMaxBatches": {QueueMaxBatches: -1}, "QueueMaxBytes": {QueueMaxBytes: -1},
	} {
		_, err := ddb.Open(t.Context(), nil, o)
		wantError(t, err, ddb.ErrOptions, name)
	}
}
