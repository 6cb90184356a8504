package ddb_test

import (
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
