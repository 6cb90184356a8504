package ddb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
)

// How often a node looks whether the keys that its database hands out are running out.
var (
	keyWatchEvery = 10 * time.Minute // if no table has changed
	keyWatchTick  = 15 * time.Second // for tables that have
)

// watchKeys warns in time of keys that run out, until ctx ends. number tells the node's own number.
func (n *node) watchKeys(ctx context.Context, number func() int64) {
	every, tick := keyWatchEvery, keyWatchTick
	var seen *catalogue
	var last time.Time
	warned := make(map[string]bool)
	for {
		own := number() // 0: the master has not given one yet
		if cat := n.tables.Load(); own != 0 && cat != nil && (cat != seen || time.Since(last) >= every) {
			if err := n.checkKeys(ctx, n.db, cat.replicated(), own, warned); err != nil && ctx.Err() == nil {
				n.log.Debug("cannot look whether keys are running out", "error", err)
			}
			seen, last = cat, time.Now()
		}
		if sleep(ctx, tick) != nil {
			return
		}
	}
}

// checkKeys warns once of each table whose keys are nearly used up.
func (n *node) checkKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table, number int64, warned map[string]bool) error {
	for _, t := range tables {
		column := handedOut(t)
		if n.dialect.Name() == "mysql" {
			column = autoIncrement(t)
		}
		name := n.name(t).String()
		if t.Own || column == "" || warned[name] {
			continue
		}
		used, err := n.usedKeys(ctx, q, t, column, number)
		if err != nil {
			return err
		}
		if used >= warnAt {
			warned[name] = true
			n.log.Warn("keys are running out; give the column a larger type, or new rows keys of your own",
				"table", name, "column", column, "used", fmt.Sprintf("%.0f %%", used*100))
		}
	}
	return nil
}

// autoIncrement returns the AUTO_INCREMENT column of a table, or "".
func autoIncrement(t *dialect.Table) string {
	for _, c := range t.Columns {
		if c.AutoIncrement {
			return c.Name
		}
	}
	return ""
}

// usedKeys returns the share of the keys that is used up: on SQLite of the node's range, on MariaDB of the column's type.
func (n *node) usedKeys(ctx context.Context, q dialect.Querier, t *dialect.Table, column string, number int64) (float64, error) {
	if n.dialect.Name() == "mysql" {
		var next uint64
		var kind string
		err := scanOne(ctx, q, []any{&next, &kind}, "SELECT coalesce(t.auto_increment, 0), c.column_type FROM information_schema.tables t JOIN information_schema.columns c "+
			"ON c.table_schema = t.table_schema AND c.table_name = t.table_name WHERE t.table_schema = ? AND t.table_name = ? AND c.column_name = ?",
			n.physical(n.logical(t.Database)), t.Name, column)
		return float64(next) / highestOf(kind), err
	}
	lo, hi := keyRange(number)
	key := quoteName("", column)
	var highest int64
	err := scanOne(ctx, q, []any{&highest}, fmt.Sprintf("SELECT coalesce(max(%s), %d) FROM %s WHERE %s >= %d AND %s < %d", key, lo, quoteName("", t.Name), key, lo, key, hi))
	return float64(highest-lo) / float64(hi-lo), err
}

// highestOf returns the highest value of an integer type of MariaDB
// (https://mariadb.com/kb/en/numeric-data-type-overview/).
func highestOf(kind string) float64 {
	name, _, _ := strings.Cut(kind, "(")
	name, _, _ = strings.Cut(name, " ")
	bits := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[strings.ToLower(name)]
	switch {
	case bits == 0: // FLOAT and DOUBLE have room beyond what 53 bits tell apart
		bits = 54
	case strings.Contains(strings.ToLower(kind), "unsigned"):
		bits++
	}
	return float64(uint64(1)<<(bits-2)) * 2 // 2^(bits-1)
}
