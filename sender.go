package ddb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// sender is what a master keeps of one follower, connected or not.
type sender struct {
	fleet *fleet
	id    string
	role  Role
	acked atomic.Uint64 // the LSN that the follower has durably
	// through: after a snapshot, the LSN from which on the follower is consistent.
	through atomic.Uint64

	mu      sync.Mutex  // guards what follows
	link    *connection // nil while not connected
	queue   PendingQueue
	status  NodeStatus
	base    LSN // while a snapshot is sent: the entries after it are needed
	pending int64
	heard   time.Time
	every   time.Duration  // the follower's heartbeat interval
	hold    bool           // in maintenance
	unwell  health.Checkup // what the follower's own checker has found
	unheard bool           // it is known from the registry only
	stopped string         // why it has failed; "" once it has got over that
	noted   bool           // it is in the registry
}

// connection is a follower's, as the master has it.
type connection struct {
	session *wire.Session
	stream  net.Conn
	w       *wire.Conn
	wmu     sync.Mutex // wire.Conn takes one writer at a time: entries, beats and verdicts take turns
	address string
	proved  []byte                  // the key that the follower has proved
	queue   string                  // of a snap: queueName
	left    uint64                  // of a snap: the last batch that had left its queue when it connected
	cancel  context.CancelCauseFunc // nil until the streams are open
	ended   error                   // why it is not to begin
	of      *sender
	node    int64 // of a snap: the small number that it knows of
}

// id is that of the follower.
func (l *connection) id() string { return l.of.id }

// keepsWaiting tells that it is this node which makes the follower wait: it counts as heard.
func (l *connection) keepsWaiting() {
	l.of.mu.Lock()
	l.of.heard = time.Now()
	l.of.mu.Unlock()
}

func (l *connection) write(kind uint8, msg any) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	return l.w.Write(kind, msg)
}

// enlist reserves the follower's id for a connection that is about to be let in. What the follower
// has does not count while a snapshot is to replace it.
func (fl *fleet) enlist(h link.Hello, w link.Welcome, proved []byte, address string) (*sender, *connection, error) {
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
			return nil, nil, fmt.Errorf("%w: %q, from %s; give each node an id of its own", ErrDuplicateID, h.ID, f.link.address)
		}
		f.link.close(ErrDuplicateID)
	}
	f.role, f.heard, f.unheard, f.unwell = h.Role, time.Now(), false, health.Checkup{}
	f.link = &connection{of: f, address: address, proved: proved, queue: link.QueueName(h.ID, h.Queue), left: h.Number, node: w.Node}
	var acked LSN
	if f.base = 0; w.Snapshot {
		f.base = 1 // until the snapshot's is known: the follower has nothing to read
		f.stopped = ""
	} else {
		acked = h.Position.LSN
	}
	f.acked.Store(uint64(acked))
	f.queue = fl.newQueue(h.ID, acked)
	f.setState(Joining, "connected")
	return f, f.link, nil
}

// follower returns what is kept of a follower; the caller holds mu.
func (fl *fleet) follower(id string) *sender {
	f := fl.followers[id]
	if f == nil {
		f = &sender{fleet: fl, id: id, queue: fl.newQueue(id, 0)}
		fl.followers[id] = f
	}
	return f
}

func (f *sender) pendingQueue() PendingQueue {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queue
}

func (l *connection) close(err error) {
	if l.cancel != nil {
		l.cancel(err)
	}
}

// close ends the follower's connection, if there is one.
func (f *sender) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link != nil {
		f.link.close(err)
	}
}

// leave notes that the connection is over, unless another has taken its place.
func (f *sender) leave(l *connection, err error) {
	f.mu.Lock()
	if f.link != l {
		f.mu.Unlock()
		return
	}
	f.link = nil
	f.base = 0
	switch {
	case f.status.State == Failed:
	case f.stopped != "": // nothing it did on this connection has shown that it has overcome that
		f.setState(Failed, f.stopped)
	case err != nil:
		f.setState(Inactive, "disconnected: "+link.GoneReason(err))
	default:
		f.setState(Inactive, "disconnected")
	}
	f.mu.Unlock()
	f.fleet.forgetStranger(f)
	f.fleet.acked.Update(func(struct{}) struct{} { return struct{}{} }) // nobody waits for it any more
	f.fleet.cfg.Changed()
}

// turnedAway notes why a follower that is known was not let in, where that needs a person.
func (fl *fleet) turnedAway(id string, err error) {
	fl.mu.Lock()
	f := fl.followers[id]
	fl.mu.Unlock()
	if f == nil || !errors.Is(err, ErrForked) {
		return
	}
	f.mu.Lock()
	if f.link == nil {
		f.stopped = err.Error()
		f.setState(Failed, f.stopped)
	}
	f.mu.Unlock()
	fl.cfg.Changed()
}

// setState changes the state; the caller holds mu.
func (f *sender) setState(s State, reason string) {
	if f.status.State == s && f.status.Reason == reason {
		return
	}
	if f.status.State != s {
		f.status.Since = time.Now()
	}
	f.status.State, f.status.Reason = s, reason
}

// current reports whether the link is still the follower's.
func (f *sender) current(l *connection) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link == l
}

func (f *sender) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link != nil
}

// needs returns the LSN up to which the follower does not need the journal any more; 0 if a snapshot is due.
func (f *sender) needs() LSN {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base > 0 {
		return f.base
	}
	return LSN(f.acked.Load())
}

// run serves the follower until the link breaks.
func (f *sender) run(ctx context.Context, session *wire.Session, l *connection, h link.Hello, w link.Welcome) error {
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
		return ErrDuplicateID
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
func (f *sender) acceptSQL(ctx context.Context, session *wire.Session, tasks *sync.WaitGroup) error {
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
			f.fleet.cfg.ServeSQL(ctx, conn, f.id, role)
		})
	}
}

// begun reads the follower's first message on its stream.
func (l *connection) begun() (*link.Cursor, error) {
	kind, payload, err := l.w.Read()
	if err != nil {
		return nil, err
	}
	if kind != link.MsgFollow {
		return nil, fmt.Errorf("ddb: message of kind %d before the first", kind)
	}
	b, err := wire.DecodeChecked[link.Begin](payload)
	return b.Cursor, err
}

// send ships a snapshot if one is due, which goes on at from if there is one, then the journal from the position on for ever.
func (f *sender) send(ctx context.Context, l *connection, at LSN, snapshot bool, from *link.Cursor) error {
	if snapshot {
		f.mu.Lock()
		f.setState(Syncing, "taking a snapshot")
		f.mu.Unlock()
		base, err := f.sendSnapshot(ctx, l, from)
		if err != nil {
			return err
		}
		at = base
	} else {
		f.mu.Lock()
		f.setState(Syncing, "catching up")
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
func (f *sender) sendEntries(ctx context.Context, l *connection, at LSN) (LSN, error) {
	q := f.pendingQueue()
	index := journal.LastPart // of entry at
	for {
		parts, err := q.Next(ctx, at, index, journal.ReadBytes)
		if err != nil {
			return at, err
		}
		if len(parts) == 0 {
			return at, fmt.Errorf("%w: nothing follows entry %d part %d", ErrGap, at, index)
		}
		for i := range parts {
			if err := l.write(link.MsgPart, &parts[i]); err != nil {
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
func (f *sender) receive(ctx context.Context, l *connection) error {
	var take func(ctx context.Context, payload []byte) error
	if f.role == Snap && f.fleet.intake != nil {
		take = f.fleet.intake.From(l)
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
			if a.LSN > LSN(f.acked.Load()) {
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
				return fmt.Errorf("ddb: follower %s sent a batch, but is no snap", f.id)
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
			f.setState(Failed, r.Text)
			f.mu.Unlock()
			f.fleet.node.Log.Error("a follower has stopped", "id", f.id, "reason", r.Text)
			return r.Err()
		default:
			return fmt.Errorf("ddb: message of kind %d from follower %s", kind, f.id)
		}
	}
}

// maxReason is how many bytes of a follower's words are kept.
const maxReason = 2 << 10

func (f *sender) heardBeat(b link.Beat) {
	b.Reason, b.UnwellReason = b.Reason[:min(len(b.Reason), maxReason)], b.UnwellReason[:min(len(b.UnwellReason), maxReason)]
	f.mu.Lock()
	f.pending, f.unwell = b.Pending, health.Checkup{State: b.Unwell, Reason: b.UnwellReason}
	if b.Every > 0 {
		f.every = time.Duration(b.Every)
	}
	switch b.State {
	case Failed:
		f.stopped = b.Reason
		f.setState(Failed, b.Reason)
	case Syncing:
		f.setState(b.State, b.Reason)
	case Active, Lagging, Inactive: // the last by what its own checker has found
		f.stopped = ""
		if f.link != nil && f.status.State == Failed {
			f.setState(Syncing, "catching up") // it has overcome what had stopped it
		}
	}
	f.mu.Unlock()
	f.judgeLag()
}

// judgeLag sets the state of a connected follower from how far it is behind.
func (f *sender) judgeLag() {
	lag := f.lag()
	f.mu.Lock()
	was := f.status.State
	switch {
	case f.link == nil || was == Failed || was == Joining:
	case was == Syncing && (f.base > 0 || lag == LagUnknown || lag > f.fleet.cfg.Heartbeat && lag > f.fleet.cfg.MaxLag/2):
	case lag == LagUnknown:
		f.setState(f.unwell.Worse(Lagging, "how far behind is not known at present"))
	case lag > f.fleet.cfg.MaxLag:
		f.setState(f.unwell.Worse(Lagging, fmt.Sprintf("behind by %v", lag.Round(time.Millisecond))))
	default:
		f.setState(f.unwell.Worse(Active, "level with the master"))
	}
	now := f.status.State
	f.mu.Unlock()
	if now != was {
		f.fleet.cfg.Changed()
	}
}

// lag is the age of the oldest entry that the follower lacks.
func (f *sender) lag() time.Duration {
	st := f.fleet.seq.State.Load()
	at := LSN(f.acked.Load())
	f.mu.Lock()
	silent := time.Since(f.heard) > 3*max(f.every, f.fleet.cfg.Heartbeat)
	base, silent := f.base, silent || f.unheard
	f.mu.Unlock()
	switch {
	case silent || base > 0:
		return LagUnknown
	case at >= st.Pos.LSN:
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	parts, err := f.pendingQueue().Next(ctx, at, journal.LastPart, 1)
	if err != nil || len(parts) == 0 {
		return LagUnknown
	}
	return max(0, time.Since(parts[0].Time()))
}

// beat tells the follower that the master lives, and what the cluster looks like.
func (f *sender) beat(ctx context.Context, l *connection) error {
	return link.Beats(ctx, f.fleet.cfg.Heartbeat, func() error {
		f.mu.Lock()
		every := max(f.every, f.fleet.cfg.Heartbeat)
		silent := time.Since(f.heard)
		f.mu.Unlock()
		if silent > 3*every {
			return fmt.Errorf("silent for %v", silent.Round(time.Millisecond))
		}
		f.judgeLag()
		return l.write(link.MsgBeat, link.Beat{Position: f.fleet.seq.State.Load().Pos, At: time.Now().UnixNano(),
			Nodes: f.fleet.peers(), Every: int64(f.fleet.cfg.Heartbeat)})
	})
}

// newQueue makes the pending queue of a follower.
func (fl *fleet) newQueue(id string, acked LSN) PendingQueue {
	if fl.cfg.Queue != nil {
		return fl.cfg.Queue(id, fl.node.Journal, acked)
	}
	return journal.NewRecentQueue(fl.node.Journal, acked, &fl.seq.Recent, func() LSN { return fl.seq.State.Load().Pos.LSN })
}

// turnOut ends the connections of those who may not come in any more.
func (fl *fleet) turnOut() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	access := fl.access.Load()
	for _, f := range fl.followers {
		f.mu.Lock()
		if l := f.link; l != nil && !access.Admits(f.id, f.role, l.proved) {
			fl.node.Log.Warn("a follower is let in no more", "id", f.id, "from", l.address)
			l.ended = errTurnedOut
			l.close(errTurnedOut)
		}
		f.mu.Unlock()
	}
}

// errTurnedOut is why a connection ends that was let in by an access that has been replaced.
var errTurnedOut = fmt.Errorf("%w any more: its key or its place in Options.Nodes is gone", ErrUnknownNode)

// dialSQL opens a stream on which the follower answers statements.
func (f *sender) dialSQL(ctx context.Context) (net.Conn, error) {
	var session *wire.Session
	f.mu.Lock()
	if f.link != nil {
		session = f.link.session // nil until it is let in
	}
	f.mu.Unlock()
	if session == nil {
		return nil, fmt.Errorf("ddb: node %s is not connected: %w", f.id, net.ErrClosed)
	}
	return session.Open(ctx)
}
