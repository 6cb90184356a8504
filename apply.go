package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// applier writes entries and snapshots into a follower's database. One goroutine uses it (R3).
type applier struct {
	opts Options
	node *store.Store
	pos  Position // the journal's end
	prev Part     // the last part seen, for the chain
	// Where the journal is not in the database: the last entry whose rows are, and the parts
	// that the journal does not have yet.
	applied LSN
	unfiled []Part
	conn    *sql.Conn
	open    bool // a transaction holds the first parts of an entry
	// through is the LSN from which the rows are consistent: until then they are a
	// snapshot's, read at different moments, and may clash with what entries state. 0: they are.
	through LSN

	// enter is called before each transaction, and what it returns after it; opened is
	// called inside it, first. A schema entry that takes more than a transaction has one turn all the
	// same: nothing may be written to tables that have no triggers yet. Nil: no interest.
	enter  func(ctx context.Context) (leave func(committed bool), err error)
	opened func(ctx context.Context, c *sql.Conn) error
	leave  func(committed bool)
	// emptied is told when the node has given its data up for a snapshot. Nil: no interest.
	emptied func()
	queue   *applying // what the transaction does to a snap's queue

	// mine leaves out rows that must not be overwritten, since a later local change
	// of theirs is pending (snaps), and tells whether local changes are. Nil: none.
	mine func(ctx context.Context, q dialect.Querier, t *dialect.Table, rows []dialect.Row) (rest []dialect.Row, loose bool, err error)
	// loosely applies rows that may clash with local changes. It is set where mine is.
	loosely func(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error
	// wrote is told, inside the transaction, which rows have been written. Nil: no interest.
	wrote func(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row) error
	// includes is told, inside the transaction, which batches of snaps an entry holds. Nil: no interest.
	includes func(ctx context.Context, q dialect.Querier, batches map[string]uint64) error
	// schemaRuns is told, inside a transaction, that schema statements are about to be run. Nil: no interest.
	schemaRuns func(ctx context.Context, c *sql.Conn, statements []dialect.Statement) error
	// schemaRan is told when schema statements have been run. Nil: no interest.
	schemaRan func(ctx context.Context, c *sql.Conn) error
	// rebuilds is told that tables are about to be made anew, which shows until the entry is applied. Nil: no interest.
	rebuilds func(lsn LSN)
	// restored is told, inside the transaction, when tables have been filled anew. Nil: no interest.
	restored func(ctx context.Context, c *sql.Conn, snapshot bool) error

	taking   bool // a snapshot comes over this connection
	filed    bool // as a file
	cursor   link.Cursor
	copy     *os.File // nil unless something of the file has come
	loaded   int64
	received int64 // bytes of rows, or of a file that holds them, over this connection
	total    int64
	reported time.Time
}

func newApplier(ctx context.Context, n *store.Store, o Options) (*applier, error) {
	a := &applier{opts: o, node: n}
	return a, a.reload(ctx)
}

// reload reads where the node stands: after an error a commit may have taken place all the same.
func (a *applier) reload(ctx context.Context) error {
	version, err := a.node.Engine.Version(ctx, a.node.DB)
	if err != nil {
		return fmt.Errorf("ddb: node %s: schema version: %w", a.node.ID, err)
	}
	if cat := a.node.Tables.Load(); cat == nil || cat.Version != version {
		if _, err := a.node.LoadTables(ctx, a.node.DB); err != nil {
			return err
		}
	}
	_, last, err := a.node.Journal.Bounds(ctx)
	if err != nil {
		return err
	}
	a.pos, a.prev = last, last.Anchor()
	a.unfiled = nil
	if !a.inside() {
		_, unfinished, err := a.node.Meta(ctx, a.node.DB, store.MetaCursor)
		if err != nil {
			return err
		}
		if unfinished {
			a.pos, a.prev = Position{}, Position{}.Anchor() // the journal has yet to begin anew
		}
		if a.applied, _, err = store.Value[LSN](ctx, a.node, a.node.DB, store.MetaApplied); err != nil {
			return err
		}
	}
	if a.through, _, err = store.Value[LSN](ctx, a.node, a.node.DB, store.MetaThrough); err != nil {
		return err
	}
	in, _, err := store.Value[intent](ctx, a.node, a.node.DB, store.MetaIntent)
	a.through = max(a.through, in.LSN) // a schema entry that was cut off shows half until it is applied
	return err
}

// inside reports whether the journal is in the node's own database.
func (a *applier) inside() bool {
	_, ok := a.node.Journal.(journal.Transactional)
	return ok
}

func (a *applier) close() {
	a.taking = false
	a.abort()
	a.dropFile()
	if a.conn != nil {
		a.node.Engine.Release(a.conn)
		a.conn = nil
	}
}

// abort gives up a transaction that holds part of an entry.
func (a *applier) abort() {
	if a.open {
		store.Rollback(a.conn)
	}
	a.closed(false)
	a.prev, a.unfiled = a.pos.Anchor(), nil
}

func (a *applier) connect(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	c, err := a.node.Engine.Conn(ctx, dialect.Replay)
	if err != nil {
		return fmt.Errorf("ddb: node %s: connect: %w", a.node.ID, err)
	}
	a.conn = c
	return nil
}

// parts applies parts that follow the last ones. Entries that are complete
// together share a transaction; an entry too large for one message keeps its own open until it is complete.
func (a *applier) parts(ctx context.Context, parts []Part) (err error) {
	if a.taking {
		return fault.Damaged("node %s: entry %d came in the middle of a snapshot", a.node.ID, parts[0].LSN)
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	bodies := make([]*journal.Body, len(parts))
	for i := range parts {
		if err := parts[i].Follows(a.prev); err != nil {
			return fmt.Errorf("node %s: %w", a.node.ID, err)
		}
		if bodies[i], err = journal.Decode(&parts[i]); err != nil {
			return err
		}
		a.prev = parts[i]
	}
	known := 0 // parts whose rows are here already
	for !a.open && known < len(parts) && parts[known].LSN <= a.applied {
		known++
	}
	if known > 0 {
		if err := a.file(ctx, parts[:known]); err != nil {
			return err
		}
		parts, bodies = parts[known:], bodies[known:]
	}
	for from := 0; from < len(parts); {
		n := 1 // a schema entry is applied alone
		if len(bodies[from].Schema) == 0 {
			for from+n < len(parts) && len(bodies[from+n].Schema) == 0 {
				n++
			}
		}
		if err := a.some(ctx, parts[from:from+n], bodies[from:from+n]); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// some applies parts of which either only the first or none has schema statements.
func (a *applier) some(ctx context.Context, parts []Part, bodies []*journal.Body) error {
	schema := bodies[0].Schema
	if !a.open && (len(schema) == 0 || a.node.Engine.Transactional()) {
		if err := a.begin(ctx); err != nil {
			return err
		}
	}
	if len(schema) > 0 {
		if bodies[0].Rebuild && a.rebuilds != nil && !a.node.Engine.Transactional() {
			a.rebuilds(parts[0].LSN)
		}
		if err := a.beforeSchema(ctx, schema); err != nil {
			return err
		}
		if err := a.schema(ctx, parts[0].LSN, schema); err != nil {
			return err
		}
		if !a.open {
			if err := a.begin(ctx); err != nil {
				return err
			}
		}
	}
	if err := a.batches(ctx, bodies); err != nil {
		return err
	}
	if err := a.rows(ctx, bodies); err != nil {
		return err
	}
	if len(schema) > 0 && a.restored != nil {
		if err := a.restored(ctx, a.conn, false); err != nil {
			return err
		}
	}
	if err := a.record(ctx, parts, bodies); err != nil {
		return err
	}
	last := parts[len(parts)-1]
	if !last.Final {
		return nil
	}
	if a.through > 0 && last.LSN >= a.through {
		if err := a.node.SetMeta(ctx, a.conn, store.MetaThrough, nil); err != nil {
			return err
		}
	}
	if !a.inside() {
		if err := a.node.SetValue(ctx, a.conn, store.MetaApplied, last.LSN); err != nil {
			return err
		}
	}
	if err := a.node.Engine.Commit(ctx, a.conn, dialect.Replay); err != nil {
		return fmt.Errorf("ddb: node %s: apply entry %d: %w", a.node.ID, last.LSN, err)
	}
	a.closed(true)
	if last.LSN >= a.through {
		a.through = 0
	}
	if !a.inside() {
		a.applied = last.LSN
		return a.file(ctx, nil)
	}
	a.pos = last.Position()
	return nil
}

// batches notes which batches of snaps the bodies hold: a replica that is promoted must know as well as the
// master before it which it has.
func (a *applier) batches(ctx context.Context, bodies []*journal.Body) error {
	received := make(map[string]uint64)
	for _, b := range bodies {
		if a.includes != nil && len(b.Batches) > 0 {
			if err := a.includes(ctx, a.conn, b.Batches); err != nil {
				return err
			}
		}
		maps.Copy(received, b.Batches)
	}
	if a.opts.Role == Snap {
		return nil
	}
	return a.node.SetReceived(ctx, a.node.Quick(a.conn), received)
}

// file puts parts whose rows are in the database into a journal that is not, as soon as
// their entries are whole.
func (a *applier) file(ctx context.Context, parts []Part) error {
	a.unfiled = append(a.unfiled, parts...)
	n := len(a.unfiled)
	for n > 0 && !a.unfiled[n-1].Final {
		n--
	}
	if n == 0 {
		return nil
	}
	if err := a.node.Journal.Append(ctx, a.unfiled[:n]...); err != nil {
		return err
	}
	a.pos = a.unfiled[n-1].Position()
	a.unfiled = slices.Clone(a.unfiled[n:])
	return nil
}

func (a *applier) begin(ctx context.Context) (err error) {
	if a.enter != nil && a.leave == nil {
		if a.leave, err = a.enter(ctx); err != nil {
			return err
		}
	}
	if err := a.node.Engine.Begin(ctx, a.conn, dialect.Replay); err != nil {
		a.closed(false)
		return fmt.Errorf("ddb: node %s: apply: %w", a.node.ID, err)
	}
	a.open = true
	if a.opened != nil {
		return a.opened(ctx, a.conn)
	}
	return nil
}

// closed notes that the transaction has ended, and the turn with it.
func (a *applier) closed(committed bool) {
	a.open = false
	if a.leave != nil {
		leave := a.leave
		a.leave = nil
		leave(committed)
	}
}

// tx runs f in a transaction of its own.
func (a *applier) tx(ctx context.Context, f func() error) error {
	err := a.begin(ctx)
	if err == nil {
		err = f()
	}
	if err != nil {
		a.abort()
		return err
	}
	err = a.node.Engine.Commit(ctx, a.conn, dialect.Replay)
	a.closed(err == nil)
	return err
}

// record puts the parts into the journal, in the transaction of their rows (R1).
func (a *applier) record(ctx context.Context, parts []Part, bodies []*journal.Body) error {
	j, inside := a.node.Journal.(journal.Transactional)
	for i := range parts {
		if !inside {
			a.unfiled = append(a.unfiled, parts[i])
		} else if err := j.AppendIn(ctx, a.node.Quick(a.conn), parts[i]); err != nil {
			return err
		}
		if len(bodies[i].Schema) > 0 {
			if err := a.node.SetMeta(ctx, a.conn, store.MetaIntent, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows applies the row states of the bodies in order. States of the same row that
// wait together are written once, the last one.
func (a *applier) rows(ctx context.Context, bodies []*journal.Body) error {
	cat := a.node.Tables.Load()
	pending := newCoalescer()
	mixed := a.through > 0
	for _, b := range bodies {
		mixed = mixed || b.Mixed
		for _, c := range b.Changes {
			name := journal.TableName{Database: c.Database, Table: c.Table}
			t := cat.ByName[name]
			if t == nil {
				return fmt.Errorf("%w: node %s has no table %s", dialect.ErrSchemaMismatch, a.node.ID, name)
			}
			if err := c.SameColumns(t); err != nil {
				return fmt.Errorf("ddb: node %s: %w", a.node.ID, err)
			}
			if err := keys.RememberNext(ctx, a.node, a.conn, t, c.Next); err != nil {
				return err
			}
			err := c.Each(func(r dialect.Row) error {
				if pending.put(t, r) {
					return nil
				}
				mixed = true // rows that follow may hold what these are about to take
				if err := a.flush(ctx, pending, mixed); err != nil {
					return err
				}
				pending.put(t, r)
				return nil
			})
			if err != nil {
				return err
			}
		}
		if !pending.exact {
			if err := a.flush(ctx, pending, mixed); err != nil {
				return err
			}
		}
	}
	return a.flush(ctx, pending, mixed)
}

// flush writes what the coalescer holds.
func (a *applier) flush(ctx context.Context, c *coalescer, mixed bool) error {
	defer c.reset()
	mode := dialect.Strict
	if mixed {
		mode = dialect.Replace
	}
	for _, t := range c.order {
		rows := c.rows[t].list
		write := func(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
			return a.node.Engine.Apply(ctx, c, t, rows, mode)
		}
		if a.mine != nil {
			var err error
			var loose bool
			if rows, loose, err = a.mine(ctx, a.conn, t, rows); err != nil {
				return err
			}
			if loose {
				write = a.loosely
			}
		}
		if len(rows) == 0 {
			continue
		}
		if err := write(ctx, a.conn, t, rows, mode); err != nil {
			return fmt.Errorf("ddb: node %s: apply to table %s: %w", a.node.ID, t.Name, err)
		}
		if a.wrote != nil {
			if err := a.wrote(ctx, a.conn, t, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// coalescer gathers row states by table, the last one of each key. Where the
// database may find keys equal that differ in Go, it gathers one entry only.
type coalescer struct {
	order []*dialect.Table
	rows  map[*dialect.Table]*tableRows
	n     int
	exact bool
	key   []byte
}

type tableRows struct {
	list []dialect.Row
	at   map[string]int // nil where keys are not exact
}

const coalesceRows = 50_000 // rows gathered before they are written

func newCoalescer() *coalescer {
	return &coalescer{rows: make(map[*dialect.Table]*tableRows), exact: true}
}

func (c *coalescer) reset() {
	c.order, c.n, c.exact = nil, 0, true
	clear(c.rows)
}

// put adds a state, or reports that the coalescer is full.
func (c *coalescer) put(t *dialect.Table, r dialect.Row) bool {
	if c.n >= coalesceRows {
		return false
	}
	rows := c.rows[t]
	if rows == nil {
		rows = new(tableRows)
		if t.ExactKey {
			rows.at = make(map[string]int)
		} else {
			c.exact = false
		}
		c.rows[t] = rows
		c.order = append(c.order, t)
	}
	if rows.at != nil {
		c.key = wire.AppendRow(c.key[:0], r.Key)
		if i, ok := rows.at[string(c.key)]; ok {
			rows.list[i] = r
			return true
		}
		rows.at[string(c.key)] = len(rows.list)
	}
	rows.list = append(rows.list, r)
	c.n++
	return true
}
