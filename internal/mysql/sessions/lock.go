package sessions

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
)

// Locks makes a node the only one on its databases, from Lock on.
type Locks struct {
	db     *sql.DB
	server *server.Server
	held   atomic.Pointer[nodeLock] // nil without one
}

// NewLocks returns locks on the databases of s, none of which is held yet.
func NewLocks(db *sql.DB, s *server.Server) *Locks { return &Locks{db: db, server: s} }

// nodeLock makes a node the only one on its databases: it holds a named lock of the server for each of them, on
// a connection of its own. The server lets go of all when it restarts or the connection ends, so that
// keep has to be called now and then.
type nodeLock struct {
	all *Locks
	// token names one lock more. Whoever holds it is this node, on a connection that it has lost.
	token string

	mu    sync.Mutex
	conn  *sql.Conn // nil while the locks are lost
	names []string  // of the databases
}

// Limits of the lock's connection, seconds.
const (
	lockPatience = 60 // of the server with a node that is gone without a word
	killPatience = 5  // for a lock whose holder was killed
)

// lockKey is the name of the server-wide lock on a database, which has at most 64 characters.
func lockKey(database string) string {
	if name := "ddb:" + database; len(name) <= 64 {
		return name
	}
	return "ddb:" + lang.Digest(database)
}

// Lock takes the locks of all databases.
func (a *Locks) Lock(ctx context.Context) (release func() error, err error) {
	l := &nodeLock{all: a, token: "ddb:" + rand.Text(), names: unique(a.server.Databases())}
	if err := l.acquire(ctx); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	a.held.Store(l)
	return l.release, nil
}

// Keep makes sure that the node holds its locks, and takes them anew if the server has let go of
// them. lost says that it had: another node may have been here meanwhile. The error says why they cannot be had.
func (a *Locks) Keep(ctx context.Context) (lost bool, err error) {
	l := a.held.Load()
	if l == nil {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.holds(ctx) {
		return false, nil
	}
	l.drop()
	if err := l.acquire(ctx); err != nil {
		return true, fmt.Errorf("lock: %w", err)
	}
	return true, nil
}

// Only makes the locks be those of these databases.
func (a *Locks) Only(ctx context.Context, databases []string) error {
	l := a.held.Load()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	want := unique(databases)
	if l.conn == nil {
		return fmt.Errorf("lock: the server has let go of the lock on database %q", l.names[0])
	}
	for _, db := range want {
		if slices.Contains(l.names, db) {
			continue
		}
		if err := l.take(ctx, l.conn, lockKey(db), db); err != nil {
			return fmt.Errorf("lock: %w", lang.Wrap(err))
		}
		l.names = append(l.names, db)
	}
	for _, db := range slices.Clone(l.names) {
		if slices.Contains(want, db) {
			continue
		}
		if _, err := lang.Texts(ctx, l.conn, "SELECT RELEASE_LOCK("+lang.Text(lockKey(db))+")"); err != nil {
			return fmt.Errorf("unlock: %w", lang.Wrap(err))
		}
		l.names = slices.DeleteFunc(l.names, func(n string) bool { return n == db })
	}
	return nil
}

// unique returns the names without those that come twice.
func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// acquire connects and takes all locks. The caller holds mu, or nobody else knows of l.
func (l *nodeLock) acquire(ctx context.Context) error {
	c, err := l.all.db.Conn(ctx)
	if err != nil {
		return lang.Wrap(err)
	}
	_, err = c.ExecContext(ctx, fmt.Sprintf("SET SESSION wait_timeout=%d", lockPatience))
	for _, db := range l.names {
		if err == nil {
			err = l.take(ctx, c, lockKey(db), db)
		}
	}
	if err == nil {
		err = l.take(ctx, c, l.token, l.names[0])
	}
	if err != nil {
		Discard(c)
		return lang.Wrap(err)
	}
	l.conn = c
	return nil
}

// take takes one lock. A connection that this node has lost, and that the server has not missed yet, is killed for it.
func (l *nodeLock) take(ctx context.Context, c *sql.Conn, key, database string) error {
	for patience := 0; ; patience = killPatience {
		rows, err := lang.Texts(ctx, c, fmt.Sprintf("SELECT GET_LOCK(%s, %d), IS_USED_LOCK(%s), IS_USED_LOCK(%s)", lang.Text(key), patience, lang.Text(key), lang.Text(l.token)))
		if err != nil {
			return err
		}
		r := rows[0]
		if r[0].String == "1" {
			return nil
		}
		if patience > 0 || !r[2].Valid || r[1].String != r[2].String {
			return fmt.Errorf("%w %q (connection %s); close it first", dialect.ErrLocked, database, r[1].String)
		}
		// A user may always kill what is its own.
		if _, err := c.ExecContext(ctx, "KILL "+r[2].String); err != nil && lang.Errno(err) != lang.ErNoSuchThread {
			return err
		}
	}
}

// holds reports whether the connection still has all locks.
func (l *nodeLock) holds(ctx context.Context) bool {
	all := []string{"1"}
	for _, db := range l.names {
		all = append(all, "IS_USED_LOCK("+lang.Text(lockKey(db))+")<=>CONNECTION_ID()")
	}
	rows, err := lang.Texts(ctx, l.conn, "SELECT "+strings.Join(all, " AND "))
	return err == nil && rows[0][0].String == "1"
}

func (l *nodeLock) drop() {
	if l.conn != nil {
		Discard(l.conn)
		l.conn = nil
	}
}

// release lets go of the locks before it returns. On a connection that is gone there are none.
func (l *nodeLock) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.held.CompareAndSwap(l, nil)
	if l.conn == nil {
		return nil
	}
	back, cancel := context.WithTimeout(context.Background(), RollbackTimeout)
	defer cancel()
	for _, db := range l.names {
		if _, err := lang.Texts(back, l.conn, "SELECT RELEASE_LOCK("+lang.Text(lockKey(db))+")"); err != nil {
			break // the connection is gone, and all locks with it
		}
	}
	l.drop()
	return nil
}
