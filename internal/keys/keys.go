// Package keys sees to it that the keys which the database hands out come from sets that no two nodes share, and that what a program is told
// of them is what its rows have: ranges and the triggers for them, results put right, and warnings before keys run out.
package keys

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/store"
)

// Keys that the database hands out come from disjoint sets per node.
//
// Where the database hands out the highest key plus one (SQLite), each node has a range, and a new row that is handed another node's
// key is moved to this one's (dialect.KeyMover). The database itself goes on telling the key before the move, so what ddb runs is
// put right (result.go, and for RETURNING internal/gate): Result.LastInsertId, the rows of RETURNING, and last_insert_rowid() in what follows.
//
// Where it can be told to hand out one key in several (MariaDB), the connections through which ddb writes are (dialect.KeySharer).

const (
	FirstSnap   = 2                   // the master's own number is 1
	keyBits     = 40                  // a node's range has 2^40 keys, where there are ranges
	maxKeyNodes = 1 << (62 - keyBits) // ranges
	Step        = 256                 // nodes among which keys that follow each other are dealt, elsewhere
)

// MaxNodes returns how many nodes there are keys for.
func MaxNodes(e dialect.Engine) int64 {
	if _, ok := e.(dialect.KeyMover); ok {
		return maxKeyNodes
	}
	return Step
}

// Range returns the keys of a node where there are ranges, from lo up to but without hi. The master has all below the snaps'.
func Range(number int64) (lo, hi int64) {
	if number < FirstSnap {
		return 1, FirstSnap << keyBits
	}
	return number << keyBits, (number + 1) << keyBits
}

// Mover returns what moves new rows of the node to other keys than they were handed, nil where nothing does.
func Mover(n *store.Store) dialect.KeyMover {
	mover, _ := n.Engine.(dialect.KeyMover)
	return mover
}

// Install makes the tables hand out keys of the node's range, where there are ranges. number is 0 while the node has none.
func Install(ctx context.Context, n *store.Store, q dialect.Querier, tables []*dialect.Table, number int64) error {
	mover := Mover(n)
	if mover == nil {
		return nil
	}
	var lo, hi int64
	if number != 0 {
		lo, hi = Range(number)
	}
	if err := mover.InstallKeys(ctx, q, tables, lo, hi, n.Config.Role == health.Snap); err != nil {
		return fmt.Errorf("node %s: key ranges: %w", n.ID, err)
	}
	return nil
}
