package ddb

import (
	"context"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/journal"
)

// Tail describes the last n entries of this node's journal, the newest first, at most 1000. It reads them whole.
func (c *Cluster) Tail(ctx context.Context, n int) ([]EntryInfo, error) {
	if c.node == nil {
		return nil, fmt.Errorf("ddb: a Cluster made by Wrap has no journal")
	}
	n = min(max(n, 1), 1000)
	first, last, err := c.node.Journal.Bounds(ctx)
	if err != nil || last.LSN == 0 {
		return nil, err
	}
	from := first.LSN
	if last.LSN > LSN(n) {
		from = max(from, last.LSN-LSN(n)+1)
	}
	var list []EntryInfo
	lsn, index := from, -1
	for {
		parts, err := c.node.Journal.Read(ctx, lsn, index, journal.ReadBytes)
		if err != nil {
			return nil, fmt.Errorf("ddb: tail: %w", err)
		}
		if len(parts) == 0 {
			break
		}
		for i := range parts {
			if list, err = journal.Describe(list, &parts[i]); err != nil {
				return nil, err
			}
		}
		end := parts[len(parts)-1]
		lsn, index = end.LSN, end.Index
	}
	slices.Reverse(list)
	return list, nil
}

// Tables lists the tables as this node's database describes them, those that cannot be replicated
// with the reason in Refusal.
func (c *Cluster) Tables(ctx context.Context) ([]*dialect.Table, error) {
	if c.node == nil {
		return nil, fmt.Errorf("ddb: a Cluster made by Wrap does not read the schema")
	}
	list, err := c.node.Engine.Tables(ctx, c.node.DB)
	if err != nil {
		return nil, fmt.Errorf("ddb: tables: %w", err)
	}
	return list, nil
}
