package health

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
)

// Checkup is what a Checker has found wrong with the node's own database; the zero value is a
// clean bill of health.
type Checkup struct {
	State  State // Inactive or Lagging
	Reason string
	Since  time.Time // of the change to this state
}

// Worse returns the less healthy of the state and the checkup's, for a node that is connected and level enough.
func (c Checkup) Worse(s State, reason string) (State, string) {
	if c.State == Inactive && (s == Active || s == Lagging) || c.State == Lagging && s == Active {
		return c.State, c.Reason
	}
	return s, reason
}

// Self is what a program's Checker says of the node's own database. The zero Self has asked nobody, and found nothing.
type Self struct {
	last atomic.Pointer[Checkup]
}

// Found returns what the checker last found wrong.
func (s *Self) Found() Checkup {
	if c := s.last.Load(); c != nil {
		return *c
	}
	return Checkup{}
}

// Run asks the checker once per interval until ctx ends, and calls changed when its answer differs. Beyond maxLag the node lags.
func (s *Self) Run(ctx context.Context, c Checker, id string, db *sql.DB, every, maxLag time.Duration, changed func()) {
	for {
		was, is := s.Found(), ask(ctx, c, id, db, every, maxLag)
		if ctx.Err() != nil {
			return
		}
		if is.State == was.State {
			is.Since = was.Since
		}
		s.last.Store(&is)
		if is.State != was.State || is.Reason != was.Reason {
			changed()
		}
		if watch.Sleep(ctx, every) != nil {
			return
		}
	}
}

func ask(ctx context.Context, c Checker, id string, db *sql.DB, every, maxLag time.Duration) Checkup {
	ctx, cancel := context.WithTimeout(ctx, max(every, time.Second))
	defer cancel()
	r, err := c.Check(ctx, id, db)
	state, reason, _ := r.Judge(err, maxLag)
	if state == Active {
		return Checkup{}
	}
	return Checkup{State: state, Reason: reason, Since: time.Now()}
}
