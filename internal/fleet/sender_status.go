package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/journal"
)

// Nodes lists the master and every follower it has seen.
func (fl *Fleet) Nodes() []health.Status {
	fl.mu.Lock()
	followers := make([]*Sender, 0, len(fl.followers))
	for _, f := range fl.followers {
		followers = append(followers, f)
	}
	fl.mu.Unlock()
	st := fl.seq.State.Load()
	self := health.Status{ID: fl.node.ID, Role: health.Master, State: health.Active, Reason: "takes the writes", Since: fl.since, Epoch: fl.seq.Epoch, LSN: st.Pos.LSN, Address: fl.cfg.Listen}
	if well := fl.health.Found(); st.Err != nil {
		self.State, self.Reason = health.Failed, st.Err.Error()
	} else if well.State != "" {
		self.State, self.Reason, self.Since = well.State, well.Reason, well.Since
	}
	slices.SortFunc(followers, func(a, b *Sender) int { return strings.Compare(a.ID, b.ID) })
	list := []health.Status{self}
	for _, f := range followers {
		list = append(list, f.Status())
	}
	shared := slices.Clone(list) // the caller completes its own
	fl.latest.Store(&shared)
	return list
}

// maxPeers is how many nodes a heartbeat describes; beyond it, snaps are left out.
const maxPeers = 32

// peers returns the nodes as last listed, for heartbeats: every follower gets one per
// interval, so listing them afresh for each would cost the square of their number.
func (fl *Fleet) peers() []health.Status {
	latest := fl.latest.Load()
	if latest == nil {
		return nil
	}
	if len(*latest) <= maxPeers {
		return *latest
	}
	var list []health.Status
	for _, n := range *latest {
		if n.Role != health.Snap && len(list) < maxPeers {
			list = append(list, n)
		}
	}
	return list
}

// Status returns the follower's status now.
func (f *Sender) Status() health.Status {
	lag := f.Lag()
	f.mu.Lock()
	s := f.status
	s.ID, s.Role, s.LSN, s.Lag, s.Epoch = f.ID, f.role, journal.LSN(f.acked.Load()), lag, f.fleet.seq.Epoch
	s.Maintenance = f.hold
	batches, unheard := f.pending, f.unheard
	if f.link != nil {
		s.Address = f.link.address
	}
	f.mu.Unlock()
	if unheard {
		s.Pending = health.PendingUnknown
		return s
	}
	if s.Role == health.Snap {
		s.Pending = batches // as it said itself
		return s
	}
	end := f.fleet.seq.State.Load().Pos.LSN
	if s.LSN >= end {
		return s // level: nothing to count
	}
	s.Pending = int64(end - s.LSN) // at least that is known if counting takes too long
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if q, err := f.pendingQueue().Stats(ctx); err == nil {
		s.Pending, s.PendingBytes, s.PendingAge = q.Length, q.Bytes, q.Age
	}
	return s
}

// setState changes the state; the caller holds mu.
func (f *Sender) setState(s health.State, reason string) {
	if f.status.State == s && f.status.Reason == reason {
		return
	}
	if f.status.State != s {
		f.status.Since = time.Now()
	}
	f.status.State, f.status.Reason = s, reason
}

// maxReason is how many bytes of a follower's words are kept.
const maxReason = 2 << 10

func (f *Sender) heardBeat(b link.Beat) {
	b.Reason, b.UnwellReason = b.Reason[:min(len(b.Reason), maxReason)], b.UnwellReason[:min(len(b.UnwellReason), maxReason)]
	f.mu.Lock()
	f.pending, f.unwell = b.Pending, health.Checkup{State: b.Unwell, Reason: b.UnwellReason}
	if b.Every > 0 {
		f.every = time.Duration(b.Every)
	}
	switch b.State {
	case health.Failed:
		f.stopped = b.Reason
		f.setState(health.Failed, b.Reason)
	case health.Syncing:
		f.setState(b.State, b.Reason)
	case health.Active, health.Lagging, health.Inactive: // the last by what its own checker has found
		f.stopped = ""
		if f.link != nil && f.status.State == health.Failed {
			f.setState(health.Syncing, "catching up") // it has overcome what had stopped it
		}
	}
	f.mu.Unlock()
	f.judgeLag()
}

// judgeLag sets the state of a connected follower from how far it is behind.
func (f *Sender) judgeLag() {
	lag := f.Lag()
	f.mu.Lock()
	was := f.status.State
	switch {
	case f.link == nil || was == health.Failed || was == health.Joining:
	case was == health.Syncing && (f.base > 0 || lag == health.LagUnknown || lag > f.fleet.cfg.Heartbeat && lag > f.fleet.cfg.MaxLag/2):
	case lag == health.LagUnknown:
		f.setState(f.unwell.Worse(health.Lagging, "how far behind is not known at present"))
	case lag > f.fleet.cfg.MaxLag:
		f.setState(f.unwell.Worse(health.Lagging, fmt.Sprintf("behind by %v", lag.Round(time.Millisecond))))
	default:
		f.setState(f.unwell.Worse(health.Active, "level with the master"))
	}
	now := f.status.State
	f.mu.Unlock()
	if now != was {
		f.fleet.cfg.Changed()
	}
}

// Lag is the age of the oldest entry that the follower lacks.
func (f *Sender) Lag() time.Duration {
	st := f.fleet.seq.State.Load()
	at := journal.LSN(f.acked.Load())
	f.mu.Lock()
	silent := time.Since(f.heard) > 3*max(f.every, f.fleet.cfg.Heartbeat)
	base, silent := f.base, silent || f.unheard
	f.mu.Unlock()
	switch {
	case silent || base > 0:
		return health.LagUnknown
	case at >= st.Pos.LSN:
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	parts, err := f.pendingQueue().Next(ctx, at, journal.LastPart, 1)
	if err != nil || len(parts) == 0 {
		return health.LagUnknown
	}
	return max(0, time.Since(parts[0].Time()))
}
