package ddb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/wire"
)

// applier writes entries and snapshots into a follower's database. One goroutine uses it (R3).
type applier struct {
	*node
	pos  Position // the journal's end
	prev Part     // the last part seen, for the chain
	// Where the journal is not in the database: the last entry whose rows are, and the parts
	// that the journal does not have yet.
	applied LSN
	unfiled []Part
	conn *sql.Conn
	open bool // a transaction holds the first parts of an entry
	// through is the LSN from which the rows are consistent: until then they are a
	// snapshot's, read at different moments, and may clash with what entries state. 0: they are.
	through LSN

	// enter is called before each transaction, and what it returns after it; opened is
	// called inside it, first. Nil: no interest.
	enter  func(ctx context.Context) (leave func(committed bool), err error)
	opened func(ctx context.Context, c *sql.Conn) error
	leave  func(committed bool)
	// emptied is told when the node has given its data up for a snapshot. Nil: no interest.
	emptied func()
	queue   *applying // what the transaction does to a snap's queue

	// mine leaves out rows that must not be overwritten, since a later local change
	// of theirs is pending (snaps), and tells whether local changes are. Nil: none.
	mine func(ctx context.Context, q dialect.Querier, t *dialect.Table, rows []dialect.Row) (rest []dialect.Row, loose bool, err error)
	// includes is told, inside the transaction, which batches of snaps an entry holds. Nil: no interest.
	includes func(ctx context.Context, q dialect.Querier, batches map[string]uint64) error
	// schemaRan is told when schema statements have been run. Nil: no interest.
	// hide keeps readers away between a schema statement and its rows, where they are not one transaction. Nil: no readers.
	hide      func(bool)
	schemaRan func(ctx context.Context, c *sql.Conn) error
	// rebuilds is told that tables are about to be made anew, which shows until the entry is applied. Nil: no interest.
	rebuilds func(lsn LSN)
	// restored is told, inside the transaction, when tables have been filled anew. Nil: no interest.
	restored func(ctx context.Context, c *sql.Conn, snapshot bool) error

	cursor   cursor
	copy     *snapshotCopy // nil unless a snapshot comes as a file
	loaded   int64
	total    int64
	reported time.Time
}

func newApplier(ctx context.Context, n *node) (*applier, error) {
	a := &applier{node: n}
	return a, a.reload(ctx)
}

// reload reads where the node stands: after an error a commit may have taken place all the same.
func (a *applier) reload(ctx context.Context) error {
	version, err := a.engine.Version(ctx, a.db)
	if err != nil {
		return fmt.Errorf("ddb: node %s: schema version: %w", a.opts.ID, err)
	}
	if cat := a.tables.Load(); cat == nil || cat.version != version {
		if _, err := a.loadTables(ctx, a.db); err != nil {
			return err
		}
	}
	_, last, err := a.journal.Bounds(ctx)
	if err != nil {
		return err
	}
	a.pos, a.prev = last, last.anchor()
	a.unfiled = nil
	if !a.inside() {
		_, unfinished, err := a.meta(ctx, a.db, metaCursor)
		if err != nil {
			return err
		}
		if unfinished {
			a.pos, a.prev = Position{}, Position{}.anchor() // the journal has yet to begin anew
		}
		if a.applied, _, err = metaValue[LSN](ctx, a.node, a.db, metaApplied); err != nil {
			return err
		}
	}
	if a.through, _, err = metaValue[LSN](ctx, a.node, a.db, metaThrough); err != nil {
		return err
	}
	in, _, err := metaValue[intent](ctx, a.node, a.db, metaIntent)
	a.through = max(a.through, in.LSN) // a schema entry that was cut off shows half until it is applied
	return err
}

// inside reports whether the journal is in the node's own database.
func (a *applier) inside() bool {
	_, ok := a.journal.(transactional)
	return ok
}

func (a *applier) close() {
	a.abort()
	a.dropFile()
	if a.conn != nil {
		a.engine.Release(a.conn)
		a.conn = nil
	}
}

// abort gives up a transaction that holds part of an entry.
func (a *applier) abort() {
	if a.open {
		rollback(a.conn)
		a.closed(false)
	}
	a.prev, a.unfiled = a.pos.anchor(), nil
}

func (a *applier) connect(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	c, err := a.engine.Conn(ctx, dialect.Replay)
	if err != nil {
		return fmt.Errorf("ddb: node %s: connect: %w", a.opts.ID, err)
	}
	a.conn = c
	return nil
}

// parts applies parts that follow the last ones. Entries that are complete
// together share a transaction; an entry too large for one message keeps its own open until it is complete.
func (a *applier) parts(ctx context.Context, parts []Part) (err error) {
	if err := a.connect(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.abort()
			a.close()
		}
	}()
	bodies := make([]*body, len(parts))
	for i := range parts {
		if err := parts[i].follows(a.prev); err != nil {
			return fmt.Errorf("node %s: %w", a.opts.ID, err)
		}
		if bodies[i], err = decodeBody(&parts[i]); err != nil {
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
func (a *applier) some(ctx context.Context, parts []Part, bodies []*body) error {
	schema := bodies[0].Schema
	if !a.open && (len(schema) == 0 || a.engine.Transactional()) {
		if err := a.begin(ctx); err != nil {
			return err
		}
	}
	if len(schema) > 0 {
		if bodies[0].Rebuild && a.rebuilds != nil && !a.engine.Transactional() {
			a.rebuilds(parts[0].LSN)
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
	for _, b := range bodies {
		if a.includes != nil && len(b.Batches) > 0 {
			if err := a.includes(ctx, a.conn, b.Batches); err != nil {
				return err
			}
		}
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
		if err := a.setMeta(ctx, a.conn, metaThrough, nil); err != nil {
			return err
		}
	}
	if !a.inside() {
		if err := a.setMetaValue(ctx, a.conn, metaApplied, last.LSN); err != nil {
			return err
		}
	}
	if err := a.engine.Commit(ctx, a.conn, dialect.Replay); err != nil {
		return fmt.Errorf("ddb: node %s: apply entry %d: %w", a.opts.ID, last.LSN, err)
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
	if err := a.journal.Append(ctx, a.unfiled[:n]...); err != nil {
		return err
	}
	a.pos = a.unfiled[n-1].Position()
	a.unfiled = slices.Clone(a.unfiled[n:])
	return nil
}

func (a *applier) begin(ctx context.Context) (err error) {
	if a.enter != nil {
		if a.leave, err = a.enter(ctx); err != nil {
			return err
		}
	}
	if err := a.engine.Begin(ctx, a.conn, dialect.Replay); err != nil {
		a.closed(false)
		return fmt.Errorf("ddb: node %s: apply: %w", a.opts.ID, err)
	}
	a.open = true
	if a.opened != nil {
		return a.opened(ctx, a.conn)
	}
	return nil
}

// closed notes that the transaction has ended.
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
	err = a.engine.Commit(ctx, a.conn, dialect.Replay)
	a.closed(err == nil)
	return err
}

// record puts the parts into the journal, in the transaction of their rows (R1).
func (a *applier) record(ctx context.Context, parts []Part, bodies []*body) error {
	j, inside := a.journal.(transactional)
	for i := range parts {
		if !inside {
			a.unfiled = append(a.unfiled, parts[i])
		} else if err := j.AppendIn(ctx, a.quick(a.conn), parts[i]); err != nil {
			return err
		}
		if len(bodies[i].Schema) > 0 {
			if err := a.setMeta(ctx, a.conn, metaIntent, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows applies the row states of the bodies in order. States of the same row that
// wait together are written once, the last one.
func (a *applier) rows(ctx context.Context, bodies []*body) error {
	cat := a.tables.Load()
	pending := newCoalescer()
	mixed := a.through > 0
	for _, b := range bodies {
		mixed = mixed || b.Mixed
		for _, c := range b.Changes {
			name := tableName{c.Database, c.Table}
			t := cat.byName[name]
			if t == nil {
				return fmt.Errorf("%w: node %s has no table %s", dialect.ErrSchemaMismatch, a.opts.ID, name)
			}
			if err := c.sameColumns(t); err != nil {
				return fmt.Errorf("ddb: node %s: %w", a.opts.ID, err)
			}
			err := c.each(func(r dialect.Row) error {
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
		if a.mine != nil {
			var err error
			var loose bool
			if rows, loose, err = a.mine(ctx, a.conn, t, rows); err != nil {
				return err
			}
			if loose {
				mode = dialect.Replace
			}
		}
		if len(rows) == 0 {
			continue
		}
		if err := a.engine.Apply(ctx, a.conn, t, rows, mode); err != nil {
			return fmt.Errorf("ddb: node %s: apply to table %s: %w", a.opts.ID, t.Name, err)
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

// intent notes that a schema entry is about to be run where that cannot be part of a
// transaction, and how the schema looked before, so that a crash in between can be told apart.
type intent struct {
	LSN  LSN    `cbor:"1,keyasint"`
	Step int    `cbor:"2,keyasint"` // statements known to have run
	Mark string `cbor:"3,keyasint"` // of the schema before the statement at Step
}

// schema runs the statements of an entry.
func (a *applier) schema(ctx context.Context, lsn LSN, statements []dialect.Statement) error {
	done := 0
	if !a.engine.Transactional() {
		// A statement that is cut off may run on in the server, so a lost link does not cut it off.
		ctx = context.WithoutCancel(ctx)
		in, ok, err := metaValue[intent](ctx, a.node, a.conn, metaIntent)
		if err != nil {
			return err
		}
		if ok && in.LSN == lsn {
			mark, err := a.schemaMark(ctx)
			if err != nil {
				return err
			}
			if done = in.Step; mark != in.Mark {
				done++ // the statement had run, its entry had not been recorded
			}
		}
	}
	for i := done; i < len(statements); i++ {
		if !a.engine.Transactional() {
			mark, err := a.schemaMark(ctx)
			if err != nil {
				return err
			}
			if err := a.setMetaValue(ctx, a.conn, metaIntent, intent{LSN: lsn, Step: i, Mark: mark}); err != nil {
				return err
			}
		}
		if err := a.runSchema(ctx, statements[i]); err != nil {
			return fmt.Errorf("%w: node %s: schema statement of entry %d: %w", ErrDiverged, a.opts.ID, lsn, err)
		}
	}
	a.log.Info("schema changed", "lsn", lsn, "statement", firstLine(statements[0].SQL), "statements", len(statements))
	if _, err := a.loadTables(ctx, a.conn); err != nil {
		return err
	}
	if a.schemaRan != nil {
		return a.schemaRan(ctx, a.conn)
	}
	return nil
}

// schemaMark tells two states of the schema apart by their text: unlike the dialect's
// version, which may count in seconds, it shows every statement.
func (a *applier) schemaMark(ctx context.Context) (string, error) {
	objects, err := a.engine.Objects(ctx, a.conn)
	if err != nil {
		return "", fmt.Errorf("ddb: node %s: read schema: %w", a.opts.ID, err)
	}
	h := sha256.New()
	for _, o := range objects {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", o.Kind, o.Database, o.Name, o.SQL)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// runSchema runs one statement, or keeps it back: triggers act at the origin only.
func (a *applier) runSchema(ctx context.Context, s dialect.Statement) error {
	info, err := sqlclass.ParseSchema(classOf(a.dialect.Name()), s.SQL)
	if err == nil && info.Object == "TRIGGER" && a.opts.Role == Replica {
		own := a.engine.Own("deferred")
		if _, err := a.conn.ExecContext(ctx, "DELETE FROM "+own+" WHERE kind = 'trigger' AND name = ?", info.Name); err != nil {
			return err
		}
		if info.Verb == "DROP" {
			return nil
		}
		_, err := a.conn.ExecContext(ctx, "INSERT INTO "+own+" (kind, db, name, body) VALUES ('trigger', ?, ?, ?)", s.Database, info.Name, s.SQL)
		return err
	}
	s.Database = a.physical(s.Database)
	return a.run(ctx, a.conn, &s)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}

// beginSnapshot empties the database and makes the schema, unless the snapshot goes on where it was cut off.
func (a *applier) beginSnapshot(ctx context.Context, head snapshotHead) (err error) {
	if err := a.connect(ctx); err != nil {
		return err
	}
	a.abort()
	a.dropFile()
	if a.total = head.Total; head.Resume {
		a.cursor, _, err = metaValue[cursor](ctx, a.node, a.conn, metaCursor)
		a.loaded = a.cursor.Rows
		return err
	}
	a.cursor, a.loaded = cursor{}, 0
	if err := a.clearJournal(ctx); err != nil {
		return err
	}
	// While there is no cursor and no journal the node has nothing: a crash from here on starts over.
	if err := a.engine.Wipe(ctx, a.conn); err != nil {
		return fmt.Errorf("ddb: node %s: empty the database for a snapshot: %w", a.opts.ID, err)
	}
	for _, o := range head.Objects {
		if err := a.makeObject(ctx, o); err != nil {
			return fmt.Errorf("ddb: node %s: create %s %s: %w", a.opts.ID, o.Kind, o.Name, err)
		}
	}
	if _, err := a.loadTables(ctx, a.conn); err != nil {
		return err
	}
	a.cursor.Base = head.Base
	return a.setMetaValue(ctx, a.conn, metaCursor, a.cursor)
}

// clearJournal forgets the node's history, which a snapshot is about to replace.
func (a *applier) clearJournal(ctx context.Context) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	for _, table := range slices.Concat([]string{"journal", "deferred", "received"}, dialect.OwnReplicated) {
		if _, err := a.conn.ExecContext(ctx, "DELETE FROM "+a.engine.Own(table)); err != nil {
			return err
		}
	}
	for _, key := range []string{metaCursor, metaIntent, metaSchema, metaThrough, metaApplied} {
		if err := a.setMeta(ctx, a.conn, key, nil); err != nil {
			return err
		}
	}
	if !a.inside() {
		// The journal begins anew with the snapshot's end. Until then this cursor, of which no
		// master can make anything, tells that the node has nothing.
		if err := a.setMetaValue(ctx, a.conn, metaCursor, cursor{Base: Position{LSN: loading}}); err != nil {
			return err
		}
	}
	err := a.engine.Commit(ctx, a.conn, dialect.Replay)
	if err == nil && a.emptied != nil {
		a.emptied()
	}
	a.closed(err == nil)
	if err != nil {
		return err
	}
	a.pos, a.through, a.applied, a.unfiled = Position{}, 0, 0, nil
	a.prev = a.pos.anchor()
	return nil
}

func (a *applier) makeObject(ctx context.Context, o dialect.Object) error {
	if o.Kind == "trigger" && a.opts.Role == Replica {
		_, err := a.conn.ExecContext(ctx, "INSERT INTO "+a.engine.Own("deferred")+" (kind, db, name, body) VALUES (?, ?, ?, ?)", o.Kind, o.Database, o.Name, o.SQL)
		return err
	}
	if o.Kind == "database" {
		if _, err := a.addDatabase(ctx, a.conn, o.Name); err != nil {
			return err
		}
	}
	return a.engine.Run(ctx, a.conn, &dialect.Statement{SQL: o.SQL, Database: a.physical(o.Database)})
}

// snapshotRows stores a chunk and how far it brings the snapshot, together.
func (a *applier) snapshotRows(ctx context.Context, r snapshotRows) error {
	c := r.Change
	name := tableName{c.Database, c.Table}
	t := a.tables.Load().byName[name]
	if t == nil {
		return fmt.Errorf("%w: node %s has no table %s", dialect.ErrSchemaMismatch, a.opts.ID, name)
	}
	if err := c.sameColumns(t); err != nil {
		return fmt.Errorf("ddb: node %s: %w", a.opts.ID, err)
	}
	rows := make([]dialect.Row, 0, c.Present)
	if err := c.each(func(row dialect.Row) error { rows = append(rows, row); return nil }); err != nil {
		return err
	}
	next := cursor{Base: a.cursor.Base, Table: name.String(), After: r.After, Rows: a.loaded + int64(len(rows))}
	err := a.tx(ctx, func() error {
		if err := a.engine.Apply(ctx, a.conn, t, rows, dialect.Replace); err != nil {
			return fmt.Errorf("ddb: node %s: load table %s: %w", a.opts.ID, name, err)
		}
		return a.setMetaValue(ctx, a.conn, metaCursor, next)
	})
	if err != nil {
		return err
	}
	a.cursor, a.loaded = next, next.Rows
	a.progress(name.String(), false)
	return nil
}

func (a *applier) progress(table string, done bool) {
	if a.opts.OnProgress == nil || !done && time.Since(a.reported) < 100*time.Millisecond {
		return
	}
	a.reported = time.Now()
	p := Progress{Table: table, Rows: a.loaded, Total: max(a.total, 0), Done: done}
	if a.copy != nil {
		p.Bytes = a.copy.bytes
	}
	a.opts.OnProgress(p)
}

// endSnapshot makes the snapshot's base the node's position. The rows are consistent from entry through on.
func (a *applier) endSnapshot(ctx context.Context, through LSN) error {
	if through <= a.cursor.Base.LSN {
		through = 0
	}
	anchor := a.cursor.Base.anchor()
	anchor.Records = -1 // an anchor holds no rows: it only gives the chain a start
	anchor.Payload = []byte{}
	anchor.At = time.Now().UnixNano()
	if a.schemaRan != nil && !a.engine.Transactional() {
		if err := a.schemaRan(ctx, a.conn); err != nil {
			return err
		}
	}
	finish := func() error {
		if a.restored != nil {
			if err := a.restored(ctx, a.conn, true); err != nil {
				return err
			}
		}
		if err := a.setMeta(ctx, a.conn, metaCursor, nil); err != nil {
			return err
		}
		if through > 0 {
			if err := a.setMetaValue(ctx, a.conn, metaThrough, through); err != nil {
				return err
			}
		}
		if j, ok := a.journal.(transactional); ok && anchor.LSN > 0 {
			return j.AppendIn(ctx, a.conn, anchor)
		}
		return nil
	}
	var err error
	if !a.inside() && anchor.LSN > 0 {
		// Before the cursor goes: a crash in between makes the node begin again.
		if err := a.journal.Append(ctx, anchor); err != nil {
			return err
		}
	}
	if a.copy != nil {
		err = a.loadFile(ctx, finish)
	} else {
		err = a.tx(ctx, finish)
	}
	if err != nil {
		return err
	}
	a.pos, a.through = a.cursor.Base, through
	a.prev = a.pos.anchor()
	a.progress("", true)
	return nil
}
