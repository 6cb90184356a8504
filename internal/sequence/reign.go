package sequence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/remedy"
)

// Followers are those who are to follow a master.
type Followers interface {
	// LoadFollowers reads who has ever followed the cluster.
	LoadFollowers(ctx context.Context, q dialect.Querier) error
	// Retire takes the id off the list that this node had as a follower.
	Retire(ctx context.Context, q dialect.Querier, old string) error
}

// Reign makes the database a master's, or finds that it is one. heard is the time of the entry with which the journal ended before,
// as [store.Store.EntryTime] tells it.
func (s *Sequencer) Reign(ctx context.Context, f Followers) (heard int64, err error) {
	role, known, err := s.node.Meta(ctx, s.node.DB, store.MetaRole)
	if err != nil {
		return 0, err
	}
	_, last, err := s.node.Journal.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	epoch, _, err := store.Value[uint64](ctx, s.node, s.node.DB, store.MetaEpoch)
	if err != nil {
		return 0, err
	}
	switch {
	case !known:
		epoch = 1
		s.node.ClusterID = store.NewClusterID()
	case health.Role(role) == health.Snap:
		return 0, remedy.New(fault.ErrWrongRole, "it is a snap's",
			remedy.Remedy{Action: remedy.SetRole, Value: string(health.Snap), Text: "open it with Role Snap"}, remedy.Remedy{Action: remedy.Detach, Text: "Detach it first"})
	case health.Role(role) == health.Replica:
		for _, key := range []string{store.MetaCursor, store.MetaThrough} {
			if _, unfinished, err := s.node.Meta(ctx, s.node.DB, key); err != nil {
				return 0, err
			} else if unfinished || last.LSN == 0 {
				return 0, fmt.Errorf("%w: it is a replica's whose snapshot is incomplete, so it cannot become the master", fault.ErrWrongRole)
			}
		}
		epoch = last.Epoch + 1
	}
	s.Epoch = epoch
	s.node.Log = s.node.Log.With("epoch", epoch)
	if heard, _, err = s.node.EntryTime(ctx, last.LSN); err != nil {
		return 0, err
	}
	s.State.Update(func(st State) State { st.Pos, st.At = last, time.Now(); return st })
	return heard, s.Do(ctx, func(turn *Turn) error { return turn.crown(ctx, f, known, health.Role(role)) })
}

// crown writes down who reigns, installs the capture and settles the schema.
func (turn *Turn) crown(ctx context.Context, f Followers, known bool, was health.Role) error {
	s, c := turn.s, turn.Conn
	if was == health.Replica {
		if err := turn.makeDeferred(ctx); err != nil {
			return err
		}
		s.node.Log.Warn("a replica becomes the master", "lsn", s.State.Load().Pos.LSN)
	}
	cat, err := s.node.LoadTables(ctx, c)
	if err != nil {
		return err
	}
	if err := turn.forgetBare(ctx, cat); err != nil {
		return err
	}
	if err := s.node.Engine.InstallCapture(ctx, c, cat.Replicated(), dialect.Keys); err != nil {
		return fmt.Errorf("node %s: install triggers: %w", s.node.ID, err)
	}
	if err := f.LoadFollowers(ctx, c); err != nil {
		return err
	}
	st, err := schema.Read(ctx, s.node, c)
	if err != nil {
		return err
	}
	if err := s.node.Engine.InstallCapture(ctx, c, st.Cat.Replicated(), dialect.Keys); err != nil {
		return fmt.Errorf("node %s: install triggers: %w", s.node.ID, err)
	}
	if err := turn.InstallKeys(ctx, st.Cat.Replicated()); err != nil {
		return err
	}
	if err := turn.refuse(ctx, nil, st, nil); err != nil {
		return err
	}
	rec, recorded, err := store.Value[schema.Record](ctx, s.node, c, store.MetaSchema)
	if err != nil {
		return err
	}
	done, err := turn.writeReign(ctx, f, st, recorded, was)
	if err != nil {
		return err
	}
	if !recorded {
		turn.Publish(done, 0)
		return nil
	}
	if d := schema.Compare(rec, st, schema.Told{}); len(d.Statements)+len(d.Rebuild) > 0 {
		return turn.reconcile(ctx)
	}
	return nil
}

// writeReign writes down that this node is the master; if the schema was not recorded by a master on this database, with the first entry of its own.
func (turn *Turn) writeReign(ctx context.Context, f Followers, st *schema.State, recorded bool, was health.Role) (done *Made, err error) {
	s, c := turn.s, turn.Conn
	old, _, err := s.node.Meta(ctx, c, store.MetaNode)
	if err != nil {
		return nil, err
	}
	err = s.node.TxOn(ctx, c, dialect.Pass, func() (err error) {
		if !recorded {
			if err = s.node.SetValue(ctx, c, store.MetaSchema, st.Record(0)); err != nil {
				return err
			}
			if was == health.Replica {
				if err = f.Retire(ctx, c, string(old)); err != nil {
					return err
				}
			}
			// The first entry of a history, so that every position names one; the first of a
			// reign, so that whoever has it follows no older master.
			if done, err = turn.collect(ctx, &extra{first: s.State.Load().Pos.LSN == 0 || was == health.Replica}); err != nil {
				return err
			}
		}
		return errors.Join(s.node.SetMeta(ctx, c, store.MetaCluster, []byte(s.node.ClusterID)), s.node.SetMeta(ctx, c, store.MetaRole, []byte(health.Master)),
			s.node.SetMeta(ctx, c, store.MetaNode, []byte(s.node.ID)), s.node.SetValue(ctx, c, store.MetaEpoch, s.Epoch))
	})
	return done, err
}

// forgetBare takes tables that have lost their capture out of the record, so that they are
// shipped whole, before capturing them again hides the loss.
func (turn *Turn) forgetBare(ctx context.Context, cat *store.Catalogue) error {
	rec, recorded, err := store.Value[schema.Record](ctx, turn.node, turn.Conn, store.MetaSchema)
	if err != nil || !recorded {
		return err
	}
	before := len(rec.Tables)
	for _, t := range cat.Replicated() {
		if t.Bare {
			delete(rec.Tables, turn.node.Name(t).Key())
		}
	}
	if len(rec.Tables) == before {
		return nil
	}
	return turn.node.SetValue(ctx, turn.Conn, store.MetaSchema, rec)
}

// makeDeferred does what a replica has put off, now that it takes writes: it raises the counters of keys that others have
// handed out, and creates the triggers that it has kept back. A promotion that was cut off
// may have made some of them already.
func (turn *Turn) makeDeferred(ctx context.Context) error {
	if err := keys.RaiseCounters(ctx, turn.node, turn.Conn); err != nil {
		return err
	}
	objects, err := deferredObjects(ctx, turn.node, turn.Conn)
	if err != nil {
		return err
	}
	for _, o := range objects {
		database := turn.node.Physical(o.Database)
		if _, err := turn.Conn.ExecContext(ctx, "DROP TRIGGER IF EXISTS "+store.QuoteName(database, o.Name)); err != nil {
			return fmt.Errorf("node %s: replace trigger %s: %w", turn.node.ID, o.Name, err)
		}
		s := dialect.Statement{SQL: o.SQL, Database: database}
		if err := turn.node.Engine.Run(ctx, turn.Conn, &s); err != nil {
			return fmt.Errorf("node %s: create %s %s: %w", turn.node.ID, o.Kind, o.Name, err)
		}
	}
	_, err = turn.Conn.ExecContext(ctx, "DELETE FROM "+turn.node.Engine.Own("deferred"))
	return err
}

// deferred lists the objects that a replica keeps for the day it is promoted.
func deferredObjects(ctx context.Context, n *store.Store, q dialect.Querier) ([]dialect.Object, error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, db, name, body FROM "+n.Engine.Own("deferred")+" ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.ID, err)
	}
	defer rows.Close()
	var list []dialect.Object
	for rows.Next() {
		var o dialect.Object
		if err := rows.Scan(&o.Kind, &o.Database, &o.Name, &o.SQL); err != nil {
			return nil, fmt.Errorf("node %s: %w", n.ID, err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}
