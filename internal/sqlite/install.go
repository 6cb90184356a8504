package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// InstallCapture brings outboxes, triggers and guards in line with the tables.
func (e *engine) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	e.bared.Store(false) // and if this is rolled back, so is what Run has done
	return e.install(ctx, q, nil, tables, mode)
}

// install is InstallCapture for what is on the names, of which tables are all tables; nil stands for all names.
func (e *engine) install(ctx context.Context, q dialect.Querier, names []string, tables []*dialect.Table, mode dialect.CaptureMode) error {
	list := make([]*table, 0, len(tables))
	for _, t := range tables {
		tb, err := e.info(ctx, q, t)
		if err != nil {
			return fmt.Errorf("install capture: %w", err)
		}
		if t.Refusal == "" {
			copied := *tb
			copied.Table = t // whose ID is to be set
			list = append(list, &copied)
		}
	}
	in := installer{e: e, names: names, tables: list, mode: mode}
	if err := in.carryOut(ctx, q, in.plan); err != nil {
		return fmt.Errorf("install capture: %w", err)
	}
	for t, id := range in.ids {
		if t.ID == id {
			continue // others may be reading it
		}
		t.ID = id
		e.mu.Lock()
		if known := e.known[t.Name]; known != nil && known.Table != t && known.Fingerprint == t.Fingerprint {
			copied := *known
			table := *known.Table
			table.ID = id
			copied.Table = &table
			e.known[t.Name] = &copied
		}
		e.mu.Unlock()
	}
	return nil
}

// installer compares what is there with what should be, and lists the steps between.
type installer struct {
	e      *engine
	names  []string // what is looked at, nil for all
	tables []*table
	mode   dialect.CaptureMode

	todo []func(ctx context.Context, q dialect.Querier) error
	ids  map[*dialect.Table]int64

	captured map[int64]capturedTable
	users    []trigger           // the user's
	own      map[int64][]trigger // by outbox
	outboxes map[int64]string    // their definitions
	nextID   int64
}

// carryOut does what plan puts into todo, all or nothing. Mostly there is nothing to do, which
// needs no transaction; where there is, the plan is made again inside it. In a scope something has changed.
func (in *installer) carryOut(ctx context.Context, q dialect.Querier, plan func(context.Context, dialect.Querier) error) error {
	if in.names == nil {
		if err := plan(ctx, q); err != nil || len(in.todo) == 0 {
			return err
		}
	}
	return in.e.atomic(ctx, q, func(q dialect.Querier) error {
		if err := plan(ctx, q); err != nil {
			return err
		}
		for _, do := range in.todo {
			if err := do(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
}

// plan fills todo and ids.
func (in *installer) plan(ctx context.Context, q dialect.Querier) (err error) {
	in.todo, in.ids = nil, make(map[*dialect.Table]int64)
	if in.captured, err = in.e.captured(ctx, q, in.names); err != nil {
		return err
	}
	if err := in.readSchema(ctx, q); err != nil {
		return err
	}
	if in.nextID, err = integer(ctx, q, "SELECT max(seq) FROM main.sqlite_sequence WHERE name = '_ddb_captured'"); err != nil && !missing(err) {
		return err
	}
	flag, err := in.e.guarded(ctx, q)
	if err != nil {
		return err
	}
	in.guards()
	if !flag && (in.mode == dialect.Images || in.e.cfg.Guard) {
		in.step("CREATE TABLE " + flagTable + " (off INTEGER PRIMARY KEY)")
	}
	used := make(map[int64]bool)
	byName := make(map[string]int64)
	for id, c := range in.captured {
		byName[in.currentName(c)] = id
	}
	for _, tb := range in.tables {
		id := byName[tb.Name]
		if id == 0 {
			in.nextID++
			id = in.nextID
		}
		used[id] = true
		in.ids[tb.Table] = id
		in.table(tb, id)
	}
	for id := range in.captured {
		if !used[id] {
			in.drop(id)
		}
	}
	for id := range in.outboxes {
		if _, known := in.captured[id]; !known && !used[id] {
			in.drop(id)
		}
	}
	if flag && in.mode == dialect.Keys && !in.e.cfg.Guard {
		in.step("DROP TABLE " + flagTable)
	}
	return nil
}

func (in *installer) step(statements ...string) {
	in.todo = append(in.todo, func(ctx context.Context, q dialect.Querier) error { return run(ctx, q, statements...) })
}

// readSchema reads which outboxes and triggers there are.
func (in *installer) readSchema(ctx context.Context, q dialect.Querier) error {
	in.users, in.own, in.outboxes = nil, make(map[int64][]trigger), make(map[int64]string)
	names := in.names
	if names != nil && len(in.captured) == 0 && in.mode == dialect.Keys && !in.e.cfg.Guard {
		return nil // what is new has no triggers of ours, and nothing is to be done about the user's
	}
	if names != nil {
		names = slices.Clone(names)
		for id := range in.captured {
			names = append(names, fmt.Sprintf("%sout_%d", prefix, id))
		}
	}
	rows, err := schemaRows(ctx, q, names)
	if err != nil {
		return err
	}
	for _, r := range rows {
		after, ours := strings.CutPrefix(r.name, prefix)
		switch {
		case r.kind == "table":
			if number, ok := strings.CutPrefix(after, "out_"); ours && ok {
				if id, err := strconv.ParseInt(number, 10, 64); err == nil {
					in.outboxes[id] = r.sql
				}
			}
		case r.kind != "trigger":
		case !own(r.name):
			in.users = append(in.users, trigger{name: r.name, table: r.table, sql: r.sql, rowid: r.rowid})
		default:
			number, _, _ := strings.Cut(after, "_")
			if id, err := strconv.ParseInt(number, 10, 64); err == nil {
				in.own[id] = append(in.own[id], trigger{name: r.name, table: r.table, sql: r.sql, rowid: r.rowid})
			}
		}
	}
	return nil
}

// currentName is the name that a captured table has now: a rename by any client moves
// its triggers along, which tells.
func (in *installer) currentName(c capturedTable) string {
	for _, t := range in.own[c.id] {
		return t.table
	}
	return c.name
}

// fits reports whether the triggers of an outbox are as they should be. A trigger of
// the user's that is younger than ours would fire first and change a row
// before its image is noted; SQLite fires the youngest first.
func (in *installer) fits(tb *table, id int64, want [][2]string) bool {
	have := in.own[id]
	if len(have) != len(want) {
		return false
	}
	oldest := have[0].rowid
	for _, w := range want {
		if !slices.ContainsFunc(have, func(t trigger) bool { return t.name == w[0] && t.sql == w[1] }) {
			return false
		}
	}
	return in.mode == dialect.Keys || !slices.ContainsFunc(in.users, func(t trigger) bool {
		return strings.EqualFold(t.table, tb.Name) && (t.rowid > oldest || isGuarded(t.sql) != in.e.cfg.Guard)
	})
}

// table plans the capture of one table.
func (in *installer) table(tb *table, id int64) {
	print := fmt.Sprintf("%s/%d/%d", tb.Fingerprint, in.mode, captureVersion)
	want := tb.triggers(id, in.mode)
	create := tb.outboxSQL(id, in.mode)
	c, known := in.captured[id]
	if known && c.fingerprint == print && c.name == tb.Name && in.outboxes[id] == create && in.fits(tb, id, want) {
		return
	}
	for _, t := range in.own[id] {
		in.step("DROP TRIGGER " + quote(t.name))
	}
	if old := in.outboxes[id]; old == "" {
		in.step(create)
	} else if old != create {
		in.carryOver(tb, id, old, create)
	}
	for _, t := range want {
		in.step(t[1])
	}
	in.step(fmt.Sprintf("INSERT INTO %s (id, db, name, fingerprint) VALUES (%d, '', %s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name, fingerprint = excluded.fingerprint",
		in.e.Own("captured"), id, literal(tb.Name), literal(print)))
}

// carryOver makes an outbox anew and keeps its notes. A note of another mode has no
// image, and one of another key names no row: then the whole table is noted.
func (in *installer) carryOver(tb *table, id int64, old, create string) {
	tmp := quote(prefix + "carry")
	keys := columns("k", len(tb.Key))
	in.step("ALTER TABLE "+outbox(id)+" RENAME TO "+tmp, create)
	if strings.Count(old, ", k") == len(tb.Key) {
		in.step(fmt.Sprintf("INSERT INTO %s (id, %s) SELECT id, %s FROM %s", outbox(id), keys, keys, tmp))
	} else {
		in.step(fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM main.%s t WHERE EXISTS (SELECT 1 FROM %s)",
			outbox(id), keys, tb.key("t", ", ", plain), quote(tb.Name), tmp))
	}
	in.step("DROP TABLE " + tmp)
}

// drop plans the end of a capture.
func (in *installer) drop(id int64) {
	for _, t := range in.own[id] {
		in.step("DROP TRIGGER " + quote(t.name))
	}
	if in.outboxes[id] != "" {
		in.step("DROP TABLE " + outbox(id))
	}
	in.step(fmt.Sprintf("DELETE FROM %s WHERE id = %d", in.e.Own("captured"), id))
}

// guards plans to put guards around the user's triggers, or to take them away.
func (in *installer) guards() {
	for _, t := range in.users {
		base := slices.ContainsFunc(in.tables, func(tb *table) bool { return strings.EqualFold(tb.Name, t.table) })
		if !base || isGuarded(t.sql) == in.e.cfg.Guard {
			continue
		}
		create := unguard(t.sql)
		if in.e.cfg.Guard {
			var ok bool
			if create, ok = guard(t.sql); !ok {
				in.todo = append(in.todo, func(context.Context, dialect.Querier) error {
					return fmt.Errorf("trigger %s: ddb cannot find its BEGIN to put a guard before it; write it in another way", t.name)
				})
				return
			}
		}
		in.step("DROP TRIGGER "+quote(t.name), create)
	}
}

// RemoveCapture removes outboxes, triggers and guards.
func (e *engine) RemoveCapture(ctx context.Context, q dialect.Querier) error {
	bare := &engine{db: e.db}
	in := installer{e: bare, mode: dialect.Keys}
	plan := func(ctx context.Context, q dialect.Querier) error {
		if err := in.plan(ctx, q); err != nil {
			return err
		}
		rest := in.todo
		in.todo = nil
		for _, t := range in.users {
			if isGuarded(t.sql) {
				in.step("DROP TRIGGER "+quote(t.name), unguard(t.sql))
			}
		}
		in.todo = append(in.todo, rest...) // the flag goes last
		return nil
	}
	if err := in.carryOut(ctx, q, plan); err != nil {
		return fmt.Errorf("remove capture: %w", err)
	}
	return nil
}
