package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
)

// Listen accepts followers until the master stops.
func (fl *Fleet) Listen(ctx, run context.Context) error {
	if fl.cfg.Listen == "" {
		return nil
	}
	l, err := fl.cfg.Transport.Listen(ctx, fl.cfg.Listen)
	if err != nil {
		return fmt.Errorf("node %s: %w", fl.node.ID, err)
	}
	fl.listener = l
	fl.start(func() { fl.accept(run) })
	return nil
}

func (fl *Fleet) accept(run context.Context) {
	for {
		conn, err := fl.listener.Accept()
		if err != nil {
			if run.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			fl.node.Log.Warn("cannot accept a follower", "error", err)
			if watch.Sleep(run, time.Second) != nil {
				return
			}
			continue
		}
		leave, ok := fl.Door.Enter(conn.RemoteAddr(), func() { fl.start(func() { conn.Close() }) })
		if !ok {
			fl.Door.Warn(link.Origin(conn.RemoteAddr()), "too many connect at once; one was turned away", "from", conn.RemoteAddr())
			conn.Close()
			continue
		}
		fl.start(func() {
			defer leave()
			defer conn.Close()
			stop := link.CloseWith(run, conn)
			defer stop()
			fl.serve(run, conn, leave)
		})
	}
}

// serve is one follower's connection from greeting to end. left is called when it has shown who it is.
func (fl *Fleet) serve(run context.Context, conn net.Conn, left func()) {
	var f *Sender
	var l *Connection
	known := false // it has shown who it is
	h, w, err := link.Greet(conn, link.Greeting{Cluster: fl.node.ClusterID, Master: fl.node.ID, Epoch: fl.seq.Epoch},
		func(h link.Hello, proves func(key []byte) bool) (link.Welcome, []byte, error) {
			key, err := fl.authenticate(h, proves)
			if err != nil {
				return link.Welcome{}, nil, err
			}
			left()
			select {
			case fl.places <- struct{}{}:
				known = true
			default:
				return link.Welcome{}, nil, fmt.Errorf("%w: the master serves %d followers already", fault.ErrBusy, maxFollowers)
			}
			w, err := fl.judge(run, h)
			if err != nil {
				return w, nil, err
			}
			f, l, err = fl.enlist(h, w, key, conn.RemoteAddr().String())
			return w, key, err
		})
	if known {
		defer func() { <-fl.places }()
	}
	switch {
	case err == nil:
	case f != nil:
		f.leave(l, err)
	case known:
		fl.turnedAway(h.ID, err)
	}
	if err != nil {
		if run.Err() == nil {
			fl.refused(h, known, conn.RemoteAddr(), err)
		}
		return
	}
	session, err := wire.Server(conn, wire.SessionConfig{})
	if err != nil {
		f.leave(l, err)
		return
	}
	fl.node.Log.Info("a follower has connected", "id", h.ID, "follower", string(h.Role), "lsn", h.Position.LSN, "snapshot", w.Snapshot)
	err = f.run(run, session, l, h, w)
	f.leave(l, err)
	session.Close()
	if run.Err() == nil {
		fl.node.Log.Info("a follower has gone", "id", h.ID, "lsn", f.acked.Load(), "reason", link.GoneReason(err))
	}
}

// refused logs why somebody was not let in. The id of h is empty if it is none.
func (fl *Fleet) refused(h link.Hello, known bool, from net.Addr, err error) {
	who := link.Origin(from) + " " + link.RefusalOf(err).Code
	switch {
	case errors.Is(err, link.ErrHungUp): // as health checks do
		fl.node.Log.Debug("a connection ended without a word", "from", from)
	case known:
		fl.Door.Warn("id "+h.ID, "a follower was not let in", "id", h.ID, "from", from, "error", err)
	case h.ID != "":
		fl.Door.Warn(who, "a follower was not let in", "id", h.ID, "from", from, "error", err)
	default:
		fl.Door.Warn(who, "a connection was turned away", "from", from, "error", err)
	}
}
