// Package snap is what a snap has beyond a follower: local writes, the queue of the batches that they make, and the exchange
// of these with the master.
//
// A Snap owns the queue and the turns of local writes and entries. It is the Local of an applier and of a follower, and it gives the
// writes of a program their turns and their connections, or where the database has one writer, that writer. It
// knows neither the master's half of a node nor what a program's statements say. It promises the invariants N1 to N6, each cited
// where it is kept.
package snap

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/write"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// Snap is what a snap has beyond a follower: local writes and the queue of the batches that
// they make. Invariants:
//
//	N1  A local transaction commits with its batch, or with notes that say which rows it has changed,
//	    from what, and that it was this one: every batch is made of them before any entry is applied.
//	N2  A batch gets its number durably before it is first sent, above every number that the
//	    master has from this snap; numbers have no gaps and are never used again.
//	N3  A batch is dropped in the transaction that applies the first entry that includes it.
//	N4  A row of a batch that stays is not overwritten by an entry: its true state comes with the
//	    entry that includes the batch, for the master touches every row of every batch.
//	N5  pendingKeys names exactly the rows of the batches that are committed: a row named in
//	    vain would never be written again.
//	N6  Entries and local transactions take turns (turns), and an entry's turn begins with the batches that are
//	    not made yet, so that no local change is overwritten between its commit and its entering pendingKeys. Clients that bypass ddb
//	    take no turns: what they have committed before an entry has locked a row by writing it is shown again (overtaken).
//	    An entry with schema statements has one turn, in however many transactions it is applied, and if it fails
//	    the turn ends with triggers on the tables that there are, or else with no local writes (halfway).
type Snap struct {
	cfg   Config
	node  *store.Store
	f     Follower
	queue *queue
	// recorder is one of these two.
	recorder recorder
	one      *oneWriter
	many     *ManyWriters

	halfway      atomic.Bool   // schema statements have begun, and tables may be without triggers
	empty        atomic.Bool   // there are no rows of anybody's: the first snapshot, or another, is being loaded
	numberOfNode atomic.Int64  // 0 until the master has given one
	more         chan struct{} // capacity 1: there may be something to push
	found        int64         // the last batch that another process has left, until its rows are recalled; of the applier
	heard        int64         // the time of the entry that this node stood at when it was opened, 0 if it is not by the master's clock
	flight       flight

	mu       sync.Mutex    // guards what follows
	welcome  link.Welcome  // of the present connection
	snapshot bool          // the master has announced one that is not loaded yet
	loaded   chan struct{} // closed when it is
}

// Config is what a snap needs to know of its node.
type Config struct {
	// Rejoin gives new numbers to what waits if the master has other batches under these.
	Rejoin bool
	// PollInterval is a fifth of the time between two looks at what clients write that bypass ddb.
	PollInterval time.Duration
	// BusyTimeout is how long a write waits for another transaction where the database has one writer.
	BusyTimeout time.Duration
	// QueueMaxBatches, QueueMaxBytes and QueueMaxAge limit what waits for the master.
	QueueMaxBatches int64
	QueueMaxBytes   int64
	QueueMaxAge     time.Duration
}

// Follower is the following of a snap.
type Follower interface {
	// Stands returns the end of the history that is applied, and when the entry there was made: zero if this process has
	// applied none.
	Stands() (journal.Position, time.Time)
	// Readable reports whether there are data to go on with: no snapshot is missing or under way.
	Readable() bool
	// Linked reports whether the node is connected to its master.
	Linked() bool
}

// New opens what a snap has beside its follower. It returns ErrOptions for a database that no snap can be on.
func New(ctx context.Context, n *store.Store, cfg Config, f Follower) (*Snap, error) {
	s := &Snap{cfg: cfg, node: n, f: f, queue: newQueue(n, cfg), more: make(chan struct{}, 1)}
	s.flight.went = make(chan struct{}, 1)
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	pos, _ := f.Stands()
	if pos.LSN > 0 {
		if err := s.capture(ctx, n.DB); err != nil {
			return nil, err
		}
	}
	s.empty.Store(pos.LSN == 0)
	if n.SingleWriter() {
		s.one = newOneWriter(s)
		s.recorder = s.one
		return s, nil
	}
	many, err := newManyWriters(s)
	if err != nil {
		return nil, err
	}
	s.many, s.recorder = many, many
	return s, nil
}

// Group is the only writer of the database, nil where it has many.
func (s *Snap) Group() *write.Group {
	if s.one == nil {
		return nil
	}
	return s.one.group
}

// Writers is what the writes of a program need where the database has many writers, nil where it has one.
func (s *Snap) Writers() *ManyWriters { return s.many }

// Run does what works while the node is open, connected or not.
func (s *Snap) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { s.recorder.run(ctx) })
	keys.Watch(ctx, s.node, s.numberOfNode.Load, func() bool { return s.numberOfNode.Load() != 0 })
}

// load reads what the snap has left behind.
func (s *Snap) load(ctx context.Context) error {
	num, _, err := store.Value[int64](ctx, s.node, s.node.DB, store.MetaNodeNum)
	if err != nil {
		return err
	}
	s.numberOfNode.Store(num)
	pos, _ := s.f.Stands()
	stood, anchor, err := s.node.EntryTime(ctx, pos.LSN)
	if err != nil {
		return err
	}
	if !anchor {
		s.heard = stood
	}
	s.queue.stood = stood
	if s.found, err = s.queue.load(ctx); err != nil {
		return err
	}
	return s.queue.nameIt(ctx, pos.LSN == 0)
}

// capture installs the triggers that note the previous images. The catalogue is made known when its
// tables have their outboxes: poll looks at them meanwhile.
func (s *Snap) capture(ctx context.Context, q dialect.Querier) error {
	cat, err := s.node.ReadTables(ctx, q)
	if err != nil {
		return err
	}
	if err := s.node.Engine.InstallCapture(ctx, q, cat.Replicated(), dialect.Images); err != nil {
		return fmt.Errorf("node %s: install triggers: %w", s.node.ID, err)
	}
	if err := s.installKeys(ctx, q, cat.Replicated()); err != nil {
		return fmt.Errorf("node %s: install key ranges: %w", s.node.ID, err)
	}
	version, err := s.node.Engine.Version(ctx, q)
	if err != nil {
		return err
	}
	cat.Version = version
	s.node.Tables.Store(cat)
	return nil
}

// tx runs f in a transaction of the snap's own, in turn with local writes; what was noted
// before it becomes a batch in it.
func (s *Snap) tx(ctx context.Context, f func(q dialect.Querier) error) error {
	stay, err := s.enter(ctx)
	if err != nil {
		return err
	}
	committed := false
	defer func() { stay.Leave(committed) }()
	err = s.node.WithTx(ctx, dialect.Replay, func(c *sql.Conn) error {
		if err := stay.Opened(ctx, c); err != nil {
			return err
		}
		return f(c)
	})
	committed = err == nil
	return err
}

// Hello tells the master which queue this is, and how far it has come.
func (s *Snap) Hello(ctx context.Context, h *link.Hello) (err error) {
	h.Queue = s.queue.name
	h.Number, err = s.queue.number(ctx)
	return err
}

// Pending tells how much waits.
func (s *Snap) Pending() (journal.QueueStats, bool) {
	_, applied := s.f.Stands()
	return s.queue.stats(applied), true
}

// admit refuses a local write when there is no data yet or the queue is full.
func (s *Snap) admit() error {
	if !s.f.Readable() {
		return fmt.Errorf("%w: snap %s has no data to write to until its snapshot from the master is complete", fault.ErrBusy, s.node.ID)
	}
	_, applied := s.f.Stands()
	return s.queue.admit(applied)
}

// RefusePending keeps a database that ddb is about to leave from losing batches that the master does not have, unless rejoin
// gives them up. Its error is ErrOptions.
func RefusePending(ctx context.Context, n *store.Store, rejoin bool) error {
	var count int64
	if err := dialect.ScanOne(ctx, n.DB, []any{&count}, "SELECT COUNT(*) FROM "+n.Engine.Own("batches")); err != nil {
		return err
	}
	if rejoin {
		return nil
	}
	role, _, err := n.Meta(ctx, n.DB, store.MetaRole)
	if err == nil && health.Role(role) == health.Snap {
		var cat *store.Catalogue
		if cat, err = n.ReadTables(ctx, n.DB); err == nil {
			var noted []*dialect.Table
			noted, err = n.Engine.Noted(ctx, n.DB, cat.Replicated())
			count += int64(len(noted)) // changes that no batch was made of yet
		}
	}
	if err != nil {
		return err
	}
	if count > 0 {
		return remedy.New(fault.ErrOptions, fmt.Sprintf("the snap has %d batches that its master may not have", count),
			remedy.Remedy{Text: "connect it once more"}, remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin to give them up"})
	}
	return nil
}

// KeyNumber returns the number of the node whose keys new rows get: this one's, or 0 until the master has given it one.
func (s *Snap) KeyNumber() int64 { return s.numberOfNode.Load() }

// installKeys makes the snap's tables hand out its own keys.
func (s *Snap) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	return keys.Install(ctx, s.node, q, tables, s.numberOfNode.Load())
}
