package capture

import (
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// captureTriggers makes the triggers of the table. Each runs a single INSERT where
// no foreign key is involved: they stand in the way of every write.
func (o Outboxes) captureTriggers(c *catalog.Catalog, t *catalog.Table, images bool) ([]catalog.Trigger, error) {
	into := "INSERT INTO " + o.Name(t.ID) + " (" + strings.Join(noteColumns(t, images), ",") + ") VALUES "
	values := func(row string, existed bool) string {
		stored := make([]string, len(t.StoredColumns))
		for i, col := range t.StoredColumns {
			stored[i] = row + "." + lang.Ident(col.Name)
		}
		return "(" + strings.Join(o.noteValues(t, images, stored, existed), ",") + ")"
	}
	var same []string
	for _, col := range t.KeyColumns() {
		same = append(same, fmt.Sprintf("OLD.%s<=>NEW.%s", lang.Ident(col.Name), lang.Ident(col.Name)))
	}
	effects, err := c.Cascades(t)
	if err != nil {
		return nil, err
	}
	var deletes, updates, moved []string
	for _, p := range effects.Deletes {
		if p.Last().ID != 0 { // it is among the tables that are captured
			deletes = append(deletes, o.note(p, images))
		}
	}
	for _, p := range effects.Updates {
		if p.Last().ID == 0 {
			continue
		}
		updates = append(updates, o.ifMoved(p, o.note(p, images)))
		if s := o.ifMoved(p, o.noteMoved(p, images)); s != "" {
			moved = append(moved, "; "+s)
		}
	}
	list := []catalog.Trigger{
		o.ownTrigger(t, images, "ai", "AFTER", "INSERT", o.refuseLarge(t, images, "NEW")+into+values("NEW", false)),
		o.ownTrigger(t, images, "ad", "AFTER", "DELETE", o.refuseLarge(t, images, "OLD")+into+values("OLD", true)),
		o.ownTrigger(t, images, "au", "AFTER", "UPDATE", o.refuseLarge(t, images, "OLD", "NEW")+into+values("OLD", true)+"; IF NOT ("+strings.Join(same, " AND ")+") THEN "+
			into+values("NEW", false)+"; END IF"+strings.Join(moved, "")),
	}
	if len(deletes) > 0 {
		list = append(list, o.ownTrigger(t, images, "bd", "BEFORE", "DELETE", strings.Join(deletes, "; ")))
	}
	if len(updates) > 0 {
		list = append(list, o.ownTrigger(t, images, "bu", "BEFORE", "UPDATE", strings.Join(updates, "; ")))
	}
	return list, nil
}

// refuseLarge is a statement that refuses a change whose row, before or after it, is so large that a batch that holds
// both could not be stored. Nothing else can: a statement by itself is committed when ddb hears of it.
func (o Outboxes) refuseLarge(t *catalog.Table, images bool, rows ...string) string {
	if !images {
		return ""
	}
	var conditions []string
	for _, row := range rows {
		var sizes []string
		for _, c := range t.StoredColumns {
			if c.Unbounded() {
				sizes = append(sizes, "IFNULL(LENGTH("+row+"."+lang.Ident(c.Name)+"),0)")
			}
		}
		if len(sizes) > 0 {
			conditions = append(conditions, fmt.Sprintf("%s>%d", strings.Join(sizes, "+"), o.server.MostBytes()/2))
		}
	}
	if len(conditions) == 0 {
		return ""
	}
	const most = 128 // characters of a MESSAGE_TEXT
	reason := fmt.Sprintf("a snap takes rows of at most %d bytes: raise max_allowed_packet; table ", o.server.MostBytes()/2)
	name := []rune(t.Database + "." + t.Name)
	name = name[:min(len(name), most-len(reason))]
	return "IF " + strings.Join(conditions, " OR ") + " THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT=" + lang.Text(reason+string(name)) + "; END IF; "
}

// ifMoved runs the statement, if there is one, when columns change that the path's first step refers to.
func (o Outboxes) ifMoved(p catalog.Path, statement string) string {
	if statement == "" {
		return ""
	}
	var same []string
	for _, ref := range p.Steps[0].Key.Refs {
		// Byte for byte, since InnoDB passes on a change of letter case too.
		same = append(same, fmt.Sprintf("BINARY OLD.%s<=>BINARY NEW.%s", lang.Ident(ref), lang.Ident(ref)))
	}
	return "IF NOT (" + strings.Join(same, " AND ") + ") THEN " + statement + "; END IF"
}

// ownTrigger wraps the statements of a capture trigger. Nothing is noted in Replay on a
// node that keeps images; one that notes keys is a master, which replays nothing, and
// is spared the question at every write.
func (o Outboxes) ownTrigger(t *catalog.Table, images bool, suffix, timing, event, statements string) catalog.Trigger {
	body := "IF @ddb_apply IS NULL OR @ddb_apply<>2 THEN " + statements + "; END IF"
	if !images {
		if body = statements; strings.Contains(body, "; ") {
			body = "BEGIN " + body + "; END"
		}
	}
	return catalog.Trigger{
		DB: t.Database, Name: catalog.OwnTriggerName(t.ID, suffix), Table: t.Name, Timing: timing, Event: event, Body: body,
	}
}

// create is the statement that makes the trigger; it replaces one of that name.
func (o Outboxes) create(tr catalog.Trigger) []string {
	rest := tr.DefinerClause() + "TRIGGER " + lang.Qualified(tr.DB, tr.Name) + " " + tr.Timing + " " + tr.Event + " ON " +
		lang.Qualified(tr.DB, tr.Table) + " FOR EACH ROW " + tr.Body
	if o.server.MariaDB {
		return []string{"CREATE OR REPLACE " + rest}
	}
	return []string{"DROP TRIGGER IF EXISTS " + lang.Qualified(tr.DB, tr.Name), "CREATE " + rest}
}
