package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// Sender is what a master keeps of one follower, connected or not.
type Sender struct {
	fleet *Fleet
	ID    string
	role  health.Role
	acked atomic.Uint64 // the LSN that the follower has durably
	// through: after a snapshot, the LSN from which on the follower is consistent.
	through atomic.Uint64

	mu      sync.Mutex  // guards what follows
	link    *Connection // nil while not connected
	queue   journal.PendingQueue
	status  health.Status
	base    journal.LSN // while a snapshot is sent: the entries after it are needed
	pending int64
	heard   time.Time
	every   time.Duration  // the follower's heartbeat interval
	hold    bool           // in maintenance
	unwell  health.Checkup // what the follower's own checker has found
	unheard bool           // it is known from the registry only
	stopped string         // why it has failed; "" once it has got over that
	noted   bool           // it is in the registry
}

// Acked returns how far the follower has the history durably.
func (f *Sender) Acked() journal.LSN { return journal.LSN(f.acked.Load()) }

// Hold notes whether the follower is in maintenance, for its status.
func (f *Sender) Hold(hold bool) {
	f.mu.Lock()
	f.hold = hold
	f.mu.Unlock()
}

// enlist reserves the follower's id for a connection that is about to be let in. What the follower
// has does not count while a snapshot is to replace it.
func (fl *Fleet) enlist(h link.Hello, w link.Welcome, proved []byte, address string) (*Sender, *Connection, error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	f := fl.follower(h.ID)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !fl.access.Load().Admits(h.ID, h.Role, proved) { // it has been replaced since
		return nil, nil, errTurnedOut
	}
	if f.link != nil {
		if time.Since(f.heard) < 3*fl.cfg.Heartbeat {
			return nil, nil, fmt.Errorf("%w: %q, from %s; give each node an id of its own", fault.ErrDuplicateID, h.ID, f.link.address)
		}
		f.link.Close(fault.ErrDuplicateID)
	}
	f.role, f.heard, f.unheard, f.unwell = h.Role, time.Now(), false, health.Checkup{}
	f.link = &Connection{of: f, address: address, proved: proved, queue: link.QueueName(h.ID, h.Queue), left: h.Number, node: w.Node}
	var acked journal.LSN
	if f.base = 0; w.Snapshot {
		f.base = 1 // until the snapshot's is known: the follower has nothing to read
		f.stopped = ""
	} else {
		acked = h.Position.LSN
	}
	f.acked.Store(uint64(acked))
	f.queue = fl.newQueue(h.ID, acked)
	f.setState(health.Joining, "connected")
	return f, f.link, nil
}

// follower returns what is kept of a follower; the caller holds mu.
func (fl *Fleet) follower(id string) *Sender {
	f := fl.followers[id]
	if f == nil {
		f = &Sender{fleet: fl, ID: id, queue: fl.newQueue(id, 0)}
		fl.followers[id] = f
	}
	return f
}

func (f *Sender) pendingQueue() journal.PendingQueue {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queue
}

// close ends the follower's connection, if there is one.
func (f *Sender) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link != nil {
		f.link.Close(err)
	}
}

// leave notes that the connection is over, unless another has taken its place.
func (f *Sender) leave(l *Connection, err error) {
	f.mu.Lock()
	if f.link != l {
		f.mu.Unlock()
		return
	}
	f.link = nil
	f.base = 0
	switch {
	case f.status.State == health.Failed:
	case f.stopped != "": // nothing it did on this connection has shown that it has overcome that
		f.setState(health.Failed, f.stopped)
	case err != nil:
		f.setState(health.Inactive, "disconnected: "+link.GoneReason(err))
	default:
		f.setState(health.Inactive, "disconnected")
	}
	f.mu.Unlock()
	f.fleet.forgetStranger(f)
	f.fleet.acked.Update(func(struct{}) struct{} { return struct{}{} }) // nobody waits for it any more
	f.fleet.cfg.Changed()
}

// turnedAway notes why a follower that is known was not let in, where that needs a person.
func (fl *Fleet) turnedAway(id string, err error) {
	fl.mu.Lock()
	f := fl.followers[id]
	fl.mu.Unlock()
	if f == nil || !errors.Is(err, fault.ErrForked) {
		return
	}
	f.mu.Lock()
	if f.link == nil {
		f.stopped = err.Error()
		f.setState(health.Failed, f.stopped)
	}
	f.mu.Unlock()
	fl.cfg.Changed()
}

// current reports whether the link is still the follower's.
func (f *Sender) current(l *Connection) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link == l
}

func (f *Sender) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link != nil
}

// needs returns the LSN up to which the follower does not need the journal any more; 0 if a snapshot is due.
func (f *Sender) needs() journal.LSN {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base > 0 {
		return f.base
	}
	return journal.LSN(f.acked.Load())
}

// run serves the follower until the link breaks.
func (f *Sender) run(ctx context.Context, session *wire.Session, l *Connection, h link.Hello, w link.Welcome) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := link.CloseWith(ctx, session)
	defer stop()
	stream, err := session.Accept()
	if err != nil {
		return err
	}
	defer stream.Close()
	heard := func() {
		f.mu.Lock()
		f.heard = time.Now()
		f.mu.Unlock()
	}
	f.mu.Lock()
	replaced, ended := f.link != l, l.ended
	l.session, l.stream, l.w, l.cancel = session, stream, wire.NewConn(link.HeardConn{Conn: stream, Heard: heard}, link.FrameBytes), cancel
	f.mu.Unlock()
	if replaced {
		return fault.ErrDuplicateID
	} else if ended != nil {
		return ended
	}
	f.fleet.cfg.Changed()
	from, err := l.begun()
	if err != nil {
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel(nil)
	task := func(run func() error) {
		tasks.Go(func() { cancel(run()) })
	}
	task(func() error { return f.receive(ctx, l) })
	task(func() error { return f.beat(ctx, l) })
	task(func() error { return f.acceptSQL(ctx, session, &tasks) })
	err = f.send(ctx, l, h.Position.LSN, w.Snapshot, from)
	cancel(err)
	return context.Cause(ctx)
}

// acceptSQL serves the streams on which the follower sends statements.
func (f *Sender) acceptSQL(ctx context.Context, session *wire.Session, tasks *sync.WaitGroup) error {
	f.mu.Lock()
	role := f.role
	f.mu.Unlock()
	for {
		conn, err := session.Accept()
		if err != nil {
			return err
		}
		tasks.Go(func() {
			defer conn.Close()
			f.fleet.cfg.ServeSQL(ctx, conn, f.ID, role)
		})
	}
}

// send ships a snapshot if one is due, which goes on at from if there is one, then the journal from the position on for ever.
func (f *Sender) send(ctx context.Context, l *Connection, at journal.LSN, snapshot bool, from *link.Cursor) error {
	if snapshot {
		f.mu.Lock()
		f.setState(health.Syncing, "taking a snapshot")
		f.mu.Unlock()
		base, err := f.sendSnapshot(ctx, l, from)
		if err != nil {
			return err
		}
		at = base
	} else {
		f.mu.Lock()
		f.setState(health.Syncing, "catching up")
		f.mu.Unlock()
		if err := f.note(ctx, l); err != nil {
			return err
		}
	}
	for {
		st, changed := f.fleet.seq.State.Watch()
		for at < st.Pos.LSN {
			next, err := f.sendEntries(ctx, l, at)
			if err != nil {
				return err
			}
			at = next
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendEntries ships what follows entry at, as much as one read gives, and returns how far it came.
func (f *Sender) sendEntries(ctx context.Context, l *Connection, at journal.LSN) (journal.LSN, error) {
	q := f.pendingQueue()
	index := journal.LastPart // of entry at
	for {
		parts, err := q.Next(ctx, at, index, journal.ReadBytes)
		if err != nil {
			return at, err
		}
		if len(parts) == 0 {
			return at, fmt.Errorf("%w: nothing follows entry %d part %d", fault.ErrGap, at, index)
		}
		for i := range parts {
			if err := l.Write(link.MsgPart, &parts[i]); err != nil {
				return at, err
			}
		}
		last := parts[len(parts)-1]
		if last.Final {
			return last.LSN, nil
		}
		at, index = last.LSN, last.Index
	}
}

// receive reads what the follower says.
func (f *Sender) receive(ctx context.Context, l *Connection) error {
	var take func(ctx context.Context, payload []byte) error
	if f.role == health.Snap && f.fleet.Intake != nil {
		take = f.fleet.Intake.From(l)
	}
	for {
		kind, payload, err := l.w.Read()
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.heard = time.Now()
		f.mu.Unlock()
		switch kind {
		case link.MsgAck:
			a, err := wire.DecodeChecked[link.Ack](payload)
			if err != nil {
				return err
			}
			if !f.current(l) {
				return net.ErrClosed // another connection has taken this one's place
			}
			if err := f.pendingQueue().Ack(ctx, a.LSN); err != nil {
				return err
			}
			f.mu.Lock()
			if a.LSN > journal.LSN(f.acked.Load()) {
				f.stopped = ""
			}
			watch.Raise(&f.acked, uint64(a.LSN))
			f.base = 0 // a snapshot, if one was sent, is loaded
			f.mu.Unlock()
			f.fleet.acked.Update(func(struct{}) struct{} { return struct{}{} })
			if a.LSN >= f.fleet.seq.State.Load().Pos.LSN {
				f.judgeLag()
			}
		case link.MsgBeat:
			b, err := wire.DecodeChecked[link.Beat](payload)
			if err != nil {
				return err
			}
			f.heardBeat(b)
		case link.MsgBatch:
			if take == nil {
				return fmt.Errorf("follower %s sent a batch, but is no snap", f.ID)
			}
			if err := take(ctx, payload); err != nil {
				return err
			}
		case link.MsgRefusal:
			r, err := wire.DecodeChecked[link.Refusal](payload)
			if err != nil {
				return err
			}
			r.Text = r.Text[:min(len(r.Text), maxReason)]
			f.mu.Lock()
			f.stopped = r.Text
			f.setState(health.Failed, r.Text)
			f.mu.Unlock()
			f.fleet.node.Log.Error("a follower has stopped", "id", f.ID, "reason", r.Text)
			return r.Err()
		default:
			return fmt.Errorf("message of kind %d from follower %s", kind, f.ID)
		}
	}
}

// beat tells the follower that the master lives, and what the cluster looks like.
func (f *Sender) beat(ctx context.Context, l *Connection) error {
	return link.Beats(ctx, f.fleet.cfg.Heartbeat, func() error {
		f.mu.Lock()
		every := max(f.every, f.fleet.cfg.Heartbeat)
		silent := time.Since(f.heard)
		f.mu.Unlock()
		if silent > 3*every {
			return fmt.Errorf("silent for %v", silent.Round(time.Millisecond))
		}
		f.judgeLag()
		return l.Write(link.MsgBeat, link.Beat{Position: f.fleet.seq.State.Load().Pos, At: time.Now().UnixNano(),
			Nodes: f.fleet.peers(), Every: int64(f.fleet.cfg.Heartbeat)})
	})
}

// newQueue makes the pending queue of a follower.
func (fl *Fleet) newQueue(id string, acked journal.LSN) journal.PendingQueue {
	if fl.cfg.Queue != nil {
		return fl.cfg.Queue(id, fl.node.Journal, acked)
	}
	return journal.NewRecentQueue(fl.node.Journal, acked, &fl.seq.Recent, func() journal.LSN { return fl.seq.State.Load().Pos.LSN })
}

// TurnOut ends the connections of those who may not come in any more.
func (fl *Fleet) TurnOut() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	access := fl.access.Load()
	for _, f := range fl.followers {
		f.mu.Lock()
		if l := f.link; l != nil && !access.Admits(f.ID, f.role, l.proved) {
			fl.node.Log.Warn("a follower is let in no more", "id", f.ID, "from", l.address)
			l.ended = errTurnedOut
			l.Close(errTurnedOut)
		}
		f.mu.Unlock()
	}
}

// errTurnedOut is why a connection ends that was let in by an access that has been replaced.
var errTurnedOut = fmt.Errorf("%w any more: its key or its place in Options.Nodes is gone", fault.ErrUnknownNode)

// DialSQL opens a stream on which the follower answers statements.
func (f *Sender) DialSQL(ctx context.Context) (net.Conn, error) {
	var session *wire.Session
	f.mu.Lock()
	if f.link != nil {
		session = f.link.session // nil until it is let in
	}
	f.mu.Unlock()
	if session == nil {
		return nil, fmt.Errorf("node %s is not connected: %w", f.ID, net.ErrClosed)
	}
	return session.Open(ctx)
}
