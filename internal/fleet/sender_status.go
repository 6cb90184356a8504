package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/health"
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
