package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// InstallCapture makes outboxes first, then triggers, since a parent's trigger names
// the outboxes of its children. What it replaces goes last, so that no change is
// unseen in between.
func (c *Capture) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	err := c.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		in := installer{outboxes: c.outboxes, current: c.current, q: q, images: mode == dialect.Images, wanted: map[string]bool{}, counts: map[string]int{}}
		if err := in.install(ctx, tables, c.guard); err != nil {
			return err
		}
		c.installed.Store(&in.counts)
		return nil
	})
	if err != nil {
		return fmt.Errorf("install capture: %w", lang.Wrap(err))
	}
	return nil
}

// Capture makes the outboxes of tables, notes in them and reads the notes.
type Capture struct {
	outboxes Outboxes
	sessions *sessions.Sessions
	current  *catalog.Current
	guard    bool // the user's triggers are to have guards

	installed atomic.Pointer[map[string]int] // how many triggers InstallCapture has left, by database; nil for none
}

// New returns the capture of the server's tables; with guard, the user's triggers get guards.
func New(s *server.Server, on *sessions.Sessions, tables *catalog.Current, guard bool) *Capture {
	return &Capture{outboxes: NewOutboxes(s), sessions: on, current: tables, guard: guard}
}

// Installed tells how many triggers InstallCapture has left, by database; nil where that is not known.
func (c *Capture) Installed() map[string]int {
	if n := c.installed.Load(); n != nil {
		return *n
	}
	return nil
}

type installer struct {
	outboxes Outboxes
	current  *catalog.Current
	q        dialect.Querier
	images   bool
	catalog  *catalog.Catalog
	triggers []catalog.Trigger // that exist
	wanted   map[string]bool   // quoted names of the triggers that stay
	counts   map[string]int    // of these, by database
}

func (in *installer) install(ctx context.Context, tables []*dialect.Table, guard bool) error {
	var list []*catalog.Table
	for _, t := range tables {
		if t.Refusal != "" {
			continue
		}
		i, err := in.current.Table(ctx, in.q, t)
		if err != nil {
			return err
		}
		list = append(list, i)
	}
	old := in.current.Last()
	in.catalog = &catalog.Catalog{Tables: old.Tables, Images: in.images}
	have, err := in.outboxes.captured(ctx, in.q)
	if err != nil {
		return err
	}
	keep, err := in.provide(ctx, list, have)
	if err != nil {
		return err
	}
	for i, t := range list {
		t.ID = keep[i]
		setID(tables, t)
	}
	in.current.Set(in.catalog)
	if in.triggers, err = catalog.Triggers(ctx, in.q, in.outboxes.server); err != nil {
		return err
	}
	if guard {
		// Before ddb's own triggers, which must act last.
		err := in.outboxes.setGuards(ctx, in.q, in.triggers, true, func(n catalog.Name) bool {
			return slices.ContainsFunc(list, func(t *catalog.Table) bool { return n == catalog.NameOf(t.Table) })
		})
		if err != nil {
			return err
		}
		if in.triggers, err = catalog.Triggers(ctx, in.q, in.outboxes.server); err != nil {
			return err
		}
	}
	for _, t := range list {
		if err := in.capture(ctx, t); err != nil {
			return fmt.Errorf("table %s: %w", t.SQLName(), err)
		}
	}
	if err := in.inherit(ctx, list, have); err != nil {
		return err
	}
	return in.outboxes.sweep(ctx, in.q, in.triggers, in.wanted, keep)
}

// setID tells the caller's own copies of the table about its outbox.
func setID(tables []*dialect.Table, t *catalog.Table) {
	for _, x := range tables {
		if x.Database == t.Database && x.Name == t.Name {
			x.ID = t.ID
		}
	}
}

// provide gives each table an outbox of the right form and returns their numbers.
func (in *installer) provide(ctx context.Context, list []*catalog.Table, have []outbox) ([]int64, error) {
	var next int64 = 1
	byTable := map[catalog.Name]outbox{}
	for _, o := range have {
		byTable[o.table] = o
		next = max(next, o.id+1)
	}
	ids := make([]int64, len(list))
	for i, t := range list {
		columns := outboxColumns(t, in.images)
		print := outboxPrint(t, in.images)
		n := catalog.NameOf(t.Table)
		if o, ok := byTable[n]; ok && o.fingerprint == print {
			ids[i] = o.id
			continue
		}
		err := lang.Exec(ctx, in.q,
			"DROP TABLE IF EXISTS "+in.outboxes.Name(next),
			"CREATE TABLE "+in.outboxes.Name(next)+" ("+columns+")"+server.OwnOptions,
			fmt.Sprintf("INSERT INTO %s (id, db, name, fingerprint) VALUES (%d, %s, %s, %s)",
				in.outboxes.server.Own("captured"), next, lang.Text(t.Database), lang.Text(t.Name), lang.Text(print)))
		if err != nil {
			return nil, fmt.Errorf("table %s: outbox: %w", t.SQLName(), err)
		}
		ids[i] = next
		next++
	}
	return ids, nil
}

// capture makes those triggers of the table that are missing or different.
func (in *installer) capture(ctx context.Context, t *catalog.Table) error {
	want, err := in.outboxes.captureTriggers(in.catalog, t, in.images)
	if err != nil {
		return err
	}
	for _, tr := range want {
		in.wanted[lang.Qualified(tr.DB, tr.Name)] = true
		in.counts[tr.DB]++
		have := slices.IndexFunc(in.triggers, func(o catalog.Trigger) bool {
			return o.DB == tr.DB && o.Name == tr.Name && o.Table == tr.Table && o.Timing == tr.Timing && o.Event == tr.Event && o.Body == tr.Body
		})
		if have >= 0 && !overtaken(in.triggers[have+1:], tr) {
			continue
		}
		if slices.ContainsFunc(in.triggers, func(o catalog.Trigger) bool { return o.DB == tr.DB && o.Name == tr.Name && o.Table != tr.Table }) {
			// It went along with a table that was renamed, where it cannot be replaced from.
			if err := lang.Exec(ctx, in.q, "DROP TRIGGER IF EXISTS "+lang.Qualified(tr.DB, tr.Name)); err != nil {
				return err
			}
		}
		if err := lang.Exec(ctx, in.q, in.outboxes.create(tr)...); err != nil {
			return err
		}
	}
	return nil
}

// inherit copies pending notes from an outbox that is replaced by one with the same key.
func (in *installer) inherit(ctx context.Context, list []*catalog.Table, have []outbox) error {
	for _, t := range list {
		for _, o := range have {
			if o.id == t.ID || o.table != catalog.NameOf(t.Table) || o.key() != (outbox{fingerprint: outboxPrint(t, in.images)}).key() {
				continue
			}
			columns, values := KeyNames(t), KeyNames(t)
			if in.images {
				columns, values = originColumns+","+columns, in.outboxes.origin()+",0,"+values
			}
			err := lang.Exec(ctx, in.q, "INSERT INTO "+in.outboxes.Name(t.ID)+" ("+columns+") SELECT "+values+" FROM "+in.outboxes.Name(o.id))
			if err != nil {
				return fmt.Errorf("table %s: keep notes: %w", t.SQLName(), err)
			}
		}
	}
	return nil
}

// sweep removes ddb's triggers and outboxes except those named.
func (o Outboxes) sweep(ctx context.Context, q dialect.Querier, all []catalog.Trigger, triggers map[string]bool, outboxes []int64) error {
	for _, tr := range all {
		if name := lang.Qualified(tr.DB, tr.Name); tr.Own() && !triggers[name] {
			if err := lang.Exec(ctx, q, "DROP TRIGGER IF EXISTS "+name); err != nil {
				return err
			}
		}
	}
	rows, err := lang.Texts(ctx, q, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(o.server.OwnDatabase)+" AND TABLE_NAME LIKE 'out\\_%'")
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, id := range outboxes {
		keep[fmt.Sprintf("out_%d", id)] = true
	}
	for _, r := range rows {
		if name := r[0].String; !keep[name] {
			id := lang.Atoi(strings.TrimPrefix(name, "out_"))
			err := lang.Exec(ctx, q, fmt.Sprintf("DELETE FROM %s WHERE id=%d", o.server.Own("captured"), id), "DROP TABLE IF EXISTS "+o.server.Own(name))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveCapture takes away all that InstallCapture made.
func (c *Capture) RemoveCapture(ctx context.Context, q dialect.Querier) error {
	err := c.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		all, err := catalog.Triggers(ctx, q, c.outboxes.server)
		if err != nil {
			return err
		}
		if err := c.outboxes.setGuards(ctx, q, all, false, func(catalog.Name) bool { return true }); err != nil {
			return err
		}
		c.installed.Store(nil)
		return c.outboxes.sweep(ctx, q, all, nil, nil)
	})
	if err != nil {
		return fmt.Errorf("remove capture: %w", lang.Wrap(err))
	}
	return nil
}
