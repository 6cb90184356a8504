package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// Loading marks that a snapshot is being loaded, so that nothing may be read yet.
const Loading = ^journal.LSN(0)

// RefuseOlder keeps a master, whoever it is, from taking the node back to an earlier state without Rejoin.
func (a *Applier) RefuseOlder(head link.SnapshotHead) error {
	if at, to := a.pos, head.Base; at.LSN > 0 && !head.Resume && !a.cfg.Rejoin && (to.Epoch < at.Epoch || to.LSN < at.LSN) {
		return remedy.New(fault.ErrForked, fmt.Sprintf("the master sends a snapshot of %v to node %s, which stands at %v: it would lose what came between", to, a.node.ID, at),
			remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin on it to replace its data"})
	}
	return nil
}

// BeginSnapshot empties the database and makes the schema, unless the snapshot goes on where it was cut off.
func (a *Applier) BeginSnapshot(ctx context.Context, head link.SnapshotHead) (err error) {
	if err := a.connect(ctx); err != nil {
		return err
	}
	a.abort()
	a.dropFile()
	a.received, a.filed, a.taking = 0, head.File, false
	if a.total = head.Total; head.Resume {
		var begun bool
		a.cursor, begun, err = store.Value[link.Cursor](ctx, a.node, a.conn, store.MetaCursor)
		if err == nil && (!begun || a.cursor.Base != head.Base) {
			return fault.Damaged("node %s: the master goes on with a snapshot from %v, which this node has not begun", a.node.ID, head.Base)
		}
		a.loaded, a.taking = a.cursor.Rows, err == nil
		return err
	}
	a.cursor, a.loaded = link.Cursor{}, 0
	if err := a.clearJournal(ctx); err != nil {
		return err
	}
	// While there is no cursor and no journal the node has nothing: a crash from here on starts over.
	if err := a.node.Engine.Wipe(ctx, a.conn); err != nil {
		return fmt.Errorf("node %s: empty the database for a snapshot: %w", a.node.ID, err)
	}
	for _, o := range head.Objects {
		if err := a.makeObject(ctx, o); err != nil {
			return fmt.Errorf("node %s: create %s %s: %w", a.node.ID, o.Kind, o.Name, err)
		}
	}
	if _, err := a.node.LoadTables(ctx, a.conn); err != nil {
		return err
	}
	a.cursor.Base = head.Base
	err = a.node.SetValue(ctx, a.conn, store.MetaCursor, a.cursor)
	a.taking = err == nil
	return err
}

// Forget gives up the node's history, and what is in it.
func (a *Applier) Forget(ctx context.Context) error {
	if err := a.connect(ctx); err != nil {
		return err
	}
	return a.clearJournal(ctx)
}

// clearJournal forgets the node's history, which a snapshot is about to replace.
func (a *Applier) clearJournal(ctx context.Context) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	for _, table := range slices.Concat([]string{"journal", "journal_rest", "deferred", "received"}, dialect.OwnReplicated) {
		if _, err := a.conn.ExecContext(ctx, "DELETE FROM "+a.node.Engine.Own(table)); err != nil {
			return err
		}
	}
	for _, key := range []string{store.MetaCursor, store.MetaIntent, store.MetaSchema, store.MetaThrough, store.MetaApplied} {
		if err := a.node.SetMeta(ctx, a.conn, key, nil); err != nil {
			return err
		}
	}
	if !a.inside() {
		// The journal begins anew with the snapshot's end. Until then this cursor, of which no
		// master can make anything, tells that the node has nothing.
		if err := a.node.SetValue(ctx, a.conn, store.MetaCursor, link.Cursor{Base: journal.Position{LSN: Loading}}); err != nil {
			return err
		}
	}
	err := a.node.Engine.Commit(ctx, a.conn, dialect.Replay)
	if err == nil {
		a.local.Emptied()
	}
	a.closed(err == nil)
	if err != nil {
		return err
	}
	a.pos, a.through, a.applied, a.unfiled = journal.Position{}, 0, 0, nil
	a.prev = a.pos.Anchor()
	return nil
}

func (a *Applier) makeObject(ctx context.Context, o dialect.Object) error {
	if o.Kind == "trigger" && a.cfg.Role == health.Replica {
		_, err := a.conn.ExecContext(ctx, "INSERT INTO "+a.node.Engine.Own("deferred")+" (kind, db, name, body) VALUES (?, ?, ?, ?)", o.Kind, o.Database, o.Name, o.SQL)
		return err
	}
	if o.Kind == "database" {
		if _, err := a.node.AddDatabase(ctx, a.conn, o.Name); err != nil {
			return err
		}
	}
	return a.node.Engine.Run(ctx, a.conn, &dialect.Statement{SQL: o.SQL, Database: a.node.Physical(o.Database)})
}

// TakeRows stores a chunk and how far it brings the snapshot, together.
func (a *Applier) TakeRows(ctx context.Context, r *Rows) error {
	if err := a.expects(false); err != nil {
		return err
	}
	c := r.Change
	name := journal.TableName{Database: c.Database, Table: c.Table}
	t := a.node.Tables.Load().ByName[name]
	if t == nil {
		return fmt.Errorf("%w: node %s has no table %s", dialect.ErrSchemaMismatch, a.node.ID, name)
	}
	if err := c.SameColumns(t); err != nil {
		return fmt.Errorf("node %s: %w", a.node.ID, err)
	}
	rows := r.List
	next := link.Cursor{Base: a.cursor.Base, Table: name.Key(), After: r.After, Rows: a.loaded + int64(len(rows))}
	err := a.tx(ctx, func() error {
		if err := a.node.Engine.Apply(ctx, a.conn, t, rows, dialect.Replace); err != nil {
			return fmt.Errorf("node %s: load table %s: %w", a.node.ID, name, err)
		}
		return a.node.SetValue(ctx, a.conn, store.MetaCursor, next)
	})
	if err != nil {
		return err
	}
	a.cursor, a.loaded, a.received = next, next.Rows, a.received+int64(len(c.Rows))
	a.progress(name.String(), false)
	return nil
}

func (a *Applier) progress(table string, done bool) {
	if a.cfg.OnProgress == nil || !done && time.Since(a.reported) < 100*time.Millisecond {
		return
	}
	a.reported = time.Now()
	a.cfg.OnProgress(health.Progress{Table: table, Rows: a.loaded, Total: max(a.total, 0), Bytes: a.received, Done: done})
}

// expects checks that the rows of a snapshot, or its file, are what comes now.
func (a *Applier) expects(file bool) error {
	if !a.taking || file != a.filed {
		return fault.Damaged("node %s: a piece of a snapshot came that was not announced", a.node.ID)
	}
	return nil
}

// EndSnapshot makes the snapshot's base the node's position. The rows are consistent from entry through on.
func (a *Applier) EndSnapshot(ctx context.Context, through journal.LSN) error {
	if err := a.expects(a.copy != nil); err != nil {
		return err
	}
	if through <= a.cursor.Base.LSN {
		through = 0
	}
	anchor := a.cursor.Base.Anchor()
	anchor.Records = -1 // an anchor holds no rows: it only gives the chain a start
	anchor.Payload = []byte{}
	anchor.At = time.Now().UnixNano()
	if !a.node.Engine.Transactional() {
		if err := a.local.TablesMade(ctx, a.conn); err != nil {
			return err
		}
	}
	finish := func() error {
		if err := a.stay.Restored(ctx, a.conn, true); err != nil {
			return err
		}
		if err := a.node.SetMeta(ctx, a.conn, store.MetaCursor, nil); err != nil {
			return err
		}
		if through > 0 {
			if err := a.node.SetValue(ctx, a.conn, store.MetaThrough, through); err != nil {
				return err
			}
		}
		if j, ok := a.node.Journal.(journal.Transactional); ok && anchor.LSN > 0 {
			return j.AppendIn(ctx, a.conn, anchor)
		}
		return nil
	}
	var err error
	if !a.inside() && anchor.LSN > 0 {
		// Before the cursor goes: a crash in between makes the node begin again.
		if err := a.node.Journal.Append(ctx, anchor); err != nil {
			return err
		}
	}
	if a.copy != nil {
		if err = a.enter(ctx); err == nil {
			err = a.loadFile(ctx, finish)
		}
		a.closed(err == nil)
	} else {
		err = a.tx(ctx, finish)
	}
	if err != nil {
		return err
	}
	a.taking = false
	a.pos, a.through = a.cursor.Base, through
	a.prev = a.pos.Anchor()
	a.progress("", true)
	return nil
}

// Rows is a message with rows of a snapshot, taken apart.
type Rows struct {
	Change *journal.Change // of which table the rows are
	After  []any           // the key of the last of them
	List   []dialect.Row   // the rows
}

// DecodeRows takes a message apart. Its errors are ErrDamaged.
func DecodeRows(payload []byte) (*Rows, error) {
	msg, err := wire.DecodeChecked[link.SnapshotRows](payload)
	if err != nil {
		return nil, err
	}
	r := &Rows{Change: msg.Change, After: msg.After, List: make([]dialect.Row, 0, min(msg.Change.Present, link.ChunkRows))}
	if err := r.Change.Each(func(row dialect.Row) error { r.List = append(r.List, row); return nil }); err != nil {
		return nil, err
	}
	return r, nil
}
