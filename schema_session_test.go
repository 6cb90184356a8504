package ddb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// What a schema statement has made is seen by the next read, however far the replica is behind, and with
// WaitReplicas the replica has it when the statement returns.
func TestSchemaSession(t *testing.T) {
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.openAll()
		f.replicas[0].fault.SetLatency(30 * time.Millisecond)
		for i := range 10 {
			f.do(fmt.Sprintf("CREATE TABLE made%d (id INT PRIMARY KEY)", i))
			var n int
			require.NoError(t, f.m.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
			f.do(fmt.Sprintf("DROP TABLE made%d", i))
			require.Error(t, f.m.QueryRow(fmt.Sprintf("SELECT count(*) FROM made%d", i)).Scan(&n))
		}
	})
	onEngines(t, func(t *testing.T, engine string) {
		f := newFixture(t, engine, 1)
		f.tune = func(o *ddb.Options) { o.WaitReplicas = 1 }
		f.openAll()
		f.do("CREATE TABLE made (id INT PRIMARY KEY)")
		var n int
		require.NoError(t, f.replicas[0].raw.QueryRow("SELECT count(*) FROM made").Scan(&n))
	})
}

// Who waits for another's schema statement stops waiting when the context ends.
func TestSchemaHeedsContext(t *testing.T) {
	f := newCluster(t, "mariadb", 0)
	f.do("CREATE TABLE t (id INT PRIMARY KEY)")
	holder, err := f.m.raw.Conn(f.ctx)
	require.NoError(t, err)
	defer holder.Close()
	_, err = holder.ExecContext(f.ctx, "LOCK TABLES t WRITE")
	require.NoError(t, err)
	altered := make(chan error, 1)
	go func() {
		_, err := f.m.ExecContext(f.ctx, "ALTER TABLE t ADD COLUMN v INT")
		altered <- err
	}()
	require.Eventually(t, func() bool {
		return f.one(f.m, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info LIKE 'ALTER%'") == "1"
	}, patience, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(f.ctx, 50*time.Millisecond)
	defer cancel()
	_, err = f.m.ExecContext(ctx, "CREATE TABLE u (id INT PRIMARY KEY)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, altered, "the ALTER still waits")
	_, err = holder.ExecContext(f.ctx, "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, <-altered)
}
