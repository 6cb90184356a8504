// Package apply writes a master's entries and snapshots into a follower's database.
//
// An Applier owns the connection that writes and knows how far the node has come; whoever is linked to a master gives it what
// comes, in order. It knows no link and no state of a node. What the node does in the same database itself, as a snap does,
// it says as a Local: the Applier gives and takes turns with it by a Stay. It promises the invariants that the follower's rest
// on, each cited where it is kept:
//
//	R1  The rows of an entry and its record in the journal commit together (J5).
//	R2  An entry is applied only if it follows the journal's end, in number and in hash (J1, J3).
//	R3  Only the applier's goroutine writes to the database.
package apply

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Config is what an applier needs to know of its node.
type Config struct {
	// Role is Replica or Snap. A replica keeps triggers back until it is promoted: they act at the origin only.
	Role health.Role
	// Rejoin lets a snapshot take the node back to an earlier state.
	Rejoin bool
	// OnProgress is told how far a snapshot has come, at most 10 times a second. Nil: nobody is.
	OnProgress func(health.Progress)
	// Rebuilds is told that tables are about to be made anew, which shows until entry lsn is applied. Nil: nobody is.
	Rebuilds func(lsn journal.LSN)
}

// Applier writes entries and snapshots into a follower's database. One goroutine uses it (R3).
type Applier struct {
	cfg   Config
	node  *store.Store
	local Local
	pos   journal.Position // the journal's end
	prev  journal.Part     // the last part seen, for the chain
	// Where the journal is not in the database: the last entry whose rows are, and the parts
	// that the journal does not have yet.
	applied journal.LSN
	unfiled []journal.Part
	conn    *sql.Conn
	stay    Stay // nil between two stays. A schema entry that takes more than a transaction has one all the same
	open    bool // a transaction holds the first parts of an entry
	// through is the LSN from which the rows are consistent: until then they are a
	// snapshot's, read at different moments, and may clash with what entries state. 0: they are.
	through journal.LSN

	taking   bool // a snapshot comes over this connection
	filed    bool // as a file
	cursor   link.Cursor
	copy     *os.File // nil unless something of the file has come
	loaded   int64
	received int64 // bytes of rows, or of a file that holds them, over this connection
	total    int64
	reported time.Time
}

// New returns an applier for a node that does nothing in its database itself; see [Applier.Use].
func New(ctx context.Context, n *store.Store, cfg Config) (*Applier, error) {
	a := &Applier{cfg: cfg, node: n, local: Passive{n}}
	return a, a.Reload(ctx)
}

// Use names the node's own doing in its database, which the applier heeds from the next transaction on.
func (a *Applier) Use(local Local) { a.local = local }

// Position is the end of the node's history.
func (a *Applier) Position() journal.Position { return a.pos }

// ConsistentFrom is the entry from which on the rows are a state that the master had; 0 if they are.
func (a *Applier) ConsistentFrom() journal.LSN { return a.through }

// Taken returns how many rows the snapshot has brought, of which a file's are not counted, and how many bytes over this connection.
func (a *Applier) Taken() (rows, bytes int64) { return a.loaded, a.received }

// Reload reads where the node stands: after an error a commit may have taken place all the same.
func (a *Applier) Reload(ctx context.Context) error {
	version, err := a.node.Engine.Version(ctx, a.node.DB)
	if err != nil {
		return fmt.Errorf("node %s: schema version: %w", a.node.ID, err)
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
			a.pos, a.prev = journal.Position{}, journal.Position{}.Anchor() // the journal has yet to begin anew
		}
		if a.applied, _, err = store.Value[journal.LSN](ctx, a.node, a.node.DB, store.MetaApplied); err != nil {
			return err
		}
	}
	if a.through, _, err = store.Value[journal.LSN](ctx, a.node, a.node.DB, store.MetaThrough); err != nil {
		return err
	}
	in, _, err := store.Value[intent](ctx, a.node, a.node.DB, store.MetaIntent)
	a.through = max(a.through, in.LSN) // a schema entry that was cut off shows half until it is applied
	return err
}

// inside reports whether the journal is in the node's own database.
func (a *Applier) inside() bool {
	_, ok := a.node.Journal.(journal.Transactional)
	return ok
}

// Close gives up a transaction that is under way and the connection. The applier can be used again.
func (a *Applier) Close() {
	a.taking = false
	a.abort()
	a.dropFile()
	if a.conn != nil {
		a.node.Engine.Release(a.conn)
		a.conn = nil
	}
}

// abort gives up a transaction that holds part of an entry.
func (a *Applier) abort() {
	if a.open {
		a.node.Rollback(a.conn)
	}
	a.closed(false)
	a.prev, a.unfiled = a.pos.Anchor(), nil
}

func (a *Applier) connect(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	c, err := a.node.Engine.Conn(ctx, dialect.Replay)
	if err != nil {
		return fmt.Errorf("node %s: connect: %w", a.node.ID, err)
	}
	a.conn = c
	return nil
}

// Parts applies parts that follow the last ones. Entries that are complete
// together share a transaction; an entry too large for one message keeps its own open until it is complete.
// Errors are ErrDamaged, ErrForked, ErrGap, ErrDiverged and [dialect.ErrSchemaMismatch], for which nothing but a person helps, and the database's.
func (a *Applier) Parts(ctx context.Context, parts []journal.Part) (err error) {
	if a.taking {
		return fault.Damaged("node %s: entry %d came in the middle of a snapshot", a.node.ID, parts[0].LSN)
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	bodies := make([]*journal.Body, len(parts))
	for i := range parts {
		if err := parts[i].Follows(a.prev); err != nil { // R2
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
func (a *Applier) some(ctx context.Context, parts []journal.Part, bodies []*journal.Body) error {
	schema := bodies[0].Schema
	if !a.open && (len(schema) == 0 || a.node.Engine.Transactional()) {
		if err := a.begin(ctx); err != nil {
			return err
		}
	}
	if len(schema) > 0 {
		if bodies[0].Rebuild && a.cfg.Rebuilds != nil && !a.node.Engine.Transactional() {
			a.cfg.Rebuilds(parts[0].LSN)
		}
		if err := a.enter(ctx); err != nil {
			return err
		}
		if err := a.stay.Schema(ctx, a.conn, schema, func() error { return a.schema(ctx, parts[0].LSN, schema) }); err != nil {
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
	if len(schema) > 0 {
		if err := a.stay.Restored(ctx, a.conn, false); err != nil {
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
		return fmt.Errorf("node %s: apply entry %d: %w", a.node.ID, last.LSN, err)
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

// batches tells which batches of snaps the bodies hold.
func (a *Applier) batches(ctx context.Context, bodies []*journal.Body) error {
	received := make(map[string]uint64)
	for _, b := range bodies {
		maps.Copy(received, b.Batches)
	}
	if len(received) == 0 {
		return nil
	}
	return a.stay.Includes(ctx, a.conn, received)
}

// file puts parts whose rows are in the database into a journal that is not, as soon as
// their entries are whole.
func (a *Applier) file(ctx context.Context, parts []journal.Part) error {
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

// enter begins a stay, unless there is one.
func (a *Applier) enter(ctx context.Context) (err error) {
	if a.stay == nil {
		a.stay, err = a.local.Enter(ctx)
	}
	return err
}

func (a *Applier) begin(ctx context.Context) error {
	if err := a.enter(ctx); err != nil {
		return err
	}
	if err := a.node.Engine.Begin(ctx, a.conn, dialect.Replay); err != nil {
		a.closed(false)
		return fmt.Errorf("node %s: apply: %w", a.node.ID, err)
	}
	a.open = true
	return a.stay.Opened(ctx, a.conn)
}

// closed notes that the transaction has ended, and the stay with it.
func (a *Applier) closed(committed bool) {
	a.open = false
	if stay := a.stay; stay != nil {
		a.stay = nil
		stay.Leave(committed)
	}
}

// tx runs f in a transaction of its own.
func (a *Applier) tx(ctx context.Context, f func() error) error {
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
func (a *Applier) record(ctx context.Context, parts []journal.Part, bodies []*journal.Body) error {
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
func (a *Applier) rows(ctx context.Context, bodies []*journal.Body) error {
	cat := a.node.Tables.Load()
	pending := NewCoalescer(coalesceRows)
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
				return fmt.Errorf("node %s: %w", a.node.ID, err)
			}
			if err := keys.RememberNext(ctx, a.node, a.conn, t, c.Next); err != nil {
				return err
			}
			err := c.Each(func(r dialect.Row) error {
				if pending.Put(t, r) {
					return nil
				}
				mixed = true // rows that follow may hold what these are about to take
				if err := a.flush(ctx, pending, mixed); err != nil {
					return err
				}
				pending.Put(t, r)
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
func (a *Applier) flush(ctx context.Context, c *Coalescer, mixed bool) error {
	defer c.reset()
	mode := dialect.Strict
	if mixed {
		mode = dialect.Replace
	}
	return c.Each(func(t *dialect.Table, rows []dialect.Row) error {
		if err := a.stay.Write(ctx, a.conn, t, rows, mode); err != nil {
			return fmt.Errorf("node %s: apply to table %s: %w", a.node.ID, t.Name, err)
		}
		return nil
	})
}
