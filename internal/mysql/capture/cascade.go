package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// note returns the statement that notes the rows at the path's end, before they change.
func (o Outboxes) note(p catalog.Path, images bool) string { return o.noteRows(p, images, "OLD", true) }

// noteMoved returns the statement that notes the same rows when they have changed, or "" if none gets another key.
// Several paths may change one key, so it is read from the row rather than told by the path. All steps
// of one that changes a key are CASCADE, and lead from the new row to the changed ones.
func (o Outboxes) noteMoved(p catalog.Path, images bool) string {
	t := p.Last()
	for _, k := range t.Key {
		if v := p.Changed[t.Stored[k]]; v != "" && v != "NULL" {
			return o.noteRows(p, images, "NEW", false)
		}
	}
	return ""
}

func (o Outboxes) noteRows(p catalog.Path, images bool, row string, existed bool) string {
	t := p.Last()
	stored := make([]string, len(t.StoredColumns))
	for i, c := range t.StoredColumns {
		stored[i] = fmt.Sprintf("x%d.%s", len(p.Steps), lang.Ident(c.Name))
	}
	return "INSERT INTO " + o.Name(t.ID) + " (" + strings.Join(noteColumns(t, images), ",") + ") SELECT " +
		strings.Join(o.noteValues(t, images, stored, existed), ",") + p.From(row)
}

// uncascaded marks the tables whose rows a cascade may have changed unseen: a parent has no trigger that notes them, since
// another client has just made the foreign key, or one that acts before a trigger of the user's, which may change the row.
func (o Outboxes) uncascaded(c *catalog.Catalog, triggers []catalog.Trigger) error {
	acts := map[string]string{} // bodies by name of those that act last
	for i, tr := range triggers {
		if !overtaken(triggers[i+1:], tr) {
			acts[lang.Qualified(tr.DB, tr.Name)] = tr.Body
		}
	}
	for _, t := range c.Tables {
		if t.ID == 0 || t.Refusal != "" {
			continue
		}
		effects, err := c.Cascades(t)
		if err != nil {
			return err
		}
		body := func(suffix string) string {
			return acts[lang.Qualified(t.Database, catalog.OwnTriggerName(t.ID, suffix))]
		}
		for _, p := range effects.Deletes {
			if p.Last().ID != 0 && !strings.Contains(body("bd"), o.note(p, c.Images)) {
				p.Last().Bare = true
			}
		}
		for _, p := range effects.Updates {
			if p.Last().ID != 0 && (!strings.Contains(body("bu"), o.ifMoved(p, o.note(p, c.Images))) || !strings.Contains(body("au"), o.ifMoved(p, o.noteMoved(p, c.Images)))) {
				p.Last().Bare = true
			}
		}
	}
	return nil
}

// overtaken reports whether a trigger of the user's among later ones, in the order in which they act, acts after tr on
// what tr tells of a row.
func overtaken(later []catalog.Trigger, tr catalog.Trigger) bool {
	return tr.Timing == "BEFORE" && slices.ContainsFunc(later, func(o catalog.Trigger) bool {
		return o.DB == tr.DB && o.Table == tr.Table && o.Timing == tr.Timing && o.Event == tr.Event && !o.Own()
	})
}
