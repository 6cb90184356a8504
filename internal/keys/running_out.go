package keys

import (
	"context"
	"fmt"
	"slices"
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
	gauge, ok := n.Engine.(dialect.KeyGauge)
	if !ok {
		return
	}
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
			if err := checkKeys(ctx, n, gauge, cat.Replicated(), own, warned); err != nil && ctx.Err() == nil {
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
func checkKeys(ctx context.Context, n *store.Store, gauge dialect.KeyGauge, tables []*dialect.Table, number int64, warned map[string]bool) error {
	lo, hi := Range(number)
	for _, t := range tables {
		name := n.Name(t).String()
		if t.Own || warned[name] {
			continue
		}
		column, used, err := gauge.UsedKeys(ctx, n.DB, t, lo, hi)
		if err != nil {
			return err
		}
		if column != "" && used >= WarnAt {
			warned[name] = true
			n.Log.Warn("keys are running out; give the column a larger type, or new rows keys of your own",
				"table", name, "column", column, "used", fmt.Sprintf("%.0f %%", used*100))
		}
	}
	return nil
}

// minKeys is how many keys of a table a node should have at least.
const minKeys = 1000

// WarnNarrow warns once of each table whose keys last for few rows, now that each node hands out one in Step.
func WarnNarrow(n *store.Store, tables []*dialect.Table) {
	gauge, ok := n.Engine.(dialect.KeyGauge)
	if !ok {
		return
	}
	for _, t := range tables {
		if t.Own {
			continue
		}
		column, keys, cure := gauge.NarrowKeys(t, Step, minKeys)
		if column == "" || !n.Once("narrow key of "+journal.TableName{Database: t.Database, Table: t.Name}.Key()) {
			continue
		}
		i := slices.IndexFunc(t.Columns, func(c dialect.Column) bool { return c.Name == column })
		n.Log.Warn("a cluster with snaps gives each node few keys of this AUTO_INCREMENT column; give it a larger type before they are used up",
			"table", n.Name(t).String(), "column", column, "type", t.Columns[i].Type, "keys_per_node", keys, "cure", cure)
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
