package follow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// upstream is the connection to the master.
type upstream struct {
	session *wire.Session
	w       *wire.Conn
	wmu     sync.Mutex
	every   time.Duration // the master's heartbeat interval
	prompt  bool          // somebody may wait for the acknowledgements
	read    atomic.Int64  // unix nanoseconds when it was last heard; far ahead while the applier makes it wait
}

func (u *upstream) write(kind uint8, msg any) error {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	return u.w.Write(kind, msg)
}

// refuse tells the master why the node does not go on, and waits until it has heard that and hangs up: what was not read
// when a connection is closed may be lost.
func (f *Follower) refuse(up *upstream, err error) {
	if up.write(link.MsgRefusal, link.RefusalOf(err)) != nil {
		return
	}
	limit := time.NewTimer(f.cfg.Heartbeat)
	defer limit.Stop()
	select {
	case <-up.session.Done():
	case <-limit.C:
	}
}

// attend runs the tasks of one connection until the first of them ends.
func (f *Follower) attend(ctx context.Context, cancel context.CancelCauseFunc, up *upstream, w link.Welcome) error {
	f.setLive(up)
	defer f.setLive(nil)
	inbox := newInbox()
	var tasks sync.WaitGroup
	task := func(run func() error) { tasks.Go(func() { cancel(run()) }) }
	task(func() error { return f.receive(ctx, up, inbox) })
	task(func() error { return f.beat(ctx, up) })
	task(func() error {
		for {
			conn, err := up.session.Accept()
			if err != nil {
				return err
			}
			tasks.Go(func() {
				defer conn.Close()
				f.cfg.ServeSQL(ctx, conn)
			})
		}
	})
	task(func() error { return f.local.Push(ctx, up.write) })
	err := f.work(ctx, up, inbox)
	if fatal(err) {
		up.write(link.MsgRefusal, link.RefusalOf(err))
	}
	cancel(err)
	up.session.Close()
	tasks.Wait()
	return context.Cause(ctx)
}

func (f *Follower) setLive(up *upstream) {
	f.mu.Lock()
	f.live = up
	f.mu.Unlock()
}

// Stream opens a stream to the master, on which it answers statements, or returns ErrNoMaster.
func (f *Follower) Stream(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	up := f.live
	f.mu.Unlock()
	if up == nil {
		return nil, fmt.Errorf("%w: node %s is not connected to %s: %s", fault.ErrNoMaster, f.node.ID, f.cfg.Master, f.state.Load().status.Reason)
	}
	conn, err := up.session.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the link from node %s to %s is lost: %w", fault.ErrNoMaster, f.node.ID, f.cfg.Master, err)
	}
	return conn, nil
}

// Linked reports whether the node is connected to its master.
func (f *Follower) Linked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live != nil
}

// interrupted returns how far a snapshot has come that was cut off, nil if none was.
func (f *Follower) interrupted(ctx context.Context) (*link.Cursor, error) {
	c, ok, err := store.Value[link.Cursor](ctx, f.node, f.node.DB, store.MetaCursor)
	if err != nil || !ok {
		return nil, err
	}
	return &c, nil
}

// hello tells the master who this is and where its history ends.
func (f *Follower) hello(ctx context.Context, g link.Greeting, from *link.Cursor) (h link.Hello, err error) {
	h = link.Hello{Cluster: f.node.ClusterID, ID: f.node.ID, Role: f.cfg.Role, Dialect: f.node.Dialect.Name(), Position: f.apply.Position(), Rejoin: f.cfg.Rejoin}
	if from != nil {
		h.Position = journal.Position{}
	}
	if f.apply.Position().Epoch > g.Epoch && g.Cluster == f.node.ClusterID {
		return h, remedy.New(fault.ErrOldEpoch, fmt.Sprintf("%s is the master of epoch %d, but this node has followed epoch %d: another node is the master now", g.Master, g.Epoch, f.apply.Position().Epoch),
			remedy.Remedy{Action: remedy.SetMaster, Text: "set Master to its address"})
	}
	err = f.local.Hello(ctx, &h)
	return h, err
}

// adopt notes the cluster that the node has been let into.
func (f *Follower) adopt(ctx context.Context, g link.Greeting, w link.Welcome) error {
	if f.node.ClusterID != "" && f.node.ClusterID != g.Cluster && !f.cfg.Rejoin {
		return remedy.New(fault.ErrOtherCluster, fmt.Sprintf("%s is the master of cluster %s, but node %s belongs to cluster %s", g.Master, g.Cluster, f.node.ID, f.node.ClusterID),
			remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin to replace its data"})
	}
	if err := f.local.Welcomed(ctx, w); err != nil {
		return err
	}
	if f.node.ClusterID == g.Cluster {
		return nil
	}
	if f.node.ClusterID != "" {
		if err := f.node.SetMeta(ctx, f.node.DB, store.MetaCursor, nil); err != nil {
			return err
		}
	}
	f.node.ClusterID = g.Cluster
	return f.node.SetMeta(ctx, f.node.DB, store.MetaCluster, []byte(g.Cluster))
}

// receive reads what the master says and queues it for the applier.
func (f *Follower) receive(ctx context.Context, up *upstream, in *inbox) error {
	for {
		kind, payload, err := up.w.Read()
		if err != nil {
			return err
		}
		up.read.Store(time.Now().UnixNano())
		switch kind {
		case link.MsgPart, link.MsgSnapshot, link.MsgRows, link.MsgFile, link.MsgSnapshotEnd, link.MsgNumber:
			// While the inbox is full the master cannot be heard, which is no silence of its.
			up.read.Store(math.MaxInt64)
			err := in.put(ctx, item{kind, payload})
			up.read.Store(time.Now().UnixNano())
			if err != nil {
				return err
			}
		case link.MsgBeat:
			b, err := wire.DecodeChecked[link.Beat](payload)
			if err != nil {
				return err
			}
			f.heardBeat(up, b)
		case link.MsgVerdict:
			v, err := wire.DecodeChecked[link.Verdict](payload)
			if err == nil {
				err = f.local.Judged(v)
			}
			if err != nil {
				return err
			}
		case link.MsgRefusal:
			r, err := wire.DecodeChecked[link.Refusal](payload)
			if err != nil {
				return err
			}
			return r.Err()
		default:
			return fmt.Errorf("message of kind %d from the master", kind)
		}
	}
}

// beat tells the master how the node is, and notices a silent master.
func (f *Follower) beat(ctx context.Context, up *upstream) error {
	up.read.CompareAndSwap(0, time.Now().UnixNano())
	return link.Beats(ctx, f.cfg.Heartbeat, func() error {
		if f.node.Lock.Again.Load() != f.lockSeen.Load() {
			return errors.New("the lock on the database was lost") // another node may have been here
		}
		st := f.state.Load()
		f.mu.Lock()
		every := max(up.every, f.cfg.Heartbeat)
		f.mu.Unlock()
		if silent := time.Since(time.Unix(0, up.read.Load())); silent > 3*every {
			return fmt.Errorf("%w: silent for %v", fault.ErrNoMaster, silent.Round(time.Millisecond))
		}
		well := f.cfg.Health.Found()
		pending, _ := f.local.Pending()
		b := link.Beat{Position: st.pos, At: time.Now().UnixNano(), State: st.status.State, Reason: st.status.Reason, Every: int64(f.cfg.Heartbeat),
			Unwell: well.State, UnwellReason: well.Reason, Pending: pending.Length}
		return up.write(link.MsgBeat, b)
	})
}
