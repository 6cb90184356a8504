package ddb

import (
	"context"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
)

// checkup is what Options.HealthChecker has found wrong with the node's own database; the zero value is a
// clean bill of health.
type checkup struct {
	State  State // Inactive or Lagging
	Reason string
	Since  time.Time // of the change to this state
}

// unwell returns what the checker last found wrong.
func unwell(n *node) checkup {
	if c := n.checked.Load(); c != nil {
		return *c
	}
	return checkup{}
}

// watchHealth asks the program's checker once per heartbeat, and calls changed when its answer differs.
func watchHealth(ctx context.Context, n *node, o Options, changed func()) {
	for {
		was, is := unwell(n), checkHealth(ctx, n, o)
		if ctx.Err() != nil {
			return
		}
		if is.State == was.State {
			is.Since = was.Since
		}
		n.checked.Store(&is)
		if is.State != was.State || is.Reason != was.Reason {
			changed()
		}
		if watch.Sleep(ctx, o.Heartbeat) != nil {
			return
		}
	}
}

func checkHealth(ctx context.Context, n *node, o Options) checkup {
	ctx, cancel := context.WithTimeout(ctx, max(o.Heartbeat, time.Second))
	defer cancel()
	r, err := o.HealthChecker.Check(ctx, n.id, n.db)
	state, reason, _ := r.Judge(err, o.MaxLag)
	if state == Active {
		return checkup{}
	}
	return checkup{State: state, Reason: reason, Since: time.Now()}
}

// worse returns the less healthy of the state and the checkup's, for a node that is connected and level enough.
func (c checkup) worse(s State, reason string) (State, string) {
	if c.State == Inactive && (s == Active || s == Lagging) || c.State == Lagging && s == Active {
		return c.State, c.Reason
	}
	return s, reason
}
