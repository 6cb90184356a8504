package ddb

import (
	"context"
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/schema"
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
	if c.closed.Load() {
		return ErrClosed
	}
	if c.node == nil {
		return wrapError("ping", c.masterDB().PingContext(ctx))
	}
	return wrapError("ping", c.node.DB.PingContext(ctx))
}

// WithAnswer returns a context whose reads store the id of the node that answered in node, for
// diagnosis. One context serves one read at a time.
func WithAnswer(ctx context.Context, node *string) context.Context {
	return route.WithAnswer(ctx, node)
}

// WithSurroundings returns a context whose schema statements run in the surroundings that s
// gives (its SQL is not looked at), as a file of SQL asks for with USE and SET. References to tables that do not exist yet
// are accepted, because such a file may name them in any order.
func WithSurroundings(ctx context.Context, s dialect.Statement) context.Context {
	return schema.WithSurroundings(ctx, s)
}
