package mysql

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
)

// node is an engine on a database of its own.
type node struct {
	*testing.T
	db  *sql.DB
	eng *engine
}

func newNode(t *testing.T, cfg dialect.Config, params ...string) *node {
	t.Helper()
	return bindNode(t, newDatabase(t, params...), cfg)
}

func bindNode(t *testing.T, db *sql.DB, cfg dialect.Config) *node {
	t.Helper()
	eng, err := Dialect{}.Bind(t.Context(), db, cfg)
	n := &node{T: t, db: db}
	n.ok(err)
	n.eng = eng.(*engine)
	n.ok(n.eng.CreateOwn(t.Context(), db))
	return n
}

func (n *node) ok(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *node) exec(statements ...string) { n.Helper(); mustExec(n.T, n.db, statements...) }

// lax is a connection of the user's own on which everything may be stored.
func (n *node) lax() *sql.Conn {
	n.Helper()
	c, err := n.db.Conn(n.Context())
	n.ok(err)
	n.Cleanup(func() { c.Close() })
	mustExec(n.T, c, "SET NAMES utf8mb4", "SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00', foreign_key_checks=1")
	return c
}

func (n *node) tables() []*dialect.Table {
	n.Helper()
	list, err := n.eng.Tables(n.Context(), n.db)
	n.ok(err)
	return list
}

func (n *node) table(name string) *dialect.Table {
	n.Helper()
	list := n.tables()
	i := slices.IndexFunc(list, func(t *dialect.Table) bool { return t.Name == name })
	if i < 0 {
		n.Fatalf("no table %s", name)
	}
	return list[i]
}

func (n *node) install(mode dialect.CaptureMode) {
	n.Helper()
	n.ok(n.eng.InstallCapture(n.Context(), n.db, n.tables(), mode))
}

// in runs f in a transaction of the purpose.
func (n *node) in(p dialect.Purpose, f func(c *sql.Conn)) {
	n.Helper()
	c, err := n.eng.Conn(n.Context(), p)
	n.ok(err)
	defer n.eng.Release(c)
	n.ok(n.eng.Begin(n.Context(), c, p))
	f(c)
	n.ok(n.eng.Commit(n.Context(), c, p))
}

// ship carries what a pass finds from n to r, while the pass's transaction is open.
func (n *node) ship(r *node) (rows int) {
	n.Helper()
	here, there := n.tables(), r.tables()
	n.in(dialect.Pass, func(c *sql.Conn) {
		noted, err := n.eng.Noted(n.Context(), c, here)
		n.ok(err)
		r.in(dialect.Replay, func(rc *sql.Conn) {
			for _, t := range noted {
				i := slices.IndexFunc(there, func(x *dialect.Table) bool { return x.Name == t.Name })
				var list []dialect.Row
				notes, err := n.eng.Collect(context.Background(), c, t, func(row dialect.Row) error {
					list = append(list, dialect.Row{Key: slices.Clone(row.Key), Values: slices.Clone(row.Values)})
					return nil
				})
				n.ok(err)
				n.ok(r.eng.Apply(context.Background(), rc, there[i], list, dialect.Strict))
				n.ok(n.eng.Clear(context.Background(), c, notes))
				rows += len(list)
			}
		})
	})
	return rows
}

// same checks that both nodes hold the same bytes in the tables.
func (n *node) same(r *node, tables ...string) {
	n.Helper()
	for _, name := range tables {
		if x, y := checksum(n.T, n.db, name), checksum(n.T, r.db, name); x != y {
			n.Errorf("table %s: checksums %s and %s\n%v\n%v", name, x, y, dump(n, name), dump(r, name))
		}
	}
}

func dump(n *node, table string) []string {
	var list []string
	_, err := n.eng.Scan(context.Background(), n.db, n.table(table), nil, 50, func(v []any) error {
		list = append(list, codec.Describe(v))
		return nil
	})
	n.ok(err)
	return list
}
