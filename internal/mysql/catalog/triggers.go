package catalog

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
)

// Trigger is a trigger as information_schema shows it.
type Trigger struct {
	DB, Name, Table   string
	Timing, Event     string // BEFORE or AFTER; INSERT, UPDATE or DELETE
	Body              string
	definer           string
	Mode              string // sql_mode
	Client, Collation string
}

// On is the table that the trigger is on.
func (tr Trigger) On() Name { return Name{tr.DB, tr.Table} }

var ownTrigger = regexp.MustCompile(`^ddb_\d+_(ai|au|ad|bu|bd)$`)

// Own reports whether it is one of ddb's own.
func (tr Trigger) Own() bool { return ownTrigger.MatchString(tr.Name) }

// OwnTriggerName is the name of ddb's own trigger that fills an outbox; the suffix says when it acts.
func OwnTriggerName(outbox int64, suffix string) string {
	return fmt.Sprintf("ddb_%d_%s", outbox, suffix)
}

// TriggersOf lists all triggers of the database in the order in which they act.
func TriggersOf(ctx context.Context, q dialect.Querier, db string) ([]Trigger, error) {
	rows, err := lang.Texts(ctx, q, "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT,"+
		" DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA="+lang.Text(db)+
		" ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER")
	if err != nil {
		return nil, err
	}
	list := make([]Trigger, len(rows))
	for i, r := range rows {
		list[i] = Trigger{
			DB: db, Name: r[0].String, Table: r[1].String, Timing: r[2].String, Event: r[3].String, Body: r[4].String,
			definer: r[5].String, Mode: r[6].String, Client: r[7].String, Collation: r[8].String,
		}
	}
	return list, nil
}

// Triggers lists the triggers of all databases.
func Triggers(ctx context.Context, q dialect.Querier, s *server.Server) ([]Trigger, error) {
	var all []Trigger
	for _, db := range append(slices.Clone(s.Databases()), s.OwnDatabase) {
		list, err := TriggersOf(ctx, q, db)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// DefinerClause names the user in whose name the trigger acts, if not the current one.
func (tr Trigger) DefinerClause() string {
	if tr.definer == "" {
		return ""
	}
	at := strings.LastIndex(tr.definer, "@")
	if at < 0 || at == len(tr.definer)-1 { // a role
		return "DEFINER=" + lang.Ident(strings.TrimSuffix(tr.definer, "@")) + " "
	}
	return "DEFINER=" + lang.Ident(tr.definer[:at]) + "@" + lang.Ident(tr.definer[at+1:]) + " "
}
