package catalog

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// A key over periods of time, WITHOUT OVERLAPS, is one by whose rows others cannot be replaced: the server knows neither
// REPLACE nor ON DUPLICATE KEY UPDATE there. Of the catalogue only a table's whole text tells of
// it, which is read where a unique index ends with two moments, as such a key does.

// noteMoment counts the moments that a unique index ends with; it is called for each column in turn.
func (b *catalogBuilder) noteMoment(t *Table, index, column string) {
	n := NameOf(t.Table)
	if b.moments[n] == nil {
		b.moments[n] = map[string]int{}
	}
	count := b.moments[n][index] + 1
	for _, c := range t.StoredColumns {
		if c.Name == column && !strings.HasPrefix(c.Type, "date") && !strings.HasPrefix(c.Type, "timestamp") {
			count = 0
		}
	}
	b.moments[n][index] = count
}

// refusePeriods refuses the tables of a database that have such a key.
func (b *catalogBuilder) refusePeriods(ctx context.Context, q dialect.Querier, db string) error {
	for n, indexes := range b.moments {
		t, candidate := b.tables[n], false
		for _, count := range indexes {
			candidate = candidate || count >= 2
		}
		if n.DB != db || !candidate || t.Refusal != "" {
			continue
		}
		rows, err := lang.Texts(ctx, q, "SHOW CREATE TABLE "+t.SQLName())
		if lang.Errno(err) == lang.ErNoSuchTable {
			continue
		}
		if err != nil {
			return err
		}
		if strings.Contains(rows[0][1].String, "` WITHOUT OVERLAPS)") {
			t.Refusal = fmt.Sprintf("table %s has a key WITHOUT OVERLAPS, whose rows cannot be replaced: "+
				"drop that key, and ALTER TABLE %s ADD PRIMARY KEY or UNIQUE (...) of plain columns", t.SQLName(), t.SQLName())
		}
	}
	return nil
}
