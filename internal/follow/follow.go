// Package follow links a node to its master: it connects again and again, takes a snapshot if it must, gives what comes to an
// applier, in order, and acknowledges it.
//
// A Follower owns the link, the applier and the node's state, and promises that reads are never served from a database that
// shows no state of the master's (R4). What a node has besides following, as a snap does, it says as a Local; it is given what
// it must know of the program's node in a Config.
package follow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
	"github.com/ddb-project/ddb/transport"
)

// Follower is the part that replica and snap share: it connects to the master, takes a
// snapshot if it must, applies entries in order and acknowledges them.
//
//	             connect                welcome             level
//	Inactive ------------> Joining ----------------> Syncing -----> Active <--> Lagging
//	    ^        dial         |        receive                  settle     settle
//	    |                     | refused, or an entry cannot be applied
//	    +--- link lost <------+--------------------------------------------> Failed
//
// Invariants, beside R1 to R3 of package apply:
//
//	R4  Reads are served only from the end of a snapshot's Through on, never while one is loaded.
type Follower struct {
	cfg    Config
	node   *store.Store
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	apply  *apply.Applier
	local  Local

	anew chan struct{} // capacity 1: what may have kept it from connecting has changed

	lockSeen atomic.Uint64 // of the lock's Again, when the connection began

	state watch.Value[following]
	mu    sync.Mutex // guards what follows
	live  *upstream  // nil while not connected
	peers []health.Status
}

// Config is what a follower needs to know of its node.
type Config struct {
	Role      health.Role         // Replica or Snap
	Master    string              // the master's address
	Transport transport.Transport // leads to it
	// Keys returns the secrets that the node proves to its master, at each connection.
	Keys func() [][]byte
	// Rejoin lets the node replace data that are not its master's.
	Rejoin    bool
	Heartbeat time.Duration // between two words to the master, which is silent after three of them
	MaxLag    time.Duration // beyond which the node is lagging
	// JournalMaxAge and JournalMaxBytes limit what the node keeps of its history.
	JournalMaxAge   time.Duration
	JournalMaxBytes int64
	// OnProgress is told how far a snapshot has come. Nil: nobody is.
	OnProgress func(health.Progress)
	// Health is what the program's checker has found.
	Health *health.Self
	// Changed is called when the node's state changes.
	Changed func()
	// ServeSQL answers the statements that the master sends over conn.
	ServeSQL func(ctx context.Context, conn net.Conn)
}

// detachFirst takes a database out of the role that it has.
var detachFirst = remedy.Remedy{Action: remedy.Detach, Text: "Detach it first"}

// Open makes the database a follower's, which begins to follow with [Follower.Begin]. It returns ErrWrongRole for another
// node's database, and ErrOptions for one that holds foreign data, unless Rejoin is set.
func Open(ctx context.Context, n *store.Store, cfg Config) (*Follower, error) {
	f := &Follower{cfg: cfg, node: n, local: replica{apply.Passive{Store: n}}, anew: make(chan struct{}, 1)}
	role, known, err := n.Meta(ctx, n.DB, store.MetaRole)
	if err != nil {
		return nil, err
	}
	was := health.Role(role)
	if known && was != cfg.Role && !(cfg.Rejoin && was == health.Master) {
		ways := []remedy.Remedy{{Action: remedy.SetRole, Value: string(was), Text: fmt.Sprintf("open it with Role %q", was)}, detachFirst}
		if was == health.Master {
			ways = append(ways, remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin to replace its data by the new master's"})
		}
		return nil, remedy.New(fault.ErrWrongRole, fmt.Sprintf("it is a %s's", was), ways...)
	}
	if id, ok, err := n.Meta(ctx, n.DB, store.MetaNode); err != nil {
		return nil, err
	} else if ok && was == health.Snap && string(id) != n.ID {
		// The master counts each batch once by the snap's id and the batch's number.
		return nil, remedy.New(fault.ErrWrongRole, fmt.Sprintf("it is that of snap %s", id),
			remedy.Remedy{Action: remedy.SetID, Value: string(id), Text: fmt.Sprintf("open it with ID %q", id)}, detachFirst)
	}
	if !known {
		if err := f.refuseForeignData(ctx); err != nil {
			return nil, err
		}
	}
	if f.apply, err = apply.New(ctx, n, apply.Config{Role: cfg.Role, Rejoin: cfg.Rejoin, OnProgress: cfg.OnProgress, Rebuilds: func(lsn journal.LSN) {
		f.setStatus(func(s *following) { s.through = max(s.through, lsn); f.settle(s) })
	}}); err != nil {
		return nil, err
	}
	if known && was == health.Master {
		if err := f.abdicate(ctx); err != nil {
			return nil, err
		}
	}
	f.setStatus(func(s *following) {
		s.pos, s.through = f.apply.Position(), f.apply.ConsistentFrom()
		s.status.State, s.status.Reason, s.status.Since = health.Inactive, "not connected yet", time.Now()
	})
	if err := errors.Join(n.SetMeta(ctx, n.DB, store.MetaRole, []byte(cfg.Role)), n.SetMeta(ctx, n.DB, store.MetaNode, []byte(n.ID))); err != nil {
		return nil, err
	}
	return f, nil
}

// abdicate gives up the history of a former master: writes of its own may be in no entry, so
// nothing but a snapshot makes it equal to the new master again.
func (f *Follower) abdicate(ctx context.Context) error {
	if err := keys.Install(ctx, f.node, f.node.DB, nil, 0); err != nil {
		return err
	}
	if err := f.node.Engine.RemoveCapture(ctx, f.node.DB); err != nil {
		return fmt.Errorf("node %s: remove triggers: %w", f.node.ID, err)
	}
	defer f.apply.Close()
	return f.apply.Forget(ctx)
}

// refuseForeignData keeps a snapshot from replacing data that ddb did not put there.
func (f *Follower) refuseForeignData(ctx context.Context) error {
	cat, err := f.node.LoadTables(ctx, f.node.DB)
	if err != nil {
		return err
	}
	for _, t := range cat.List {
		if !t.Own && !f.cfg.Rejoin {
			return remedy.New(fault.ErrOptions, fmt.Sprintf("the database of the new %s %s holds table %s already, which a snapshot would replace", f.cfg.Role, f.node.ID, f.node.Name(t)),
				remedy.Remedy{Text: "use an empty database"}, remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin to give its data up"})
		}
	}
	return nil
}

// Begin starts following. local is what the node has besides; nil for a replica, which has nothing.
func (f *Follower) Begin(local Local) {
	if local != nil {
		f.local = local
		f.apply.Use(local)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.tasks.Go(func() { f.local.Run(ctx) })
	f.tasks.Go(func() { f.follow(ctx) })
	f.tasks.Go(func() { f.retain(ctx) })
}

// retain keeps the follower's journal within the limits: it serves nobody until the node is promoted.
func (f *Follower) retain(ctx context.Context) {
	for watch.Sleep(ctx, max(10*f.cfg.Heartbeat, 5*time.Second)) == nil {
		if err := f.node.TrimJournal(ctx, f.cfg.JournalMaxAge, f.cfg.JournalMaxBytes, func(through journal.LSN) journal.LSN { return through }); err != nil && ctx.Err() == nil {
			f.node.Log.Warn("the journal could not be trimmed", "error", err)
		}
	}
}

// Again makes the node try at once to connect, if it waits to do so: what may have kept it from it has changed.
func (f *Follower) Again() { watch.Signal(f.anew) }

// Stop ends following, and waits for it.
func (f *Follower) Stop() {
	f.cancel()
	f.tasks.Wait()
	f.apply.Close()
}

// fatal lists the errors that trying again does not cure.
func fatal(err error) bool {
	for _, e := range []error{fault.ErrForked, fault.ErrOtherCluster, fault.ErrOldEpoch, fault.ErrVersion, fault.ErrDamaged, fault.ErrUnsettled, dialect.ErrDiverged, fault.ErrUnknownNode, fault.ErrUnknownMaster, fault.ErrWrongRole, fault.ErrOptions, fault.ErrSecondMaster, dialect.ErrSchemaMismatch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// mostBackoff is the longest pause between two attempts to connect.
const mostBackoff = 15 * time.Second

// follow connects again and again. After a fatal error it goes on trying too, but
// slowly and without hiding it: the cause may be removed on the master.
func (f *Follower) follow(ctx context.Context) {
	backoff := f.cfg.Heartbeat / 4
	for ctx.Err() == nil {
		before := f.state.Load().pos
		err := f.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if f.state.Load().pos != before || errors.Is(err, wire.ErrSessionClosed) {
			// It got somewhere, or was let in and then the link failed rather than the nodes: a link
			// that comes and goes is used whenever it is there.
			backoff = f.cfg.Heartbeat / 4
		}
		switch {
		case fatal(err):
			if f.state.Load().status.State != health.Failed {
				at := f.state.Load().pos
				f.node.Log.Error("the node has stopped following", "epoch", at.Epoch, "lsn", at.LSN, "reason", err)
			}
			f.end(health.Failed, err)
			backoff = mostBackoff
		default:
			switch s := f.state.Load(); {
			case s.status.State != health.Inactive && s.status.State != health.Failed:
				f.node.Log.Warn("the link to the master is lost", "epoch", s.pos.Epoch, "lsn", s.pos.LSN, "error", err)
			case !sameCause(s.cause, err): // once for each reason, however long it lasts
				f.node.Log.Warn("no link to the master", "master", f.cfg.Master, "epoch", s.pos.Epoch, "lsn", s.pos.LSN, "error", err)
			}
			f.end(health.Inactive, err)
		}
		// Jitter keeps followers that were cut off together from coming back together.
		pause := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-pause.C:
		case <-f.anew:
		case <-ctx.Done():
		}
		pause.Stop()
		backoff = min(2*backoff, mostBackoff)
	}
}

// sameCause reports whether two connections failed for the same reason. Texts would differ by the ports of this side.
func sameCause(a, b error) bool {
	return a != nil && b != nil && rootCause(a) == rootCause(b)
}

func rootCause(err error) string {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}

// once is one connection from dial to end.
func (f *Follower) once(ctx context.Context) error {
	if err := f.node.KeepLock(ctx); err != nil {
		return err
	}
	f.lockSeen.Store(f.node.Lock.Again.Load())
	if err := f.apply.Reload(ctx); err != nil {
		return err
	}
	// The last connection may have ended between a commit and its being noted here.
	f.setStatus(func(s *following) { s.pos, s.through = f.apply.Position(), f.apply.ConsistentFrom() })
	dial, cancelDial := context.WithTimeout(ctx, link.HelloTimeout)
	conn, err := f.cfg.Transport.Dial(dial, f.cfg.Master)
	cancelDial()
	if err != nil {
		return fmt.Errorf("%w: %w", fault.ErrNoMaster, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := link.CloseWith(ctx, conn)
	defer stop()
	from, err := f.interrupted(ctx)
	if err != nil {
		return err
	}
	g, w, err := link.Introduce(conn, f.cfg.Keys(), func(g link.Greeting) (link.Hello, error) { return f.hello(ctx, g, from) })
	if err != nil {
		return fmt.Errorf("node %s: connect to %s: %w", f.node.ID, f.cfg.Master, err)
	}
	if f.state.Load().status.State != health.Failed {
		f.enter(health.Joining, "let in by "+g.Master)
	}
	session, err := wire.Client(conn, wire.SessionConfig{})
	if err != nil {
		return err
	}
	defer session.Close()
	stream, err := session.Open(ctx)
	if err != nil {
		return err
	}
	up := &upstream{session: session, every: f.cfg.Heartbeat, prompt: w.Prompt}
	up.w = wire.NewConn(link.HeardConn{Conn: stream, Heard: func() { up.read.Store(time.Now().UnixNano()) }}, link.FrameBytes)
	if f.node.ClusterID != g.Cluster {
		from = nil
	}
	if err := up.write(link.MsgFollow, link.Begin{Cursor: from}); err != nil {
		return err
	}
	if err := f.adopt(ctx, g, w); err != nil {
		if fatal(err) {
			f.refuse(up, err)
		}
		return err
	}
	return f.attend(ctx, cancel, up, w)
}
