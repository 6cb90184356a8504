package keys

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// WarnAt is the share of keys, or of the ranges of them, that may be used before a node warns.
const WarnAt = 0.8

// How often a node looks whether the keys that its database hands out are running out.
var (
	WatchEvery = 10 * time.Minute // if no table has changed
	WatchTick  = 15 * time.Second // for tables that have
)

// Watch warns in time of keys that run out, until ctx ends. number tells the node's own number, and shares whether
// other nodes hand out keys beside it.
func Watch(ctx context.Context, n *store.Store, number func() int64, shares func() bool) {
	every, tick := WatchEvery, WatchTick
	var seen, shared *store.Catalogue
	var last time.Time
	warned := make(map[string]bool)
	for {
		if cat := n.Tables.Load(); cat != nil && cat != shared && shares() {
			WarnNarrow(n, cat.Replicated())
			shared = cat
		}
		own := number() // 0: the master has not given one yet
		if cat := n.Tables.Load(); own != 0 && cat != nil && (cat != seen || time.Since(last) >= every) {
			if err := checkKeys(ctx, n, n.DB, cat.Replicated(), own, warned); err != nil && ctx.Err() == nil {
				n.Log.Debug("cannot look whether keys are running out", "error", err)
			}
			seen, last = cat, time.Now()
		}
		if watch.Sleep(ctx, tick) != nil {
			return
		}
	}
}

// checkKeys warns once of each table whose keys are nearly used up.
func checkKeys(ctx context.Context, n *store.Store, q dialect.Querier, tables []*dialect.Table, number int64, warned map[string]bool) error {
	for _, t := range tables {
		column := HandedOut(t)
		if n.Dialect.Language() == dialect.MySQL {
			column = AutoIncrement(t)
		}
		name := n.Name(t).String()
		if t.Own || column == "" || warned[name] {
			continue
		}
		used, err := usedKeys(ctx, n, q, t, column, number)
		if err != nil {
			return err
		}
		if used >= WarnAt {
			warned[name] = true
			n.Log.Warn("keys are running out; give the column a larger type, or new rows keys of your own",
				"table", name, "column", column, "used", fmt.Sprintf("%.0f %%", used*100))
		}
	}
	return nil
}

// minKeys is how many keys of a table a node should have at least.
const minKeys = 1000

// WarnNarrow warns once of each table on MariaDB whose keys last for few rows, now that each node hands out one in keyStep.
func WarnNarrow(n *store.Store, tables []*dialect.Table) {
	if n.Dialect.Language() != dialect.MySQL {
		return
	}
	for _, t := range tables {
		for _, c := range t.Columns {
			if t.Own || !c.AutoIncrement {
				continue
			}
			keys := int64(min((highestOf(c.Type)-1)/Step, minKeys))
			if keys >= minKeys {
				continue
			}
			if !n.Once("narrow key of " + journal.TableName{Database: t.Database, Table: t.Name}.Key()) {
				continue
			}
			kind := "BIGINT"
			if strings.Contains(strings.ToLower(c.Type), "unsigned") {
				kind += " UNSIGNED"
			}
			n.Log.Warn("a cluster with snaps gives each node few keys of this AUTO_INCREMENT column; give it a larger type before they are used up",
				"table", n.Name(t).String(), "column", c.Name, "type", c.Type, "keys_per_node", keys,
				"cure", fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL AUTO_INCREMENT", store.QuoteName(t.Database, t.Name), store.QuoteName("", c.Name), kind))
		}
	}
}

// AutoIncrement returns the AUTO_INCREMENT column of a table, or "".
func AutoIncrement(t *dialect.Table) string {
	for _, c := range t.Columns {
		if c.AutoIncrement {
			return c.Name
		}
	}
	return ""
}

// usedKeys returns the share of the keys that is used up: on SQLite of the node's range, on MariaDB of the column's type.
func usedKeys(ctx context.Context, n *store.Store, q dialect.Querier, t *dialect.Table, column string, number int64) (float64, error) {
	if n.Dialect.Language() == dialect.MySQL {
		var next uint64
		var kind string
		err := dialect.ScanOne(ctx, q, []any{&next, &kind}, "SELECT coalesce(t.auto_increment, 0), c.column_type FROM information_schema.tables t JOIN information_schema.columns c "+
			"ON c.table_schema = t.table_schema AND c.table_name = t.table_name WHERE t.table_schema = ? AND t.table_name = ? AND c.column_name = ?",
			n.Physical(n.Logical(t.Database)), t.Name, column)
		return float64(next) / highestOf(kind), err
	}
	lo, hi := Range(number)
	key := store.QuoteName("", column)
	var highest int64
	err := dialect.ScanOne(ctx, q, []any{&highest}, fmt.Sprintf("SELECT coalesce(max(%s), %d) FROM %s WHERE %s >= %d AND %s < %d", key, lo, store.QuoteName("", t.Name), key, lo, key, hi))
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
