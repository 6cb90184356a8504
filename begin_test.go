package ddb_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// onLine is a log that calls f when a line of that message is written. It holds no lock meanwhile: others write on.
type onLine struct {
	hclog.Logger
	message string
	f       func()
}

func (o onLine) With(args ...any) hclog.Logger { return onLine{o.Logger.With(args...), o.message, o.f} }

func (o onLine) Info(message string, args ...any) {
	o.Logger.Info(message, args...)
	if message == o.message {
		o.f()
	}
}

// A master that is opened again serves the statements of its followers from the moment on that they can connect, though Open has
// not returned yet.
func TestMasterServesAsSoonAsItListens(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INT PRIMARY KEY)")
		f.Level()
		f.Master.Stop()
		testcluster.Wait(t, "the replica to notice", func() bool { return errors.Is(f.Replicas[0].PingContext(f.Ctx), ddb.ErrNoMaster) })
		var wrote, read error
		var rows int
		log := onLine{hclog.NewNullLogger(), "master is up", func() {
			testcluster.Wait(t, "the replica to come back", func() bool {
				_, wrote = f.Replicas[0].ExecContext(f.Ctx, "INSERT INTO t VALUES (1)")
				return !errors.Is(wrote, ddb.ErrNoMaster)
			})
			read = f.Replicas[0].QueryRowContext(ddb.WithConsistency(f.Ctx, ddb.Strong), "SELECT COUNT(*) FROM t").Scan(&rows)
		}}
		require.NoError(t, f.Open(f.Master, func(o *ddb.Options) { o.Listen, o.Logger = "master", log }))
		require.NoError(t, wrote)
		require.NoError(t, read)
		require.Equal(t, 1, rows)
	})
}
