package ddb

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/keys"
)

// keyNumber is the writer's hook of a snap.
func (s *snapSide) keyNumber() int64 { return s.numberOfNode.Load() }

// keyNumber is the writer's hook of a master.
func (m *master) keyNumber() int64 {
	if !m.seq.SharesKeys() {
		return 0
	}
	return keys.FirstSnap - 1
}

// installKeys makes the snap's tables hand out its own keys.
func (s *snapSide) installKeys(ctx context.Context, q dialect.Querier, tables []*dialect.Table) error {
	return keys.Install(ctx, s.node, q, tables, s.numberOfNode.Load())
}
