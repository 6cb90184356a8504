package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

func bind(t testing.TB, db *sql.DB, cfg dialect.Config) dialect.Engine {
	t.Helper()
	e, err := Dialect{}.Bind(t.Context(), db, cfg)
	if err == nil {
		err = e.CreateOwn(t.Context(), db)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func must(t testing.TB, db dialect.Querier, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func find(t testing.TB, e dialect.Engine, q dialect.Querier, name string) *dialect.Table {
	t.Helper()
	list, err := e.Tables(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range list {
		if tab.Name == name {
			return tab
		}
	}
	t.Fatalf("no table %s", name)
	return nil
}

func install(t testing.TB, e dialect.Engine, q dialect.Querier, mode dialect.CaptureMode) []*dialect.Table {
	t.Helper()
	list, err := e.Tables(t.Context(), q)
	if err == nil {
		err = e.InstallCapture(t.Context(), q, list, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Rows per second into a narrow table, in transactions of 10,000.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ name, extra string }{{"Plain", ""}, {"Unique", ", UNIQUE (n)"}} {
		b.Run(c.name, func(b *testing.B) {
			db := openFile(b, "")
			e := bind(b, db, dialect.Config{})
			must(b, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER"+c.extra+")")
			tab := find(b, e, db, "t")
			conn, err := e.Conn(b.Context(), dialect.Replay)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Release(conn)
			rows := make([]dialect.Row, 10000)
			id := int64(0)
			for b.Loop() {
				for i := range rows {
					id++
					rows[i] = dialect.Row{Key: []any{id}, Values: []any{id, fmt.Sprint("value ", id), id}}
				}
				if err := e.Begin(b.Context(), conn, dialect.Replay); err != nil {
					b.Fatal(err)
				}
				if err := e.Apply(b.Context(), conn, tab, rows, dialect.Strict); err != nil {
					b.Fatal(err)
				}
				if err := e.Commit(b.Context(), conn, dialect.Replay); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(id)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// Rows per second read by Collect and cleared, and by Scan.
func BenchmarkCollect(b *testing.B) {
	db := openFile(b, "")
	e := bind(b, db, dialect.Config{})
	must(b, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER)")
	install(b, e, db, dialect.Keys)
	tab := find(b, e, db, "t")
	must(b, db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000) INSERT INTO t SELECT i, 'value ' || i, i FROM c")
	n := 0
	for b.Loop() {
		notes, err := e.Collect(b.Context(), db, tab, func(dialect.Row) error { n++; return nil })
		if err != nil || notes.Count != 100000 {
			b.Fatal(notes.Count, err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// Single-row autocommit writes: raw, captured, and captured with a pass after each.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"Raw", "Keys", "KeysPass10", "Images"} {
		for _, sync := range []string{"OFF", "FULL"} {
			b.Run(kind+"/"+sync, func(b *testing.B) {
				db := openFile(b, "")
				must(b, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER)")
				e := bind(b, db, dialect.Config{})
				var list []*dialect.Table
				switch kind {
				case "Keys", "KeysPass10":
					list = install(b, e, db, dialect.Keys)
				case "Images":
					list = install(b, e, db, dialect.Images)
				}
				ctx := context.Background()
				c, _ := db.Conn(ctx)
				defer c.Close()
				must(b, c, "PRAGMA synchronous = "+sync)
				ins, err := c.PrepareContext(ctx, "INSERT INTO t (v, n) VALUES (?, ?)")
				if err != nil {
					b.Fatal(err)
				}
				p, err := e.Conn(ctx, dialect.Pass)
				if err != nil {
					b.Fatal(err)
				}
				defer e.Release(p)
				must(b, p, "PRAGMA synchronous = "+sync)
				i := 0
				for b.Loop() {
					i++
					if _, err := ins.ExecContext(ctx, "some value", i); err != nil {
						b.Fatal(err)
					}
					if kind == "KeysPass10" && i%10 == 0 {
						pass(b, e, p, list)
					}
				}
			})
		}
	}
}

func pass(b *testing.B, e dialect.Engine, p *sql.Conn, list []*dialect.Table) {
	ctx := context.Background()
	err := e.Begin(ctx, p, dialect.Pass)
	if err != nil {
		b.Fatal(err)
	}
	noted, err := e.Noted(ctx, p, list)
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range noted {
		n, err := e.Collect(ctx, p, t, func(dialect.Row) error { return nil })
		if err == nil {
			err = e.Clear(ctx, p, n)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Commit(ctx, p, dialect.Pass); err != nil {
		b.Fatal(err)
	}
}
