package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// intent notes that a schema entry is about to be run where that cannot be part of a
// transaction, and how the schema looked before, so that a crash in between can be told apart.
type intent struct {
	LSN  journal.LSN `cbor:"1,keyasint"`
	Step int         `cbor:"2,keyasint"` // statements known to have run
	Mark string      `cbor:"3,keyasint"` // of the schema before the statement at Step
}

// schema runs the statements of an entry.
func (a *Applier) schema(ctx context.Context, lsn journal.LSN, statements []dialect.Statement) error {
	done, known := 0, false
	before := a.node.Tables.Load()
	if a.node.Engine.Transactional() {
		version, err := a.node.Engine.Version(ctx, a.conn)
		if err != nil {
			return fmt.Errorf("node %s: schema version: %w", a.node.ID, err)
		}
		known = before != nil && version == before.Version
	} else {
		// A statement that is cut off may run on in the server, so a lost link does not cut it off.
		ctx = context.WithoutCancel(ctx)
		in, ok, err := store.Value[intent](ctx, a.node, a.conn, store.MetaIntent)
		if err != nil {
			return err
		}
		if ok && in.LSN == lsn {
			mark, err := a.schemaMark(ctx)
			if err != nil {
				return err
			}
			if done = in.Step; mark != in.Mark {
				done++ // the statement had run, its entry had not been recorded
			}
		}
		if err := keys.RaiseCounters(ctx, a.node, a.conn); err != nil {
			return err
		}
	}
	for i := done; i < len(statements); i++ {
		if !a.node.Engine.Transactional() {
			mark, err := a.schemaMark(ctx)
			if err != nil {
				return err
			}
			if err := a.node.SetValue(ctx, a.conn, store.MetaIntent, intent{LSN: lsn, Step: i, Mark: mark}); err != nil {
				return err
			}
		}
		if err := a.runSchema(ctx, statements[i]); err != nil {
			return fmt.Errorf("%w: node %s: schema statement of entry %d: %w", dialect.ErrDiverged, a.node.ID, lsn, err)
		}
	}
	a.node.Log.Info("schema changed", "epoch", a.pos.Epoch, "lsn", lsn, "statement", sqlclass.Brief(statements[len(statements)-1].SQL), "statements", len(statements))
	if known { // and nobody can have changed it meanwhile
		if _, _, scope, err := a.node.Follow(ctx, a.conn, before, nil, statements); err != nil || scope != nil {
			return err
		}
	}
	_, err := a.node.LoadTables(ctx, a.conn)
	return err
}

// schemaMark tells two states of the schema apart by their text and by the tables' incarnations: unlike the dialect's
// version, which may count in seconds, it shows every statement, and one that makes tables change places too.
func (a *Applier) schemaMark(ctx context.Context) (string, error) {
	objects, err := a.node.Engine.Objects(ctx, a.conn)
	if err != nil {
		return "", fmt.Errorf("node %s: read schema: %w", a.node.ID, err)
	}
	tables, err := a.node.Engine.Tables(ctx, a.conn)
	if err != nil {
		return "", fmt.Errorf("node %s: read schema: %w", a.node.ID, err)
	}
	h := sha256.New()
	for _, o := range objects {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", o.Kind, o.Database, o.Name, o.SQL)
	}
	for _, t := range tables {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00", t.Database, t.Name, schema.Identity(t))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// runSchema runs one statement, or keeps it back: triggers act at the origin only.
func (a *Applier) runSchema(ctx context.Context, s dialect.Statement) error {
	info, err := sqlclass.ParseSchema(a.node.Dialect.Language(), s.SQL)
	if err == nil && info.Object == "TRIGGER" && a.cfg.Role == health.Replica {
		return a.keepBack(ctx, s, info)
	}
	if err == nil && info.Object == "DATABASE" && info.Verb == "DROP" {
		if _, err := a.conn.ExecContext(ctx, "DELETE FROM "+a.node.Engine.Own("deferred")+" WHERE db = ?", a.node.Logical(info.Name)); err != nil {
			return err
		}
	}
	s.Database = a.node.Physical(s.Database)
	return a.node.Run(ctx, a.conn, &s)
}

// keepBack notes what a replica's triggers are to be when it is promoted.
func (a *Applier) keepBack(ctx context.Context, s dialect.Statement, info sqlclass.SchemaInfo) error {
	own, database := a.node.Engine.Own("deferred"), s.Database
	if info.Database != "" && a.node.Primary != "" {
		database = a.node.Logical(info.Database)
	}
	_, err := a.conn.ExecContext(ctx, "DELETE FROM "+own+" WHERE kind = 'trigger' AND db = ? AND name = ?", database, info.Name)
	if err == nil && info.Verb != "DROP" {
		_, err = a.conn.ExecContext(ctx, "INSERT INTO "+own+" (kind, db, name, body) VALUES ('trigger', ?, ?, ?)", database, info.Name, s.SQL)
	}
	return err
}
