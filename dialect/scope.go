package dialect

import (
	"context"
	"database/sql"
)

// Scope names what of a schema statements may have changed: tables and views, with their indexes and triggers. A name is of a table or a
// view that was there before, that is there now, or of neither.
type Scope [][2]string // database and name

// ScopeReader may be implemented by an Engine that can tell what statements have changed without reading the whole schema, which
// takes the longer the more tables there are. What other clients change it does not see: Version tells of that.
type ScopeReader interface {
	// ScopeOf returns what statements may have changed that were run, with success and without anything else, on a schema of which
	// tables and objects is what Tables and Objects had returned. ok is false where that is not certain, so that all must be read.
	ScopeOf(tables []*Table, objects []Object, statements []Statement) (s Scope, ok bool)
	// ReadScope returns what Tables and Objects would, given what they, or ReadScope, had returned before: it reads the scope only. What
	// is listed of the others stays the same, and the order may be another, but one in which the objects' statements can run.
	ReadScope(ctx context.Context, q Querier, s Scope, tables []*Table, objects []Object) ([]*Table, []Object, error)
	// InstallScope is InstallCapture for the scope, in the transaction that q is in, if it is in one. tables are all tables, as of ReadScope.
	InstallScope(ctx context.Context, q Querier, s Scope, tables []*Table, mode CaptureMode) error
}

// DefinitionReader may be implemented by an Engine that reads the definition of each table by itself, so that those which nobody is to be
// told of are better not read.
type DefinitionReader interface {
	// OtherObjects is Objects without tables.
	OtherObjects(ctx context.Context, q Querier) ([]Object, error)
	// Definitions returns of Objects what is about these tables, in the order of the list. One that is gone meanwhile is left out.
	Definitions(ctx context.Context, q Querier, tables []*Table) ([]Object, error)
}

// ChangeCounter may be implemented by an Engine that can tell at once that no row has changed.
type ChangeCounter interface {
	// Changes returns a text that stays the same until rows of any table are inserted, updated or deleted: by a statement on c, which is
	// a connection got from Conn, or by others, as soon as they have committed. It is "" where that cannot be told.
	Changes(ctx context.Context, c *sql.Conn) (string, error)
}
