package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// The guard around the body of a user's trigger. Body and guard stand on lines of
// their own, so that the body comes out again exactly as it went in.
const (
	guardHead = "IF @ddb_apply IS NULL THEN /* guarded by ddb */\n"
	guardTail = "\n; END IF"
)

func guarded(body string) bool {
	return strings.HasPrefix(body, guardHead) && strings.HasSuffix(body, guardTail)
}

// Unguard returns a trigger's body without the guard, if it has one.
func Unguard(body string) string {
	if !guarded(body) {
		return body
	}
	return strings.TrimSuffix(strings.TrimPrefix(body, guardHead), guardTail)
}

// setGuards puts a guard around the user's triggers on the tables, or takes it away
// (tables nil means all). All triggers of the same table, time and event are made anew
// in their order, because the server puts a trigger that is replaced last.
func (o Outboxes) setGuards(ctx context.Context, q dialect.Querier, all []catalog.Trigger, guard bool, covers func(catalog.Name) bool) error {
	type slot struct{ db, table, timing, event string }
	groups := map[slot][]catalog.Trigger{}
	var order []slot
	for _, tr := range all {
		if tr.Own() || !covers(tr.On()) {
			continue
		}
		s := slot{tr.DB, tr.Table, tr.Timing, tr.Event}
		if groups[s] == nil {
			order = append(order, s)
		}
		groups[s] = append(groups[s], tr)
	}
	for _, s := range order {
		if !slices.ContainsFunc(groups[s], func(tr catalog.Trigger) bool { return guarded(tr.Body) != guard }) {
			continue
		}
		for _, tr := range groups[s] {
			body := Unguard(tr.Body)
			if guard {
				body = guardHead + body + guardTail
			}
			if err := o.recreate(ctx, q, tr, body); err != nil {
				return fmt.Errorf("trigger %s: %w", lang.Qualified(tr.DB, tr.Name), err)
			}
		}
	}
	return nil
}

// recreate makes a user's trigger with another body and everything else as it was.
func (o Outboxes) recreate(ctx context.Context, q dialect.Querier, tr catalog.Trigger, body string) error {
	tr.Body = body
	client := tr.Client
	if !isASCII(body) {
		client = "utf8mb4" // the text comes from the catalogue in UTF-8
	}
	set := fmt.Sprintf("SET sql_mode=%s, character_set_client=%s, collation_connection=%s", lang.Text(tr.Mode), client, tr.Collation)
	back := "SET sql_mode='" + lang.SQLMode + "', character_set_client=utf8mb4, collation_connection=utf8mb4_bin"
	if err := lang.Exec(ctx, q, set); err != nil {
		return err
	}
	err := lang.Exec(ctx, q, o.create(tr)...)
	if berr := lang.Exec(context.WithoutCancel(ctx), q, back); err == nil {
		err = berr
	}
	return err
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
