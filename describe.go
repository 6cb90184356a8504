package ddb

import (
	"context"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
)

// Dialect returns the name of the kind of database: "sqlite" or "mysql" for those that ddb brings.
func (c *Cluster) Dialect() string { return c.texts.Class.String() }

// Objects lists the statements that make this node's whole schema in an empty database, in an
// order in which they can run, without anything of ddb's.
func (c *Cluster) Objects(ctx context.Context) ([]dialect.Object, error) {
	if c.node == nil {
		return nil, errors.New("ddb: a Cluster made by Wrap does not read the schema")
	}
	list, err := c.node.Engine.Objects(ctx, c.node.DB)
	if err != nil {
		return nil, fmt.Errorf("ddb: objects: %w", err)
	}
	return list, nil
}

// PingLocal verifies that the database of this process answers, for health checks: a node whose
// database is down must not be sent anything, whatever its master knows of it.
func (c *Cluster) PingLocal(ctx context.Context) error {
	return fault.During("ping", c.gate.PingLocal(ctx))
}
