package ddb

import (
	"context"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/gate"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/schema"
)

// WithKill returns a context whose end also ends the statement inside a MariaDB or MySQL server, by a KILL
// on another connection, on whichever node it runs; a transaction around it is rolled back. Without WithKill the
// connection is dropped, and the server may go on until the statement is done. It costs a round trip for each statement. Schema
// statements are not killed, and SQLite stops its statements either way.
func WithKill(ctx context.Context) context.Context { return gate.WithKill(ctx) }

// WithMaxBytes returns a context under which no row of an answer has more than n bytes: a greater one is ErrTooLarge.
// SQLite does not make it either: a statement may hold values of 4n bytes in all. Whatever else a
// statement under it does, it ends with ErrTooLarge when the process that it runs in has grown by 128 MiB meanwhile, or
// the part of it that is Go's by 256 (on other systems than Linux: only that). It holds on whichever node answers. It is meant for
// statements of people and programs that are not trusted with the memory of the node, and costs each some microseconds.
func WithMaxBytes(ctx context.Context, n int64) context.Context { return gate.WithMaxBytes(ctx, n) }

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
