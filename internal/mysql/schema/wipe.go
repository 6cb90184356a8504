package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// Wipe drops views, tables, sequences and routines of the replicated databases.
func (m *Schema) Wipe(ctx context.Context, c *sql.Conn) error {
	err := m.sessions.Neutral(ctx, c, func(q dialect.Querier) error {
		rows, err := lang.Texts(ctx, q, "SELECT @@foreign_key_checks")
		if err != nil {
			return err
		}
		if err := lang.Exec(ctx, q, "SET foreign_key_checks=0"); err != nil {
			return err
		}
		err = m.wipe(ctx, q)
		if berr := lang.Exec(context.WithoutCancel(ctx), q, "SET foreign_key_checks="+rows[0][0].String); err == nil {
			err = berr
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wipe: %w", lang.Wrap(err))
	}
	return nil
}

func (m *Schema) wipe(ctx context.Context, q dialect.Querier) error {
	if err := lang.Exec(ctx, q, "DELETE FROM "+m.server.Own("counters")); err != nil {
		return err
	}
	for _, db := range slices.Backward(m.server.Databases()) {
		tables, err := lang.Texts(ctx, q, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(db)+
			" ORDER BY TABLE_TYPE='VIEW' DESC, TABLE_TYPE='SEQUENCE'")
		if err != nil {
			return err
		}
		for _, r := range tables {
			what := "TABLE"
			if r[1].String == "VIEW" || r[1].String == "SEQUENCE" {
				what = r[1].String
			}
			if err := lang.Exec(ctx, q, "DROP "+what+" IF EXISTS "+lang.Qualified(db, r[0].String)); err != nil {
				return err
			}
		}
		routines, err := lang.Texts(ctx, q, "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA="+lang.Text(db))
		if err != nil {
			return err
		}
		for _, r := range routines {
			if err := lang.Exec(ctx, q, "DROP "+r[0].String+" IF EXISTS "+lang.Qualified(db, r[1].String)); err != nil {
				return err
			}
		}
	}
	return nil
}
