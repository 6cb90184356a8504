package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/wire"
)

// Names of the rows in the meta table.
const (
	MetaCluster  = "cluster"  // id of the cluster
	MetaRole     = "role"     // role of the node that owns the database
	MetaEpoch    = "epoch"    // of a master: the epoch of its reign
	MetaSchema   = "schema"   // of a master: the schema as last shipped
	MetaCursor   = "cursor"   // of a follower: how far a snapshot has come
	MetaApplied  = "applied"  // of a follower whose journal is elsewhere: the last entry whose rows are here
	MetaThrough  = "through"  // of a follower after a snapshot: consistent from that LSN on
	MetaIntent   = "intent"   // of a follower: the schema entry that is being run
	MetaNode     = "nodeid"   // id of the node
	MetaNumber   = "number"   // of a snap: the number of the last batch handed to the master
	MetaQueue    = "queue"    // of a snap: the name of its queue
	MetaNodeNum  = "nodenum"  // of a snap: its number, for handed-out keys
	metaDatabase = "database" // databases added by CREATE DATABASE
)

// Meta reads a row of the meta table.
func (n *Store) Meta(ctx context.Context, q dialect.Querier, key string) ([]byte, bool, error) {
	var v []byte
	err := dialect.ScanOne(ctx, q, []any{&v}, "SELECT v FROM "+n.Engine.Own("meta")+" WHERE k = ?", key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("node %s: read meta %s: %w", n.ID, key, err)
	}
	return v, true, nil
}

// SetMeta writes a row of the meta table; a nil value deletes it.
func (n *Store) SetMeta(ctx context.Context, q dialect.Querier, key string, value []byte) error {
	var err error
	if value == nil {
		_, err = q.ExecContext(ctx, "DELETE FROM "+n.Engine.Own("meta")+" WHERE k = ?", key)
	} else {
		_, err = q.ExecContext(ctx, "REPLACE INTO "+n.Engine.Own("meta")+" (k, v) VALUES (?, ?)", key, value)
	}
	if err != nil {
		return fmt.Errorf("node %s: write meta %s: %w", n.ID, key, err)
	}
	return nil
}

// Value reads a row of the meta table that holds an encoded value.
func Value[T any](ctx context.Context, n *Store, q dialect.Querier, key string) (v T, ok bool, err error) {
	b, ok, err := n.Meta(ctx, q, key)
	if err != nil || !ok {
		return v, false, err
	}
	if err := wire.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("node %s: meta %s: %w", n.ID, key, err)
	}
	return v, true, nil
}

// SetValue writes a row of the meta table that Value reads.
func (n *Store) SetValue(ctx context.Context, q dialect.Querier, key string, v any) error {
	b, err := wire.Marshal(v)
	if err != nil {
		return fmt.Errorf("node %s: meta %s: %w", n.ID, key, err)
	}
	return n.SetMeta(ctx, q, key, b)
}
