package capture

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// touchPage is how many keys Touch reads and notes at a time when it notes a whole table.
const touchPage = 5000

// Touch notes keys. For a whole table it reads them page by page: a single INSERT ...
// SELECT would lock every row against writers.
func (c *Capture) Touch(ctx context.Context, q dialect.Querier, dt *dialect.Table, keys [][]any) error {
	t, err := c.current.Table(ctx, q, dt)
	if err != nil {
		return err
	}
	err = c.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		if keys != nil {
			return c.touch(ctx, q, t, keys)
		}
		var after []any
		for {
			page, err := c.keyPage(ctx, q, t, after, touchPage)
			if err != nil {
				return err
			}
			if err := c.touch(ctx, q, t, page); err != nil || len(page) < touchPage {
				return err
			}
			after = page[len(page)-1]
		}
	})
	if err != nil {
		return fmt.Errorf("touch %s: %w", t.SQLName(), lang.Wrap(err))
	}
	return nil
}

// keyPage reads the keys behind after, in order.
func (c *Capture) keyPage(ctx context.Context, q dialect.Querier, t *catalog.Table, after []any, limit int) ([][]any, error) {
	r := &codec.Reader{}
	r.AddColumns("t", t.KeyColumns())
	var page [][]any
	err := r.Run(ctx, q, t.PageQuery(r.Exprs, after, limit), func(v []any) error {
		page = append(page, append([]any(nil), v...))
		return nil
	})
	return page, err
}

func (c *Capture) touch(ctx context.Context, q dialect.Querier, t *catalog.Table, keys [][]any) error {
	images := c.current.Last().Images
	head := "INSERT INTO " + c.outboxes.Name(t.ID) + " (" + KeyNames(t) + ") VALUES "
	origin := ""
	if images {
		head = "INSERT INTO " + c.outboxes.Name(t.ID) + " (" + originColumns + "," + KeyNames(t) + ") VALUES "
		origin = c.outboxes.origin() + ",0,"
	}
	st := codec.NewInsert(ctx, q, c.outboxes.server.StatementSize, head, "")
	columns := t.KeyColumns()
	for _, key := range keys {
		if err := catalog.CheckKey(t, key); err != nil {
			return err
		}
		b := st.Row()
		st.End(codec.AppendTuple(append(b, origin...), columns, key))
		if err := st.Next(); err != nil {
			return err
		}
	}
	return st.Flush()
}
