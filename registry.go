package ddb

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/dialect"
)

// registry is what a master knows of every node that has ever followed the cluster. It stands in
// the table followers, which is replicated: a replica that becomes the master knows who is missing,
// and which keys each snap hands out.
type registry struct {
	// shared is set when the first snap comes: from then on the keys that the master
	// hands out are its own ones. Until then they are what they would be without ddb.
	// A transaction of MariaDB's that is open at that moment may still hand out any key.
	shared atomic.Bool

	// Owned by exclusive:
	known   map[string]registered
	highest int64 // number that a snap has
}

// registered is a row of the table followers.
type registered struct {
	role   Role  // "" for a node that was forgotten
	number int64 // of a snap, for the keys that it hands out; else 0
}

// sharesKeys reports whether the master's handed-out keys must keep clear of those of snaps.
func (s *sequencer) sharesKeys() bool { return s.registry.shared.Load() }

// sharesKeys reports whether this node hands out one part of the keys.
func (c *Cluster) sharesKeys() bool {
	return c.m != nil && c.m.sharesKeys() || c.f != nil && c.f.snap != nil && c.f.snap.numberOfNode.Load() != 0
}

// loadFollowers reads the registry. A follower that has not come back yet is listed as inactive.
func (m *master) loadFollowers(ctx context.Context, q dialect.Querier) error {
	rows, err := q.QueryContext(ctx, "SELECT id, role, number FROM "+m.engine.Own("followers"))
	if err != nil {
		return fmt.Errorf("ddb: node %s: read followers: %w", m.opts.ID, err)
	}
	defer rows.Close()
	m.registry.known = make(map[string]registered)
	for rows.Next() {
		var id string
		var r registered
		if err := rows.Scan(&id, &r.role, &r.number); err != nil {
			return fmt.Errorf("ddb: node %s: read followers: %w", m.opts.ID, err)
		}
		m.registry.known[id] = r
		m.registry.highest = max(m.registry.highest, r.number)
		if r.role != "" && id != m.opts.ID {
			m.mu.Lock()
			f := m.follower(id)
			f.role, f.unheard = r.role, true
			f.status = NodeStatus{State: Inactive, Reason: "has not come back since the master started", Since: m.since}
			m.mu.Unlock()
		}
	}
	if m.registry.highest > 0 {
		m.registry.shared.Store(true)
	}
	return rows.Err()
}

// retire takes the id that this node had as a follower off the list, now that it is the master: nobody will come back by it.
func (m *master) retire(ctx context.Context, q dialect.Querier, old string) error {
	if old == m.opts.ID {
		return nil
	}
	if _, err := q.ExecContext(ctx, "UPDATE "+m.engine.Own("followers")+" SET role = '' WHERE id = ?", old); err != nil {
		return fmt.Errorf("ddb: node %s: forget the follower %s that it was: %w", m.opts.ID, old, err)
	}
	if r, ok := m.registry.known[old]; ok {
		m.registry.known[old] = registered{number: r.number}
	}
	m.mu.Lock()
	delete(m.followers, old)
	m.mu.Unlock()
	return nil
}

// register notes a follower that is new, or that comes in another role, and returns its number.
func (m *master) register(ctx context.Context, h hello) (number int64, err error) {
	err = m.exclusive(ctx, func(c *sql.Conn) error {
		was, ok := m.registry.known[h.ID]
		is := registered{role: h.Role, number: was.number}
		if h.Role == Snap && is.number == 0 {
			is.number = max(m.registry.highest+1, firstSnapNode)
			if limit := maxNodes(m.dialect.Name()); is.number >= limit {
				return fmt.Errorf("%w: the cluster has had %d snaps, more than there are ranges of keys", ErrOptions, is.number-firstSnapNode)
			} else if float64(is.number) > warnAt*float64(limit) {
				m.log.Warn("the ranges of keys for snaps are running out", "used", is.number, "of", limit)
			}
		}
		number = is.number
		if ok && is == was {
			return nil
		}
		first := is.number > 0 && !m.sharesKeys()
		if first {
			m.registry.shared.Store(true)
		}
		if err := m.write(ctx, c, h.ID, is, first); err != nil {
			if first {
				m.registry.shared.Store(false)
			}
			return err
		}
		return nil
	})
	if err == nil {
		m.wakeUp()
	}
	return number, err
}

// write stores a row of the registry, and makes tables hand out the master's own keys if the row is the first
// snap's. The caller is inside exclusive.
func (m *master) write(ctx context.Context, c *sql.Conn, id string, r registered, first bool) error {
	store := func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "REPLACE INTO "+m.engine.Own("followers")+" (id, role, number, at) VALUES (?, ?, ?, ?)",
			id, string(r.role), r.number, time.Now().UnixNano())
		if err != nil {
			return fmt.Errorf("ddb: node %s: note follower %s: %w", m.opts.ID, id, err)
		}
		if first {
			m.warnNarrow(m.tables.Load().replicated())
		}
		return nil
	}
	var err error
	if first && m.writer != nil {
		err = m.shareKeys(ctx, c, store)
	} else if m.writer != nil {
		err = m.txOn(ctx, c, dialect.Batch, func() error { return store(c) })
	} else {
		err = m.withTx(ctx, dialect.Batch, store)
	}
	if err != nil {
		return err
	}
	m.registry.known[id] = r
	m.registry.highest = max(m.registry.highest, r.number)
	return nil
}

// shareKeys runs store in a transaction that also makes tables hand out the master's own keys. The triggers for that count in
// the schema's version, and have been made by nobody else. The caller is inside exclusive.
func (m *master) shareKeys(ctx context.Context, c *sql.Conn, store func(*sql.Conn) error) error {
	cat := *m.tables.Load()
	var before, after string
	err := m.txOn(ctx, c, dialect.Batch, func() (err error) {
		if before, err = m.engine.Version(ctx, c); err != nil {
			return err
		}
		if err := store(c); err != nil {
			return err
		}
		if err := m.installKeys(ctx, c, cat.replicated()); err != nil {
			return err
		}
		after, err = m.engine.Version(ctx, c)
		return err
	})
	if err != nil || before != cat.version {
		m.looked = time.Time{}
		return err
	}
	cat.version = after
	m.tables.Store(&cat)
	return nil
}

// Forget takes a follower that will not come back off the list of nodes, on the master. If it does come
// back it is let in as before. The keys that a snap handed out stay its own. A
// follower that is connected is not forgotten.
func (c *Cluster) Forget(ctx context.Context, id string) error {
	if c.m == nil {
		return fmt.Errorf("%w: followers are forgotten on the master", ErrNotMaster)
	}
	return wrapError("forget", c.m.forget(ctx, id))
}

func (m *master) forget(ctx context.Context, id string) error {
	m.mu.Lock()
	f := m.followers[id]
	m.mu.Unlock()
	switch {
	case f == nil:
		return fmt.Errorf("%w: no follower %q has ever connected", ErrOptions, id)
	case f.connected():
		return fmt.Errorf("%w: follower %q is connected; stop it first", ErrBusy, id)
	}
	err := m.exclusive(ctx, func(c *sql.Conn) error {
		return m.write(ctx, c, id, registered{number: m.registry.known[id].number}, false)
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	if !f.connected() {
		delete(m.followers, id)
	}
	m.mu.Unlock()
	m.wakeUp()
	m.changed()
	return nil
}
