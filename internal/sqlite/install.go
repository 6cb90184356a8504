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
	list := make([]*table, 0, len(tables))
	for _, t := range tables {
		tb, err := e.info(ctx, q, t)
		if err != nil {
			return fmt.Errorf("sqlite: install capture: %w", err)
		}
		if t.Refusal == "" {
			copied := *tb
			copied.Table = t // whose ID is to be set
			list = append(list, &copied)
		}
	}
	in := installer{e: e, tables: list, mode: mode}
	if err := in.carryOut(ctx, q, in.plan); err != nil {
		return fmt.Errorf("sqlite: install capture: %w", err)
	}
	for t, id := range in.ids {
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
	tables []*table
	mode   dialect.CaptureMode

	todo []func(ctx context.Context, q dialect.Querier) error
	ids  map[*dialect.Table]int64

	captured map[int64]capturedTable
	triggers []trigger
	outboxes map[int64]string
	nextID   int64
}

// carryOut does what plan puts into todo, all or nothing. Mostly there is nothing to do, which
// needs no transaction; where there is, the plan is made again inside it.
func (in *installer) carryOut(ctx context.Context, q dialect.Querier, plan func(context.Context, dialect.Querier) error) error {
	if err := plan(ctx, q); err != nil || len(in.todo) == 0 {
		return err
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
	if in.captured, err = in.e.captured(ctx, q, nil); err != nil {
		return err
	}
	if in.triggers, err = allTriggers(ctx, q); err != nil {
		return err
	}
	if err := in.readOutboxes(ctx, q); err != nil {
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

func (in *installer) readOutboxes(ctx context.Context, q dialect.Querier) error {
	in.outboxes = make(map[int64]string)
	var name, create string
	return each(ctx, q, "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND substr(name, 1, 9) = '_ddb_out_'", []any{&name, &create}, func() error {
		if id, err := strconv.ParseInt(name[9:], 10, 64); err == nil {
			in.outboxes[id] = create
		}
		return nil
	})
}

// currentName is the name that a captured table has now: a rename by any client moves
// its triggers along, which tells.
func (in *installer) currentName(c capturedTable) string {
	for _, t := range in.of(c.id) {
		return t.table
	}
	return c.name
}

// of returns the capture triggers of an outbox.
func (in *installer) of(id int64) []trigger {
	p := fmt.Sprintf("%s%d_", prefix, id)
	var list []trigger
	for _, t := range in.triggers {
		if strings.HasPrefix(t.name, p) {
			list = append(list, t)
		}
	}
	return list
}

// fits reports whether the triggers of an outbox are as they should be. A trigger of
// the user's that is younger than ours would fire first and change a row
// before its image is noted; SQLite fires the youngest first.
func (in *installer) fits(tb *table, id int64, want [][2]string) bool {
	have := in.of(id)
	if len(have) != len(want) {
		return false
	}
	oldest := have[0].rowid
	for _, w := range want {
		if !slices.ContainsFunc(have, func(t trigger) bool { return t.name == w[0] && t.sql == w[1] }) {
			return false
		}
	}
	return in.mode == dialect.Keys || !slices.ContainsFunc(in.triggers, func(t trigger) bool {
		return !own(t.name) && strings.EqualFold(t.table, tb.Name) && (t.rowid > oldest || isGuarded(t.sql) != in.e.cfg.Guard)
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
	for _, t := range in.of(id) {
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
	for _, t := range in.of(id) {
		in.step("DROP TRIGGER " + quote(t.name))
	}
	if in.outboxes[id] != "" {
		in.step("DROP TABLE " + outbox(id))
	}
	in.step(fmt.Sprintf("DELETE FROM %s WHERE id = %d", in.e.Own("captured"), id))
}

// guards plans to put guards around the user's triggers, or to take them away.
func (in *installer) guards() {
	for _, t := range in.triggers {
		base := slices.ContainsFunc(in.tables, func(tb *table) bool { return strings.EqualFold(tb.Name, t.table) })
		if own(t.name) || !base || isGuarded(t.sql) == in.e.cfg.Guard {
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
		for _, t := range in.triggers {
			if !own(t.name) && isGuarded(t.sql) {
				in.step("DROP TRIGGER "+quote(t.name), unguard(t.sql))
			}
		}
		in.todo = append(in.todo, rest...) // the flag goes last
		return nil
	}
	if err := in.carryOut(ctx, q, plan); err != nil {
		return fmt.Errorf("sqlite: remove capture: %w", err)
	}
	return nil
}
