package ddb

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/testfuzz"
	"github.com/ddb-project/ddb/internal/wire"
)

// A cursor comes from the follower: whatever it names, the snapshot begins anew or goes on behind a key of as many values as the
// table's has, of whatever types.
func FuzzCursor(f *testing.F) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(f.TempDir(), "s.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	c, err := Open(ctx, db, Options{ID: "master"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	for _, q := range []string{"CREATE TABLE i (id INTEGER PRIMARY KEY, v TEXT)", "CREATE TABLE t (a TEXT COLLATE NOCASE NOT NULL, b ANY NOT NULL, PRIMARY KEY (b, a)) WITHOUT ROWID",
		"INSERT INTO i VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES ('a', 1), ('B', x'00'), ('c', 'c')"} {
		if _, err := c.ExecContext(ctx, q); err != nil {
			f.Fatal(err)
		}
	}
	if err := c.m.seq.Pass(ctx); err != nil {
		f.Fatal(err)
	}
	base := c.m.seq.State.Load().Pos
	for _, after := range []wire.Row{nil, {int64(1)}, {"text"}, {uint64(1) << 63}, {[]byte{0}, nil}, {true, 1.5}, {int64(1), int64(1), int64(1)}} {
		for _, table := range []string{"", "i", "t", "none"} {
			f.Add(testfuzz.Seed(f, link.Cursor{Base: base, Table: table, After: after}))
		}
	}
	f.Add(testfuzz.Seed(f, link.Cursor{Base: Position{LSN: apply.Loading}, Table: "i"}))
	f.Add(testfuzz.Seed(f, link.Cursor{Base: Position{LSN: 1 << 43}}))
	cat := c.m.node.Tables.Load()
	f.Fuzz(func(t *testing.T, payload []byte) {
		from, err := wire.DecodeChecked[link.Cursor](payload)
		if testfuzz.RefusedWell(t, err) {
			return
		}
		c.m.fleet.Resumable(ctx, &from, schema.Record{}, cat)
		from.Base = base
		if !c.m.fleet.Resumable(ctx, &from, schema.Record{}, cat) || from.Table == "" {
			return
		}
		for _, tab := range cat.Replicated() {
			if c.m.node.Name(tab).Key() != from.Table {
				continue
			}
			_, _ = c.m.node.Engine.Scan(ctx, c.m.node.DB, tab, from.After, 10, func(values []any) error {
				if len(values) != len(tab.Stored) {
					t.Fatalf("a row of %d values", len(values))
				}
				return nil
			})
			_ = c.m.node.Engine.Lookup(ctx, c.m.node.DB, tab, [][]any{from.After}, func(dialect.Row) error { return nil })
		}
	})
}
