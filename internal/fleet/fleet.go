// Package fleet has the followers of a master: it lets them in, keeps the registry of all that have ever come, and serves each by a
// [Sender], which ships a snapshot if one is due and then the entries of the journal, and takes acknowledgements. It knows who has
// what, so it also confirms writes and trims the journal. What snaps send goes to an [Intake], which it does not look into.
package fleet

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
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/transport"
)

// maxFollowers is how many connections of followers a master serves at once.
const maxFollowers = 1024

// Fleet has the followers of a master: who may follow, who has ever done so, and a sender for each.
type Fleet struct {
	cfg    Config
	node   *store.Store
	seq    *sequence.Sequencer
	access *atomic.Pointer[access.Rules]
	health *health.Self
	Intake Intake // nil where no snap is let in

	listener net.Listener
	Door     *link.Door
	places   chan struct{} // of followers that are let in
	tasks    sync.WaitGroup
	registry registry

	mu        sync.Mutex
	followers map[string]*Sender // by id; those that have ever connected
	since     time.Time
	latest    atomic.Pointer[[]health.Status] // as last listed
	acked     watch.Value[struct{}]           // changes with every acknowledgement
}

// Config is what a fleet reads of the options, and what it is given by its node.
type Config struct {
	Listen          string // where followers are accepted; empty: nowhere
	Transport       transport.Transport
	Heartbeat       time.Duration     // between two words to a follower, which is silent after three of them
	MaxLag          time.Duration     // beyond which a follower is lagging
	WaitReplicas    int               // followers acknowledge promptly if there is one to wait for
	WaitTimeout     time.Duration     // of Confirmed
	JournalMaxBytes int64             // of entries that are kept for followers that are away
	JournalMaxAge   time.Duration     // of the oldest of them
	Queue           journal.QueueFunc // nil: a view of the journal
	// ServeSQL answers a follower's statements until the connection ends.
	ServeSQL func(ctx context.Context, conn net.Conn, id string, role health.Role)
	// Changed is called when a follower comes, goes or changes.
	Changed func()
}

// Intake takes the batches of snaps.
type Intake interface {
	// Admit completes the welcome of a snap by what the master has of it. It is called with the turn.
	Admit(ctx context.Context, turn *sequence.Turn, h link.Hello, w link.Welcome) (link.Welcome, error)
	// From returns what takes the messages with batches that come over the connection, one after another.
	From(l *Connection) func(ctx context.Context, payload []byte) error
}

// New returns the fleet of a master that accepts nobody before Listen. Without an Intake, which is set before that, no snap is let in.
func New(n *store.Store, s *sequence.Sequencer, rules *atomic.Pointer[access.Rules], own *health.Self, cfg Config) *Fleet {
	return &Fleet{cfg: cfg, node: n, seq: s, access: rules, health: own, followers: make(map[string]*Sender), since: time.Now(),
		Door: link.NewDoor(n.Log), places: make(chan struct{}, maxFollowers)}
}

// start runs f in a goroutine that Close waits for.
func (fl *Fleet) start(f func()) { fl.tasks.Go(f) }

// Close ends all connections and waits for what serves them. The context run that was given to Listen is over already.
func (fl *Fleet) Close() error {
	var err error
	if fl.listener != nil {
		err = fl.listener.Close()
	}
	fl.mu.Lock()
	for _, f := range fl.followers {
		f.close(fault.ErrClosed)
	}
	fl.mu.Unlock()
	fl.tasks.Wait()
	return err
}

// Members lists those who have ever connected.
func (fl *Fleet) Members() map[string]*Sender {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return maps.Clone(fl.followers)
}

// WaitLevel waits until every connected follower has the entry.
func (fl *Fleet) WaitLevel(ctx context.Context, lsn journal.LSN) error {
	for {
		_, changed := fl.acked.Watch()
		behind := ""
		fl.mu.Lock()
		for id, f := range fl.followers {
			f.mu.Lock()
			state := f.status.State
			f.mu.Unlock()
			if state != health.Inactive && state != health.Failed && journal.LSN(f.acked.Load()) < lsn {
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
			return fmt.Errorf("node %s is behind entry %d: %w", behind, lsn, ctx.Err())
		}
	}
}
