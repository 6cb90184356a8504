package mysql

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
)

// trigger is a trigger as information_schema shows it.
type trigger struct {
	db, name, table   string
	timing, event     string // BEFORE or AFTER; INSERT, UPDATE or DELETE
	body              string
	definer           string
	mode              string // sql_mode
	client, collation string
}

var ownTrigger = regexp.MustCompile(`^ddb_\d+_(ai|au|ad|bu|bd)$`)

// noting are the suffixes of the triggers that every captured table has.
var noting = []string{"ai", "au", "ad"}

func ownTriggerName(outbox int64, suffix string) string {
	return fmt.Sprintf("ddb_%d_%s", outbox, suffix)
}

// triggers lists all triggers of the database in the order in which they act.
func (e *engine) triggers(ctx context.Context, q dialect.Querier, db string) ([]trigger, error) {
	rows, err := texts(ctx, q, "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT,"+
		" DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA="+text(db)+
		" ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER")
	if err != nil {
		return nil, err
	}
	list := make([]trigger, len(rows))
	for i, r := range rows {
		list[i] = trigger{
			db: db, name: r[0].String, table: r[1].String, timing: r[2].String, event: r[3].String, body: r[4].String,
			definer: r[5].String, mode: r[6].String, client: r[7].String, collation: r[8].String,
		}
	}
	return list, nil
}

// allTriggers lists the triggers of all databases.
func (e *engine) allTriggers(ctx context.Context, q dialect.Querier) ([]trigger, error) {
	var all []trigger
	for _, db := range append(slices.Clone(e.databases()), e.own) {
		list, err := e.triggers(ctx, q, db)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// noteColumns are the columns of an outbox that a trigger fills.
func noteColumns(t *table, images bool) []string {
	var cols []string
	if images {
		cols = append(cols, originColumns)
	}
	for i := range t.Key {
		cols = append(cols, fmt.Sprintf("k%d", i+1))
	}
	if images {
		for i := range t.stored {
			cols = append(cols, fmt.Sprintf("o%d", i+1))
		}
	}
	return cols
}

// noteValues are the expressions for noteColumns, given those of the stored columns.
func (e *engine) noteValues(t *table, images bool, stored []string, existed bool) []string {
	var vals []string
	if images {
		flag := "0"
		if existed {
			flag = "1"
		}
		vals = append(vals, e.origin(), flag)
	}
	for _, k := range t.Key {
		vals = append(vals, stored[k])
	}
	if images {
		for i, s := range stored {
			switch {
			case !existed:
				s = "NULL"
			case t.stored[i].isList():
				s = "CAST(" + s + " AS UNSIGNED)"
			}
			vals = append(vals, s)
		}
	}
	return vals
}

// captureTriggers makes the triggers of the table. Each runs a single INSERT where
// no foreign key is involved: they stand in the way of every write.
func (e *engine) captureTriggers(c *catalog, t *table, images bool) ([]trigger, error) {
	into := "INSERT INTO " + e.outboxName(t.ID) + " (" + strings.Join(noteColumns(t, images), ",") + ") VALUES "
	values := func(row string, existed bool) string {
		stored := make([]string, len(t.stored))
		for i, col := range t.stored {
			stored[i] = row + "." + ident(col.name)
		}
		return "(" + strings.Join(e.noteValues(t, images, stored, existed), ",") + ")"
	}
	var same []string
	for _, col := range t.keyColumns() {
		same = append(same, fmt.Sprintf("OLD.%s<=>NEW.%s", ident(col.name), ident(col.name)))
	}
	effects, err := c.cascades(t)
	if err != nil {
		return nil, err
	}
	var deletes, updates, moved []string
	for _, p := range effects.deletes {
		if p.last().ID != 0 { // it is among the tables that are captured
			deletes = append(deletes, e.note(p, images))
		}
	}
	for _, p := range effects.updates {
		if p.last().ID == 0 {
			continue
		}
		updates = append(updates, e.ifMoved(p, e.note(p, images)))
		if s := e.ifMoved(p, e.noteMoved(p, images)); s != "" {
			moved = append(moved, "; "+s)
		}
	}
	list := []trigger{
		e.ownTrigger(t, images, "ai", "AFTER", "INSERT", e.refuseLarge(t, images, "NEW")+into+values("NEW", false)),
		e.ownTrigger(t, images, "ad", "AFTER", "DELETE", e.refuseLarge(t, images, "OLD")+into+values("OLD", true)),
		e.ownTrigger(t, images, "au", "AFTER", "UPDATE", e.refuseLarge(t, images, "OLD", "NEW")+into+values("OLD", true)+"; IF NOT ("+strings.Join(same, " AND ")+") THEN "+
			into+values("NEW", false)+"; END IF"+strings.Join(moved, "")),
	}
	if len(deletes) > 0 {
		list = append(list, e.ownTrigger(t, images, "bd", "BEFORE", "DELETE", strings.Join(deletes, "; ")))
	}
	if len(updates) > 0 {
		list = append(list, e.ownTrigger(t, images, "bu", "BEFORE", "UPDATE", strings.Join(updates, "; ")))
	}
	return list, nil
}

// refuseLarge is a statement that refuses a change whose row, before or after it, is so large that a batch that holds
// both could not be stored. Nothing else can: a statement by itself is committed when ddb hears of it.
func (e *engine) refuseLarge(t *table, images bool, rows ...string) string {
	if !images {
		return ""
	}
	var conditions []string
	for _, row := range rows {
		var sizes []string
		for _, c := range t.stored {
			if c.unbounded() {
				sizes = append(sizes, "IFNULL(LENGTH("+row+"."+ident(c.name)+"),0)")
			}
		}
		if len(sizes) > 0 {
			conditions = append(conditions, fmt.Sprintf("%s>%d", strings.Join(sizes, "+"), e.MostBytes()/2))
		}
	}
	if len(conditions) == 0 {
		return ""
	}
	const most = 128 // characters of a MESSAGE_TEXT
	reason := fmt.Sprintf("ddb: a snap takes rows of at most %d bytes: raise max_allowed_packet; table ", e.MostBytes()/2)
	name := []rune(t.Database + "." + t.Name)
	name = name[:min(len(name), most-len(reason))]
	return "IF " + strings.Join(conditions, " OR ") + " THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT=" + text(reason+string(name)) + "; END IF; "
}

// ifMoved runs the statement, if there is one, when columns change that the path's first step refers to.
func (e *engine) ifMoved(p path, statement string) string {
	if statement == "" {
		return ""
	}
	var same []string
	for _, ref := range p.steps[0].key.refs {
		// Byte for byte, since InnoDB passes on a change of letter case too.
		same = append(same, fmt.Sprintf("BINARY OLD.%s<=>BINARY NEW.%s", ident(ref), ident(ref)))
	}
	return "IF NOT (" + strings.Join(same, " AND ") + ") THEN " + statement + "; END IF"
}

// ownTrigger wraps the statements of a capture trigger. Nothing is noted in Replay on a
// node that keeps images; one that notes keys is a master, which replays nothing, and
// is spared the question at every write.
func (e *engine) ownTrigger(t *table, images bool, suffix, timing, event, statements string) trigger {
	body := "IF @ddb_apply IS NULL OR @ddb_apply<>2 THEN " + statements + "; END IF"
	if !images {
		if body = statements; strings.Contains(body, "; ") {
			body = "BEGIN " + body + "; END"
		}
	}
	return trigger{
		db: t.Database, name: ownTriggerName(t.ID, suffix), table: t.Name, timing: timing, event: event, body: body,
	}
}

// create is the statement that makes the trigger; it replaces one of that name.
func (e *engine) create(tr trigger) []string {
	rest := tr.definerClause() + "TRIGGER " + qualified(tr.db, tr.name) + " " + tr.timing + " " + tr.event + " ON " +
		qualified(tr.db, tr.table) + " FOR EACH ROW " + tr.body
	if e.mariadb {
		return []string{"CREATE OR REPLACE " + rest}
	}
	return []string{"DROP TRIGGER IF EXISTS " + qualified(tr.db, tr.name), "CREATE " + rest}
}

// definerClause names the user in whose name the trigger acts, if not the current one.
func (tr trigger) definerClause() string {
	if tr.definer == "" {
		return ""
	}
	at := strings.LastIndex(tr.definer, "@")
	if at < 0 || at == len(tr.definer)-1 { // a role
		return "DEFINER=" + ident(strings.TrimSuffix(tr.definer, "@")) + " "
	}
	return "DEFINER=" + ident(tr.definer[:at]) + "@" + ident(tr.definer[at+1:]) + " "
}

// The guard around the body of a user's trigger. Body and guard stand on lines of
// their own, so that the body comes out again exactly as it went in.
const (
	guardHead = "IF @ddb_apply IS NULL THEN /* guarded by ddb */\n"
	guardTail = "\n; END IF"
)

func guarded(body string) bool {
	return strings.HasPrefix(body, guardHead) && strings.HasSuffix(body, guardTail)
}

func unguard(body string) string {
	if !guarded(body) {
		return body
	}
	return strings.TrimSuffix(strings.TrimPrefix(body, guardHead), guardTail)
}

// setGuards puts a guard around the user's triggers on the tables, or takes it away
// (tables nil means all). All triggers of the same table, time and event are made anew
// in their order, because the server puts a trigger that is replaced last.
func (e *engine) setGuards(ctx context.Context, q dialect.Querier, all []trigger, guard bool, covers func(tableName) bool) error {
	type slot struct{ db, table, timing, event string }
	groups := map[slot][]trigger{}
	var order []slot
	for _, tr := range all {
		if ownTrigger.MatchString(tr.name) || !covers(tableName{tr.db, tr.table}) {
			continue
		}
		s := slot{tr.db, tr.table, tr.timing, tr.event}
		if groups[s] == nil {
			order = append(order, s)
		}
		groups[s] = append(groups[s], tr)
	}
	for _, s := range order {
		if !slices.ContainsFunc(groups[s], func(tr trigger) bool { return guarded(tr.body) != guard }) {
			continue
		}
		for _, tr := range groups[s] {
			body := unguard(tr.body)
			if guard {
				body = guardHead + body + guardTail
			}
			if err := e.recreate(ctx, q, tr, body); err != nil {
				return fmt.Errorf("trigger %s: %w", qualified(tr.db, tr.name), err)
			}
		}
	}
	return nil
}

// recreate makes a user's trigger with another body and everything else as it was.
func (e *engine) recreate(ctx context.Context, q dialect.Querier, tr trigger, body string) error {
	tr.body = body
	client := tr.client
	if !isASCII(body) {
		client = "utf8mb4" // the text comes from the catalogue in UTF-8
	}
	set := fmt.Sprintf("SET sql_mode=%s, character_set_client=%s, collation_connection=%s", text(tr.mode), client, tr.collation)
	back := "SET sql_mode='" + sqlMode + "', character_set_client=utf8mb4, collation_connection=utf8mb4_bin"
	if err := exec(ctx, q, set); err != nil {
		return err
	}
	err := exec(ctx, q, e.create(tr)...)
	if berr := exec(context.WithoutCancel(ctx), q, back); err == nil {
		err = berr
	}
	return err
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
