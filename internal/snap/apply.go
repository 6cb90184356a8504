package snap

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// What a snap does while entries are applied. All of it runs during a stay (N6), so nothing else changes the queue meanwhile.

// stay is a time in which the snap itself writes nothing, and what the transaction in it has done to the queue.
type stay struct {
	s       *Snap
	ctx     context.Context
	release func()           // ends the turn
	was     *store.Catalogue // before it

	written   uint64              // local writes before it
	change    change              // of the queue
	mentioned []journal.TableName // by the schema statements
}

// Enter waits until no local write is under way and holds them off until the stay is left.
func (s *Snap) Enter(ctx context.Context) (apply.Stay, error) {
	st, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// enter is Enter for the snap itself.
func (s *Snap) enter(ctx context.Context) (*stay, error) {
	release, err := s.recorder.alone(ctx)
	if err != nil {
		return nil, err
	}
	s.queue.unstage() // of a transaction that was rolled back
	if err := s.queue.sure(ctx); err != nil {
		release()
		return nil, err
	}
	return &stay{s: s, ctx: ctx, release: release, was: s.node.Tables.Load(), written: s.queue.written.Load()}, nil
}

// Leave lets local writes go on.
func (st *stay) Leave(committed bool) {
	s := st.s
	if !committed && s.node.Engine.Transactional() {
		s.node.Tables.Store(st.was) // a schema statement, if there was one, is undone
	}
	if committed {
		s.queue.commit(&st.change, st.written)
	} else {
		s.queue.undo(&st.change, s.node.Engine.Transactional())
	}
	if !committed && s.halfway.Load() {
		s.halt(st.ctx)
	}
	st.release()
	watch.Signal(s.more)
}

// Emptied notes that there are no rows of anybody's any more.
func (s *Snap) Emptied() { s.empty.Store(true) }

// halt gives the tables their triggers as they stand after schema statements of which not all have been run. Without them
// there are no local writes until they have.
func (s *Snap) halt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	if err := s.capture(ctx, s.node.DB); err != nil {
		s.node.Log.Error("local writes are refused until the schema statements of an entry have been run", "error", err)
		return
	}
	s.halfway.Store(false)
}

// Opened makes batches of what was written before the transaction and is in none yet, so that no
// entry overwrites it unseen.
func (st *stay) Opened(ctx context.Context, c *sql.Conn) error {
	s := st.s
	if s.empty.Load() {
		return nil // a snapshot is being loaded: there is nothing of anybody's
	}
	made, err := s.recorder.catchUp(ctx, c)
	st.change.made = append(st.change.made, made...)
	return err
}

// Includes drops this snap's batches that an entry includes (N3).
func (st *stay) Includes(ctx context.Context, c *sql.Conn, batches map[string]uint64) error {
	through, ok := batches[link.QueueName(st.s.node.ID, st.s.queue.name)]
	if !ok {
		return nil
	}
	return st.drop(ctx, c, through)
}

// drop removes the batches up to a number from the queue.
func (st *stay) drop(ctx context.Context, q dialect.Querier, through uint64) error {
	s := st.s
	if through == 0 {
		return nil
	}
	keys, list, err := s.queue.read(ctx, q, through)
	if err != nil || len(list) == 0 {
		return err
	}
	err = s.recorder.drop(ctx, q, list)
	if err != nil {
		return fmt.Errorf("node %s: drop batches: %w", s.node.ID, err)
	}
	if err := s.node.SetValue(ctx, q, store.MetaNumber, s.queue.highest()); err != nil { // no batch may be left that tells
		return err
	}
	s.queue.remove(&st.change, keys, list)
	return nil
}

func idsOf(list []*madeBatch) []int64 {
	ids := make([]int64, len(list))
	for i, m := range list {
		ids[i] = m.id
	}
	return ids
}

// Write applies rows of entries, except those that a batch which stays has changed.
func (st *stay) Write(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	rows, loose, err := st.mine(ctx, c, t, rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	if loose {
		err = st.s.loosely(ctx, c, t, rows, mode)
	} else {
		err = st.s.node.Engine.Apply(ctx, c, t, rows, mode)
	}
	if err != nil {
		return err
	}
	return st.s.recorder.overtaken(ctx, &st.change, c, t, rows, rows)
}

// mine leaves out the rows that a batch which stays has changed (N4). loose says that local
// changes may stand where others' rows belong, so that a clash is no damage.
func (st *stay) mine(ctx context.Context, q dialect.Querier, t *dialect.Table, rows []dialect.Row) (rest []dialect.Row, loose bool, err error) {
	if rest, loose, err = st.s.queue.settled(&st.change, st.s.node.Name(t), rows); err == nil {
		rest, err = st.s.recorder.differing(ctx, st.change.own, q, t, rest)
	}
	return rest, loose, err
}

// Schema makes the rows those that the statements have been run on, and what the statements leave the snap's own again.
func (st *stay) Schema(ctx context.Context, c *sql.Conn, statements []dialect.Statement, run func() error) (err error) {
	node := st.s.node
	if node.Engine.Transactional() {
		err = st.schemaRuns(ctx, c, statements)
	} else if err = node.TxOn(ctx, c, dialect.Replay, func() error {
		if err := st.Opened(ctx, c); err != nil {
			return err
		}
		return st.schemaRuns(ctx, c, statements)
	}); err != nil {
		err = fmt.Errorf("node %s: prepare for schema statements: %w", node.ID, err)
	}
	if err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	return st.schemaRan(ctx, c)
}

// schemaRan brings what the snap adds to tables in line with them.
func (st *stay) schemaRan(ctx context.Context, c *sql.Conn) error {
	if err := st.s.TablesMade(ctx, c); err != nil {
		return err
	}
	return st.afresh(ctx, c)
}

// TablesMade brings the triggers in line with the tables.
func (s *Snap) TablesMade(ctx context.Context, c *sql.Conn) error {
	s.recorder.tablesChanged()
	if err := s.capture(ctx, c); err != nil {
		return err
	}
	s.halfway.Store(false)
	return nil
}

// Restored makes the local changes that are still pending show again, after a snapshot or
// a schema statement has put the master's rows in place.
func (st *stay) Restored(ctx context.Context, c *sql.Conn, snapshot bool) error {
	s := st.s
	if snapshot {
		if s.node.Engine.Transactional() {
			if err := st.schemaRan(ctx, c); err != nil {
				return err
			}
		}
		s.mu.Lock()
		through := s.welcome.Number
		s.mu.Unlock()
		if err := st.drop(ctx, c, through); err != nil {
			return err
		}
	}
	rows, err := c.QueryContext(ctx, "SELECT payload FROM "+s.queue.table+" ORDER BY id")
	if err != nil {
		return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	gathered := apply.NewCoalescer(0) // these rows are in the queue, which has a limit
	err = func() error {
		defer rows.Close()
		for rows.Next() {
			var payload []byte
			if err := rows.Scan(&payload); err != nil {
				return err
			}
			if err := s.gatherPending(payload, gathered); err != nil {
				return err
			}
		}
		return rows.Err()
	}()
	if err != nil {
		return fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
	}
	return gathered.Each(func(t *dialect.Table, rows []dialect.Row) error {
		err := s.show(ctx, c, t, rows)
		if err == nil {
			err = s.recorder.overtaken(ctx, &st.change, c, t, rows, nil)
		}
		if err != nil {
			return fmt.Errorf("node %s: pending changes of table %s: %w", s.node.ID, s.node.Name(t), err)
		}
		return nil
	})
}

// gatherPending adds a batch's new states where the table is still as it was then.
func (s *Snap) gatherPending(payload []byte, into *apply.Coalescer) error {
	b, err := wire.DecodeChecked[batch.Batch](payload)
	if err != nil {
		return err
	}
	cat := s.node.Tables.Load()
	for _, c := range b.Changes {
		t := cat.ByName[journal.TableName{Database: c.Database, Table: c.Table}]
		same := journal.Change{Table: c.Table, Columns: c.Columns, Key: c.Key}
		if t == nil || same.SameColumns(t) != nil {
			continue
		}
		err := c.Each(func(r dialect.Row) error {
			r.Base = nil
			into.Put(t, r)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Loaded is called when a snapshot is loaded: batches may be sent now.
func (s *Snap) Loaded() {
	s.empty.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot {
		s.snapshot = false
		close(s.loaded)
	}
}

// Welcomed notes what the master has of this snap.
func (s *Snap) Welcomed(ctx context.Context, w link.Welcome) error {
	if err := s.sameQueue(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	s.welcome, s.snapshot = w, w.Snapshot
	s.loaded = make(chan struct{})
	s.mu.Unlock()
	s.queue.reaches(w.Number)
	if w.Node == 0 {
		return nil // the master will give one; until then the node goes on with the one that it had, if any
	}
	return s.Numbered(ctx, w.Node)
}

// Numbered notes the small number that the master has given.
func (s *Snap) Numbered(ctx context.Context, number int64) error {
	if number == s.numberOfNode.Load() {
		return nil
	}
	if limit := keys.MaxNodes(s.node.Engine); number < keys.FirstSnap || number >= limit {
		return fmt.Errorf("%w: the master gives snap %s the number %d, which is not between %d and %d", fault.ErrDamaged, s.node.ID, number, keys.FirstSnap, limit-1)
	}
	s.numberOfNode.Store(number)
	return s.tx(ctx, func(q dialect.Querier) error {
		if err := s.node.SetValue(ctx, q, store.MetaNodeNum, number); err != nil || s.empty.Load() || !s.node.Engine.Transactional() {
			return err
		}
		return s.capture(ctx, q)
	})
}
