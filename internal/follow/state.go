package follow

import (
	"context"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// following is how a follower stands.
type following struct {
	status  health.Status
	pos     journal.Position
	master  journal.Position // the master's end when last heard
	heard   time.Time        // when that was
	applied time.Time        // snapshot time of the entry at pos
	level   time.Time        // when the node last knew that it lacked nothing
	as      time.Time        // the master's clock in its last heartbeat
	through journal.LSN      // after a snapshot: consistent from here on
	cause   error            // why the last connection ended; nil before that
}

// setStatus changes the state and tells who listens if it did.
func (f *Follower) setStatus(change func(*following)) {
	was := f.state.Load().status
	f.state.Update(func(s following) following {
		change(&s)
		if s.status.State != was.State {
			s.status.Since = time.Now()
		}
		return s
	})
	if f.state.Load().status.State != was.State {
		f.cfg.Changed()
	}
}

func (f *Follower) enter(s health.State, reason string) {
	f.setStatus(func(st *following) { st.status.State, st.status.Reason = s, reason })
}

// end enters the state that the end of a connection leads to.
func (f *Follower) end(s health.State, err error) {
	f.setStatus(func(st *following) { st.status.State, st.status.Reason, st.cause = s, link.GoneReason(err), err })
}

func (f *Follower) heardBeat(up *upstream, b link.Beat) {
	f.mu.Lock()
	f.peers = b.Nodes
	if b.Every > 0 {
		up.every = time.Duration(b.Every)
	}
	f.mu.Unlock()
	f.setStatus(func(s *following) {
		s.master, s.heard, s.as = b.Position, time.Now(), time.Unix(0, b.At)
		if s.pos.LSN >= s.master.LSN {
			s.level = s.heard
		}
		f.settle(s)
	})
}

// settle moves between the states in which the node is connected.
func (f *Follower) settle(s *following) {
	switch s.status.State {
	case health.Inactive, health.Failed:
		if s.status.State == health.Failed && s.pos != s.master {
			return
		}
		fallthrough
	case health.Joining:
		if s.heard.IsZero() {
			return
		}
		fallthrough
	default:
		lag := s.lag()
		switch {
		case s.pos.LSN < s.through || s.pos.LSN == 0 && s.master.LSN > 0 || s.through == apply.Loading:
			s.status.State, s.status.Reason = health.Syncing, "catching up"
		case lag == health.LagUnknown:
			s.status.State, s.status.Reason = health.Syncing, "catching up"
		case lag > f.cfg.MaxLag:
			s.status.State, s.status.Reason = health.Lagging, fmt.Sprintf("behind by %v", lag.Round(time.Millisecond))
		case s.status.State == health.Active || lag <= max(f.cfg.Heartbeat, f.cfg.MaxLag/2):
			s.status.State, s.status.Reason = health.Active, "level with the master"
		default:
			s.status.State, s.status.Reason = health.Syncing, "catching up"
		}
		s.status.State, s.status.Reason = f.cfg.Health.Found().Worse(s.status.State, s.status.Reason)
	}
}

// CheckedUp takes over what the program's checker has found. That all is well again shows with the next heartbeat.
func (f *Follower) CheckedUp() {
	f.setStatus(func(s *following) {
		s.status.State, s.status.Reason = f.cfg.Health.Found().Worse(s.status.State, s.status.Reason)
	})
}

// loaded notes the end of a snapshot. Where the master had no more when it was last heard, the node lacked nothing at that
// time: the age of the first entry that comes then is known, and the node stays active while it applies it.
func (s *following) loaded(pos journal.Position, through journal.LSN) {
	s.pos, s.through = pos, through
	if s.master.LSN <= pos.LSN {
		s.level = s.heard
	}
}

// lag estimates how far behind the master the node is, from what it has heard.
func (s *following) lag() time.Duration {
	if s.heard.IsZero() {
		return health.LagUnknown
	}
	if s.pos.LSN >= s.master.LSN {
		return 0
	}
	since := s.applied // what it lacks is younger than what it has, and than when it lacked nothing
	if s.level.After(since) {
		since = s.level
	}
	if since.IsZero() {
		return health.LagUnknown // it has no entry of which it knows the age
	}
	return max(0, time.Since(since))
}

// staleness is the age of the state that the node shows, at most: entries that it has not heard
// of yet count too. Where the clocks of the two machines differ, the larger answer counts.
func (s *following) staleness() time.Duration {
	if s.level.IsZero() {
		return health.LagUnknown
	}
	age := time.Since(s.level)
	if s.level.Equal(s.heard) {
		age = max(age, time.Since(s.as))
	}
	return age
}

// Status returns how the node stands now.
func (f *Follower) Status() health.Status {
	st := f.state.Load()
	s := st.status
	s.ID, s.Role, s.LSN, s.Epoch, s.Local, s.Lag = f.node.ID, f.cfg.Role, st.pos.LSN, st.pos.Epoch, true, st.lag()
	if st.cause != nil && s.Reason == link.GoneReason(st.cause) {
		s.Remedies = remedy.Of(st.cause)
	}
	if time.Since(st.heard) > 3*f.cfg.Heartbeat {
		s.Lag = health.LagUnknown
	}
	q, queues := f.local.Pending()
	switch {
	case queues:
		s.Pending, s.PendingBytes, s.PendingAge = q.Length, q.Bytes, q.Age
	case st.master.LSN > st.pos.LSN:
		s.Pending = int64(st.master.LSN - st.pos.LSN)
	}
	return s
}

// Staleness is the age of what the node shows, at most.
func (f *Follower) Staleness() time.Duration {
	st := f.state.Load()
	return st.staleness()
}

// Stands returns the end of the history that is applied, and when the entry there was made by its master's clock: zero if
// this process has applied none.
func (f *Follower) Stands() (journal.Position, time.Time) {
	st := f.state.Load()
	return st.pos, st.applied
}

// Position is the end of the history that is applied.
func (f *Follower) Position() journal.Position { return f.state.Load().pos }

// MasterEnd is the last entry of the master's, as last heard.
func (f *Follower) MasterEnd() journal.LSN { return f.state.Load().master.LSN }

// Others lists the other nodes as the master has told of them last.
func (f *Follower) Others() []health.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []health.Status
	for _, p := range f.peers {
		if p.ID == f.node.ID {
			continue
		}
		if f.live == nil {
			p.State, p.Reason, p.Lag = health.Inactive, "not known while the link to the master is lost", health.LagUnknown
		}
		list = append(list, p)
	}
	return list
}

// WaitReady waits until the node is active. It returns the reason if the node has failed, or the context's error.
func (f *Follower) WaitReady(ctx context.Context) error {
	for {
		st, changed := f.state.Watch()
		switch st.status.State {
		case health.Active:
			return nil
		case health.Failed:
			return fmt.Errorf("node %s has failed: %w", f.node.ID, st.cause)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if st.status.State == health.Inactive && st.cause != nil && !f.Linked() {
				return fmt.Errorf("node %s is %s: %w: %w", f.node.ID, st.status.State, st.cause, ctx.Err())
			}
			return fmt.Errorf("node %s is %s (%s): %w", f.node.ID, st.status.State, st.status.Reason, ctx.Err())
		}
	}
}

// Readable reports whether the node has data that a snap may go on with, connected or not.
func (f *Follower) Readable() bool {
	st := f.state.Load()
	return st.pos.LSN > 0 && st.through != apply.Loading
}

// Whole reports whether what the database shows is a state that the master had, not a copy under way.
func (f *Follower) Whole() bool {
	st := f.state.Load()
	return st.pos.LSN > 0 && st.pos.LSN >= st.through
}
