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
	"crypto/rand"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
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
	w     *write.Group // nil where the database has many writers
	turns turns        // used where w is nil
	batch string       // name of the table
	queue string       // tells these numbers from those of another database that was, or is, this snap's

	own          write.Pool
	notes        dialect.NoteReader // nil where the notes are read after each statement
	batcher      notePasses         // where w is nil
	marks        marks              // of the writer's goroutine
	halfway      atomic.Bool        // schema statements have begun, and tables may be without triggers
	empty        atomic.Bool        // there are no rows of anybody's: the first snapshot, or another, is being loaded
	numberOfNode atomic.Int64       // 0 until the master has given one
	more         chan struct{}      // capacity 1: there may be something to push
	found        int64              // the last batch that another process has left, until its rows are recalled; of the applier
	flight       flight

	mu     sync.Mutex // guards what follows
	last   uint64     // highest number given to a batch that is committed
	lastID int64      // highest id of a batch that is committed
	// numbering: batches get their number when they are made. It begins when the master has told which it has
	// and nothing waits without a number, and it ends with the process.
	numbering bool
	clock     batch.Clock
	keys      pendingKeys
	// withheld has the master's rows that were left out for pending ones (N4), as far as this process has seen them
	// or has recalled them.
	withheld map[journal.TableName]map[string][]any
	count    int64
	bytes    int64
	oldest   int64 // unix nanoseconds; 0 for an empty queue
	stood    int64 // the time of the entry that this node stood at when it was opened
	heard    int64 // the same, 0 if it is not by the master's clock
	warned   bool
	stale    bool          // a commit has failed that may stand all the same: the queue must be read again
	staged   []*madeBatch  // of the local transaction that is open
	welcome  link.Welcome  // of the present connection
	snapshot bool          // the master has announced one that is not loaded yet
	loaded   chan struct{} // closed when it is
}

// madeBatch is a batch that stands in a transaction not yet committed.
type madeBatch struct {
	id     int64
	at     int64
	bytes  int64
	number uint64 // 0: none yet
	batch  *batch.Batch
}

// snapPool is how many connections a snap with many writers may need at once: for the lock, a pass, an entry, the pass
// beside it, the numbers of batches and a read.
const snapPool = 6

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
	s := &Snap{cfg: cfg, node: n, f: f, batch: n.Engine.Own("batches"), more: make(chan struct{}, 1), keys: make(pendingKeys), withheld: make(map[journal.TableName]map[string][]any)}
	s.flight.went, s.batcher.wake, s.batcher.passes = make(chan struct{}, 1), make(chan struct{}, 1), write.NewPassConn()
	s.batcher.aside = write.NewPassConn()
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
	if !n.SingleWriter() {
		var ok bool
		if s.batcher.transactions, ok = n.Engine.(dialect.TransactionReader); !ok {
			return nil, fmt.Errorf("%w: a snap cannot be on dialect %q: its engine has many writers, but does not tell their transactions apart (CollectTransactions)", fault.ErrOptions, n.Dialect.Name())
		}
		if most := n.DB.Stats().MaxOpenConnections; most > 0 && most < snapPool {
			return nil, fmt.Errorf("%w: a snap needs at least %d connections to its database, better eight or more, and SetMaxOpenConns allows %d", fault.ErrOptions, snapPool, most)
		}
		return s, nil
	}
	s.notes, _ = n.Engine.(dialect.NoteReader)
	s.w = write.NewGroup(n, cfg.BusyTimeout, write.Hooks{Admit: s.admit, Each: s.each, Commit: s.beforeCommit, Number: s.KeyNumber})
	return s, nil
}

// Group is the only writer of the database, nil where it has many.
func (s *Snap) Group() *write.Group { return s.w }

// Run does what works while the node is open, connected or not.
func (s *Snap) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	if s.w != nil {
		tasks.Go(func() { s.w.Run(ctx) })
		tasks.Go(func() { s.poll(ctx) })
	} else {
		tasks.Go(func() { s.runPasses(ctx) })
	}
	keys.Watch(ctx, s.node, s.numberOfNode.Load, func() bool { return s.numberOfNode.Load() != 0 })
}

// load reads the queue.
func (s *Snap) load(ctx context.Context) error {
	last, _, err := store.Value[uint64](ctx, s.node, s.node.DB, store.MetaNumber)
	if err != nil {
		return err
	}
	s.last = last
	num, _, err := store.Value[int64](ctx, s.node, s.node.DB, store.MetaNodeNum)
	if err != nil {
		return err
	}
	s.numberOfNode.Store(num)
	if err := s.recount(ctx, s.node.DB); err != nil {
		return err
	}
	s.found = s.lastID
	var anchor bool
	pos, _ := s.f.Stands()
	if s.stood, anchor, err = s.node.EntryTime(ctx, pos.LSN); err != nil {
		return err
	}
	if !anchor {
		s.heard = s.stood
	}
	queue, ok, err := s.node.Meta(ctx, s.node.DB, store.MetaQueue)
	if err != nil || ok {
		s.queue = string(queue)
		return err
	}
	if pos.LSN == 0 && s.last == 0 && s.count == 0 {
		s.queue = rand.Text()
	}
	return s.node.SetMeta(ctx, s.node.DB, store.MetaQueue, []byte(s.queue))
}

// sure reads the queue again if what stands in it is not known.
func (s *Snap) sure(ctx context.Context) error {
	s.mu.Lock()
	stale := s.stale
	s.mu.Unlock()
	if !stale {
		return nil
	}
	return s.recount(ctx, s.node.DB)
}

// recount reads the queue again.
func (s *Snap) recount(ctx context.Context, q dialect.Querier) error {
	keys, made, err := s.read(ctx, q, 0)
	if err != nil {
		return err
	}
	var highest, lastID int64 // batches that are made with a number do not write it down elsewhere
	if err := dialect.ScanOne(ctx, q, []any{&highest, &lastID}, "SELECT coalesce(max(number), 0), coalesce(max(id), 0) FROM "+s.batch); err != nil {
		return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.lastID = max(s.last, uint64(highest)), max(s.lastID, lastID)
	s.keys, s.count, s.bytes, s.oldest, s.stale, s.numbering = keys, 0, 0, 0, false, false
	for _, m := range made {
		s.count++
		s.bytes += m.bytes
		if s.oldest == 0 {
			s.oldest = m.at
		}
		s.clock.Heard(m.at)
	}
	return nil
}

// read returns the batches with a number up to through, or all for 0, without their content, and the keys in them.
func (s *Snap) read(ctx context.Context, q dialect.Querier, through uint64) (pendingKeys, []*madeBatch, error) {
	where, args := "", []any(nil)
	if through > 0 && s.w == nil {
		where, args = " WHERE number <= ?", []any{int64(through)}
	}
	rows, err := q.QueryContext(ctx, "SELECT id, number, at, bytes, payload FROM "+s.batch+where+" ORDER BY id", args...)
	if err != nil {
		return nil, nil, fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	defer rows.Close()
	keys := make(pendingKeys)
	var list []*madeBatch
	for rows.Next() {
		m := new(madeBatch)
		var number sql.NullInt64
		var payload []byte
		if err := rows.Scan(&m.id, &number, &m.at, &m.bytes, &payload); err != nil {
			return nil, nil, fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
		}
		if through > 0 && (!number.Valid || uint64(number.Int64) > through) {
			break // where there is one writer, numbers rise with ids, and have no index
		}
		b, err := wire.DecodeChecked[batch.Batch](payload)
		if err == nil {
			err = keys.add(&b, m.id)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("node %s: batch %d: %w", s.node.ID, m.id, err)
		}
		list = append(list, m)
	}
	return keys, list, rows.Err()
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

// warnAt is the share of a limit at which a snap warns.
const warnAt = 0.8

// admit refuses a local write when there is no data yet or the queue is full.
func (s *Snap) admit() error {
	if !s.f.Readable() {
		return fmt.Errorf("%w: snap %s has no data to write to until its snapshot from the master is complete", fault.ErrBusy, s.node.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged, s.marks.ends = s.staged[:0], s.marks.ends[:0]
	full, what := s.fill()
	switch {
	case full >= 1:
		return fmt.Errorf("%w: snap %s: %s; connect it to its master, or raise the option", fault.ErrQueueFull, s.node.ID, what)
	case full >= warnAt && !s.warned:
		s.warned = true
		s.node.Log.Warn("the pending queue is filling up", "used", fmt.Sprintf("%.0f %%", full*100), "reason", what)
	case full < warnAt/2:
		s.warned = false
	}
	return nil
}

// fill returns how full the queue is by the limit that is nearest; the caller holds mu.
func (s *Snap) fill() (full float64, what string) {
	if s.count == 0 {
		return 0, ""
	}
	age := s.age()
	for _, l := range []struct {
		share float64
		what  string
	}{
		{float64(s.count) / float64(s.cfg.QueueMaxBatches), fmt.Sprintf("%d batches wait, QueueMaxBatches is %d", s.count, s.cfg.QueueMaxBatches)},
		{float64(s.bytes) / float64(s.cfg.QueueMaxBytes), fmt.Sprintf("%d bytes wait, QueueMaxBytes is %d", s.bytes, s.cfg.QueueMaxBytes)},
		{float64(age) / float64(s.cfg.QueueMaxAge), fmt.Sprintf("the oldest batch has waited %v, QueueMaxAge is %v", age.Round(time.Second), s.cfg.QueueMaxAge)},
	} {
		if l.share > full {
			full, what = l.share, l.what
		}
	}
	return full, what
}

// age returns how long the queue has waited, or the node for an entry if that is shorter: a clock that stood decades
// behind when the oldest batch was made must not stop all writes when it is put right. The caller holds mu.
func (s *Snap) age() time.Duration {
	since := time.Unix(0, max(s.oldest, s.stood))
	if _, applied := s.f.Stands(); applied.After(since) {
		since = applied
	}
	return max(0, time.Since(since))
}

// beforeCommit makes the batches that are not made yet, and returns what makes them count once they are committed (N5).
func (s *Snap) beforeCommit(ctx context.Context, c *sql.Conn) (func() journal.Position, error) {
	if err := s.gatherMarks(ctx, s.node.Quick(c)); err != nil {
		return nil, err
	}
	return func() journal.Position {
		s.mu.Lock()
		s.queued(s.staged)
		s.staged = s.staged[:0]
		s.mu.Unlock()
		watch.Signal(s.more)
		return journal.Position{}
	}, nil
}

// queued adds committed batches to what is known of the queue; the caller holds mu.
func (s *Snap) queued(list []*madeBatch) {
	for _, m := range list {
		s.keys.add(m.batch, m.id) // cannot fail: it was encoded here
		m.batch = nil
		s.last, s.lastID = max(s.last, m.number), max(s.lastID, m.id)
		s.count++
		s.bytes += m.bytes
		if s.oldest == 0 {
			s.oldest = m.at
		}
	}
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

// waiting returns how many batches wait, or will in a moment.
func (s *Snap) waiting() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count + s.unmade()
}

// Pending tells how much waits.
func (s *Snap) Pending() (journal.QueueStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := journal.QueueStats{Length: s.count + s.unmade(), Bytes: s.bytes}
	if s.count > 0 {
		q.Age = s.age()
	}
	return q, true
}

// Hello tells the master which queue this is, and how far it has come.
func (s *Snap) Hello(ctx context.Context, h *link.Hello) (err error) {
	h.Queue = s.queue
	h.Number, err = s.number(ctx)
	return err
}

// number returns the highest number of a batch that has left the queue: the one before the first that waits, if any has a number.
func (s *Snap) number(ctx context.Context) (uint64, error) {
	first := "SELECT MIN(number) FROM " + s.batch
	if s.w != nil { // numbers rise with ids, and have no index
		first = "SELECT (SELECT number FROM " + s.batch + " ORDER BY id LIMIT 1)"
	}
	var number sql.NullInt64
	if err := dialect.ScanOne(ctx, s.node.DB, []any{&number}, first); err != nil {
		return 0, fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	if number.Valid {
		return uint64(number.Int64) - 1, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, nil
}

// pendingKeys holds, by table and key, the last batch that has changed the row.
type pendingKeys map[journal.TableName]map[string]int64

func (p pendingKeys) add(b *batch.Batch, id int64) error {
	var buf []byte
	for _, c := range b.Changes {
		name := journal.TableName{Database: c.Database, Table: c.Table}
		rows := p[name]
		if rows == nil {
			rows = make(map[string]int64)
			p[name] = rows
		}
		err := c.Each(func(r dialect.Row) error {
			buf = wire.AppendRow(buf[:0], r.Key)
			rows[string(buf)] = max(rows[string(buf)], id)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
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

// KeyNumber is the writer's hook of a snap.
func (s *Snap) KeyNumber() int64 { return s.numberOfNode.Load() }

// installKeys makes the snap's tables hand out its own keys.
func (s *Snap) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	return keys.Install(ctx, s.node, q, tables, s.numberOfNode.Load())
}
