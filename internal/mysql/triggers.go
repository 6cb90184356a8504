package mysql

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

// trigger is a trigger as information_schema shows it.
type trigger struct {
	db, name, table   string
	timing, event     string // BEFORE or AFTER; INSERT, UPDATE or DELETE
	body              string
	definer           string
	mode              string // sql_mode
	client, collation string
}

// on is the table that the trigger is on.
func (tr trigger) on() tableName { return tableName{tr.db, tr.table} }

var ownTrigger = regexp.MustCompile(`^ddb_\d+_(ai|au|ad|bu|bd)$`)

func ownTriggerName(outbox int64, suffix string) string {
	return fmt.Sprintf("ddb_%d_%s", outbox, suffix)
}

// triggersOf lists all triggers of the database in the order in which they act.
func triggersOf(ctx context.Context, q dialect.Querier, db string) ([]trigger, error) {
	rows, err := lang.Texts(ctx, q, "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT,"+
		" DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA="+lang.Text(db)+
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
func allTriggers(ctx context.Context, q dialect.Querier, s *server.Server) ([]trigger, error) {
	var all []trigger
	for _, db := range append(slices.Clone(s.Databases()), s.OwnDatabase) {
		list, err := triggersOf(ctx, q, db)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// definerClause names the user in whose name the trigger acts, if not the current one.
func (tr trigger) definerClause() string {
	if tr.definer == "" {
		return ""
	}
	at := strings.LastIndex(tr.definer, "@")
	if at < 0 || at == len(tr.definer)-1 { // a role
		return "DEFINER=" + lang.Ident(strings.TrimSuffix(tr.definer, "@")) + " "
	}
	return "DEFINER=" + lang.Ident(tr.definer[:at]) + "@" + lang.Ident(tr.definer[at+1:]) + " "
}
