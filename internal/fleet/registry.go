package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/keys"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/sequence"
)

// registry is what a master knows of every node that has ever followed the cluster. It stands in
// the table followers, which is replicated: a replica that becomes the master knows who is missing,
// and which keys each snap hands out.
type registry struct {
	// Whoever has the turn:
	known   map[string]registered
	highest int64 // number that a snap has
	limit   int64 // of numbers; it is not reached
}

// registered is a row of the table followers.
type registered struct {
	role   health.Role // "" for a node that was forgotten
	number int64       // of a snap, for the keys that it hands out; else 0
}

// LoadFollowers reads the registry. A follower that has not come back yet is listed as inactive.
func (fl *Fleet) LoadFollowers(ctx context.Context, q dialect.Querier) error {
	rows, err := q.QueryContext(ctx, "SELECT id, role, number FROM "+fl.node.Engine.Own("followers"))
	if err != nil {
		return fmt.Errorf("node %s: read followers: %w", fl.node.ID, err)
	}
	defer rows.Close()
	fl.registry.known, fl.registry.limit = make(map[string]registered), keys.MaxNodes(fl.node.Engine)
	for rows.Next() {
		var id string
		var r registered
		if err := rows.Scan(&id, &r.role, &r.number); err != nil {
			return fmt.Errorf("node %s: read followers: %w", fl.node.ID, err)
		}
		fl.registry.known[id] = r
		fl.registry.highest = max(fl.registry.highest, r.number)
		if r.role != "" && id != fl.node.ID {
			fl.Known(id, r.role)
		}
	}
	if fl.registry.highest > 0 {
		fl.seq.Shared.Store(true)
	}
	return rows.Err()
}

// Known adds to the list of nodes, as inactive, a follower that has been here and has not come back yet.
func (fl *Fleet) Known(id string, role health.Role) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	f := fl.follower(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.role, f.unheard, f.noted = role, true, true
	f.status = health.Status{State: health.Inactive, Reason: "has not come back since the master started", Since: fl.since}
}

// LimitNumbers makes do with fewer numbers for snaps than there are ranges of keys: limit is the first that none gets. Only tests do.
func (fl *Fleet) LimitNumbers(ctx context.Context, limit int64) error {
	return fl.seq.Do(ctx, func(*sequence.Turn) error {
		fl.registry.limit = limit
		return nil
	})
}

// Retire takes the id that this node had as a follower off the list, now that it is the master: nobody will come back by it.
func (fl *Fleet) Retire(ctx context.Context, q dialect.Querier, old string) error {
	if old == fl.node.ID {
		return nil
	}
	if _, err := q.ExecContext(ctx, "UPDATE "+fl.node.Engine.Own("followers")+" SET role = '' WHERE id = ?", old); err != nil {
		return fmt.Errorf("node %s: forget the follower %s that it was: %w", fl.node.ID, old, err)
	}
	if r, ok := fl.registry.known[old]; ok {
		fl.registry.known[old] = registered{number: r.number}
	}
	fl.mu.Lock()
	delete(fl.followers, old)
	fl.mu.Unlock()
	return nil
}

// maxUnproved is how many nodes the registry takes that have proved no key: their ids cost nothing.
const maxUnproved = 1024

// note registers the follower, now that it is known to have the history or has been sent a copy of it, and tells a snap its number. A
// hello alone, which anybody can say, leaves nothing behind and takes no number. The caller is the one who sends entries, so a
// snap hears its number between two of them, and a new one before the end of its copy: it never has rows to write to and no number.
func (f *Sender) note(ctx context.Context, l *Connection) error {
	number, err := f.fleet.Register(ctx, f.ID, f.role, len(l.proved) > 0)
	if err != nil {
		return errors.Join(err, l.Write(link.MsgRefusal, link.RefusalOf(err)))
	}
	if number == l.node {
		return nil
	}
	l.node = number
	return l.Write(link.MsgNumber, link.NodeNumber{Node: number})
}

// Register notes a follower that is new, or that comes in another role, and returns its number.
func (fl *Fleet) Register(ctx context.Context, id string, role health.Role, proved bool) (number int64, err error) {
	noted := true
	err = fl.seq.Do(ctx, func(turn *sequence.Turn) error {
		was, ok := fl.registry.known[id]
		is := registered{role: role, number: was.number}
		number = is.number
		if !ok && !proved && len(fl.registry.known) >= maxUnproved {
			if role == health.Snap {
				return fmt.Errorf("%w: the cluster knows %d nodes, the most that it takes without keys; forget those that will not come back (Cluster.Forget)", fault.ErrOptions, len(fl.registry.known))
			}
			noted = false
			return nil
		}
		var of string // who had the number before
		if role == health.Snap && is.number == 0 {
			if is.number, of, err = fl.freeNumber(ctx, turn); err != nil {
				return err
			}
		}
		number = is.number
		if ok && is == was {
			return nil
		}
		first := is.number > 0 && !fl.seq.SharesKeys()
		if first {
			fl.seq.Shared.Store(true)
		}
		if err := fl.write(ctx, turn, id, is, of, first); err != nil {
			if first {
				fl.seq.Shared.Store(false)
			}
			return err
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	fl.mu.Lock()
	if f := fl.followers[id]; f != nil && noted {
		f.mu.Lock()
		f.noted = true
		f.mu.Unlock()
	}
	fl.mu.Unlock()
	fl.seq.WakeUp()
	return number, nil
}

// maxStrangers is how many followers that have failed before they had a copy are kept for people to see.
const maxStrangers = 64

// forgetStranger keeps nothing of a follower that is gone and has never taken a copy, unless it says why it failed: ids cost nothing.
func (fl *Fleet) forgetStranger(f *Sender) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	strangers := 0
	for _, o := range fl.followers {
		o.mu.Lock()
		if !o.noted && o != f {
			strangers++
		}
		o.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.followers[f.ID] == f && f.link == nil && !f.noted && (f.stopped == "" || strangers >= maxStrangers) {
		delete(fl.followers, f.ID)
	}
}

// freeNumber returns a number for a new snap: one that no snap has had, as long as there is one, so that those of forgotten snaps
// rest, and then the one that has rested longest, and whose it was. The new owner begins above all keys of it that stand in any
// table. Those that stand only in conflicts which are not settled would meet its rows, so their number is not free.
func (fl *Fleet) freeNumber(ctx context.Context, turn *sequence.Turn) (number int64, of string, err error) {
	reg := &fl.registry
	if number = max(reg.highest+1, keys.FirstSnap); number < reg.limit {
		if float64(number) > keys.WarnAt*float64(reg.limit) {
			fl.node.Log.Warn("the ranges of keys for snaps are running out; forget snaps that will not come back", "used", number, "of", reg.limit)
		}
		return number, "", nil
	}
	rows, err := turn.Conn.QueryContext(ctx, "SELECT id, number FROM "+fl.node.Engine.Own("followers")+" AS f WHERE role = '' AND number > 0 AND NOT EXISTS (SELECT 1 FROM "+
		fl.node.Engine.Own("conflicts")+" AS k WHERE k.origin = f.id AND k.state = 'open') ORDER BY at, number")
	if err != nil {
		return 0, "", fmt.Errorf("node %s: read followers: %w", fl.node.ID, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&of, &number); err != nil {
			return 0, "", fmt.Errorf("node %s: read followers: %w", fl.node.ID, err)
		}
		if !fl.isConnected(of) { // else it is about to be noted again
			return number, of, nil
		}
	}
	if err := rows.Err(); err != nil {
		return 0, "", fmt.Errorf("node %s: read followers: %w", fl.node.ID, err)
	}
	return 0, "", fmt.Errorf("%w: the cluster has had %d snaps, as many as there are ranges of keys; forget those that will not come back (Cluster.Forget), and settle their conflicts", fault.ErrOptions, reg.limit-keys.FirstSnap)
}

// isConnected reports whether the follower is connected.
func (fl *Fleet) isConnected(id string) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	f := fl.followers[id]
	return f != nil && f.connected()
}

// write stores a row of the registry, takes its number away from the forgotten snap of the id of, if there is one, and makes
// tables hand out the master's own keys if the row is the first snap's.
func (fl *Fleet) write(ctx context.Context, turn *sequence.Turn, id string, r registered, of string, first bool) error {
	table := fl.node.Engine.Own("followers")
	store := func(c *sql.Conn) error {
		var err error
		if r == (registered{}) {
			_, err = c.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", id)
		} else {
			_, err = c.ExecContext(ctx, "REPLACE INTO "+table+" (id, role, number, at) VALUES (?, ?, ?, ?)", id, string(r.role), r.number, time.Now().UnixNano())
		}
		if err == nil && of != "" {
			_, err = c.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", of)
		}
		if err != nil {
			return fmt.Errorf("node %s: note follower %s: %w", fl.node.ID, id, err)
		}
		if first {
			keys.WarnNarrow(fl.node, fl.node.Tables.Load().Replicated())
		}
		return nil
	}
	var err error
	if first && fl.node.SingleWriter() {
		err = fl.shareKeys(ctx, turn, store)
	} else if fl.node.SingleWriter() {
		err = fl.node.TxOn(ctx, turn.Conn, dialect.Batch, func() error { return store(turn.Conn) })
	} else {
		err = fl.node.WithTx(ctx, dialect.Batch, store)
	}
	if err != nil {
		return err
	}
	delete(fl.registry.known, of)
	if fl.registry.known[id] = r; r == (registered{}) {
		delete(fl.registry.known, id)
	}
	fl.registry.highest = max(fl.registry.highest, r.number)
	return nil
}

// shareKeys runs store in a transaction that also makes tables hand out the master's own keys. The triggers for that count in
// the schema's version, and have been made by nobody else.
func (fl *Fleet) shareKeys(ctx context.Context, turn *sequence.Turn, store func(*sql.Conn) error) error {
	c := turn.Conn
	cat := *fl.node.Tables.Load()
	var before, after string
	err := fl.node.TxOn(ctx, c, dialect.Batch, func() (err error) {
		if before, err = fl.node.Engine.Version(ctx, c); err != nil {
			return err
		}
		if err := store(c); err != nil {
			return err
		}
		if err := turn.InstallKeys(ctx, cat.Replicated()); err != nil {
			return err
		}
		after, err = fl.node.Engine.Version(ctx, c)
		return err
	})
	if err != nil || before != cat.Version {
		turn.LookSoon()
		return err
	}
	cat.Version = after
	fl.node.Tables.Store(&cat)
	return nil
}

// Forget takes a follower off the list that will not come back. It returns ErrOptions for one that has never connected, and ErrBusy for one that is.
func (fl *Fleet) Forget(ctx context.Context, id string) error {
	fl.mu.Lock()
	f := fl.followers[id]
	fl.mu.Unlock()
	switch {
	case f == nil:
		return fmt.Errorf("%w: no follower %q has ever connected", fault.ErrOptions, id)
	case f.connected():
		return fmt.Errorf("%w: follower %q is connected; stop it first", fault.ErrBusy, id)
	}
	err := fl.seq.Do(ctx, func(turn *sequence.Turn) error {
		return fl.write(ctx, turn, id, registered{number: fl.registry.known[id].number}, "", false)
	})
	if err != nil {
		return err
	}
	fl.mu.Lock()
	if !f.connected() {
		delete(fl.followers, id)
	}
	fl.mu.Unlock()
	fl.seq.WakeUp()
	fl.cfg.Changed()
	return nil
}
