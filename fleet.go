package ddb

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/transport"
)

// maxFollowers is how many connections of followers a master serves at once.
const maxFollowers = 1024

// fleet has the followers of a master: who may follow, who has ever done so, and a sender for each.
type fleet struct {
	cfg    fleetConfig
	node   *store.Store
	seq    *sequence.Sequencer
	access *atomic.Pointer[access.Rules]
	health *health.Self
	intake intake // nil where no snap is let in

	listener net.Listener
	door     *link.Door
	places   chan struct{} // of followers that are let in
	tasks    sync.WaitGroup
	registry registry

	mu        sync.Mutex
	followers map[string]*sender // by id; those that have ever connected
	since     time.Time
	latest    atomic.Pointer[[]NodeStatus] // as last listed
	acked     watch.Value[struct{}]        // changes with every acknowledgement
}

// fleetConfig is what a fleet reads of the options, and what it is given by its node.
type fleetConfig struct {
	Listen          string // where followers are accepted; empty: nowhere
	Transport       transport.Transport
	Heartbeat       time.Duration
	MaxLag          time.Duration // beyond which a follower is lagging
	WaitReplicas    int           // followers acknowledge promptly if there is one to wait for
	WaitTimeout     time.Duration
	JournalMaxBytes int64
	JournalMaxAge   time.Duration
	Queue           QueueFunc
	// ServeSQL answers a follower's statements until the connection ends.
	ServeSQL func(ctx context.Context, conn net.Conn, id string, role Role)
	// Changed is called when a follower comes, goes or changes.
	Changed func()
}

// intake takes the batches of snaps.
type intake interface {
	// Admit completes the welcome of a snap by what the master has of it. It is called with the turn.
	Admit(ctx context.Context, turn *sequence.Turn, h link.Hello, w link.Welcome) (link.Welcome, error)
	// From returns what takes the messages with batches that come over the connection, one after another.
	From(l *connection) func(ctx context.Context, payload []byte) error
}

// newFleet returns the fleet of a master that accepts nobody yet. Without intake no snap is let in.
func newFleet(n *store.Store, s *sequence.Sequencer, rules *atomic.Pointer[access.Rules], own *health.Self, cfg fleetConfig) *fleet {
	return &fleet{cfg: cfg, node: n, seq: s, access: rules, health: own, followers: make(map[string]*sender), since: time.Now(),
		door: link.NewDoor(n.Log), places: make(chan struct{}, maxFollowers)}
}

// start runs f in a goroutine that close waits for.
func (fl *fleet) start(f func()) { fl.tasks.Go(f) }

// close ends all connections and waits for what serves them. The context that was given to listen is over already.
func (fl *fleet) close() error {
	var err error
	if fl.listener != nil {
		err = fl.listener.Close()
	}
	fl.mu.Lock()
	for _, f := range fl.followers {
		f.close(ErrClosed)
	}
	fl.mu.Unlock()
	fl.tasks.Wait()
	return err
}

// members lists those who have ever connected.
func (fl *fleet) members() map[string]*sender {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return maps.Clone(fl.followers)
}

// waitLevel waits until every connected follower has the entry.
func (fl *fleet) waitLevel(ctx context.Context, lsn LSN) error {
	for {
		_, changed := fl.acked.Watch()
		behind := ""
		fl.mu.Lock()
		for id, f := range fl.followers {
			f.mu.Lock()
			state := f.status.State
			f.mu.Unlock()
			if state != Inactive && state != Failed && LSN(f.acked.Load()) < lsn {
				behind = id
			}
		}
		fl.mu.Unlock()
		if behind == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("ddb: node %s is behind entry %d: %w", behind, lsn, ctx.Err())
		}
	}
}
