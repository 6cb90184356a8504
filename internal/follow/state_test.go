package follow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/journal"
)

// A node that is level once its snapshot is loaded stays active when the first entry after it is announced, and is behind by
// no more than the time since it was level.
func TestActiveAfterSnapshot(t *testing.T) {
	at := func(lsn journal.LSN) journal.Position { return journal.Position{Epoch: 1, LSN: lsn} }
	for name, c := range map[string]struct {
		heard, base, through journal.LSN
		state                health.State // after the snapshot
		lag                  time.Duration
	}{
		"the master had no more":      {heard: 2, base: 2, through: 2, state: health.Active, lag: 0},
		"the copy holds more":         {heard: 1, base: 2, through: 2, state: health.Active, lag: 0},
		"the master had more already": {heard: 3, base: 2, through: 2, state: health.Syncing, lag: health.LagUnknown},
		"the copy is of many moments": {heard: 2, base: 2, through: 3, state: health.Syncing, lag: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &Follower{cfg: Config{Heartbeat: time.Second, MaxLag: 10 * time.Second, Health: &health.Self{}, Changed: func() {}}}
				f.enter(health.Joining, "let in")
				f.heardBeat(&upstream{}, link.Beat{Position: at(c.heard)})
				f.setStatus(func(s *following) { s.through = apply.Loading })
				time.Sleep(time.Second)
				f.setStatus(func(s *following) { s.loaded(at(c.base), c.through); f.settle(s) })
				st := f.state.Load()
				require.Equal(t, c.state, st.status.State)
				require.Equal(t, c.lag, st.lag())
				if c.state != health.Active {
					return
				}
				f.heardBeat(&upstream{}, link.Beat{Position: at(c.base + 1)})
				st = f.state.Load()
				require.Equal(t, health.Active, st.status.State, st.status.Reason)
				require.Equal(t, time.Second, st.lag())
			})
		})
	}
}
