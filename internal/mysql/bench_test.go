package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/testdb"
)

// benchNode is an engine on the shared server, for benchmarks.
func benchNode(b *testing.B) (*engine, *sql.DB) {
	b.Helper()
	s := testdb.SharedMariaDB(b)
	name := s.NewDatabase(b)
	db := s.Open(b, name)
	db.SetMaxIdleConns(32)
	eng, err := Dialect{}.Bind(b.Context(), db, dialect.Config{})
	if err == nil {
		err = eng.CreateOwn(b.Context(), db)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Open(b, "").Exec("DROP DATABASE " + lang.Ident(name+"_ddb")) })
	return eng.(*engine), db
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchExec(b *testing.B, q dialect.Querier, statements ...string) {
	b.Helper()
	for _, s := range statements {
		_, err := q.ExecContext(context.Background(), s)
		must(b, err)
	}
}

// Single-row writes of 16 writers, without and with capture.
func BenchmarkWriters(b *testing.B) {
	for _, mode := range []string{"raw", "keys", "images", "raw", "keys"} {
		b.Run(mode, func(b *testing.B) {
			e, db := benchNode(b)
			benchExec(b, db, "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, KEY (k))")
			if mode != "raw" {
				m := dialect.Keys
				if mode == "images" {
					m = dialect.Images
				}
				list, err := e.Tables(b.Context(), db)
				must(b, err)
				must(b, e.InstallCapture(b.Context(), db, list, m))
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 16 {
				wg.Go(func() {
					c, err := db.Conn(context.Background())
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						q := fmt.Sprintf("INSERT INTO t (k, c) VALUES (%d, 'some text of a row')", n)
						if n%2 == 0 {
							q = fmt.Sprintf("UPDATE t SET k=k+1 WHERE id=%d", n/2)
						}
						if _, err := c.ExecContext(context.Background(), q); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// A pass and the apply of 100,000 narrow rows, on tables without and with a unique index.
func BenchmarkPass(b *testing.B) {
	const rows = 100000
	for _, unique := range []string{"", ", UNIQUE (v)"} {
		e, db := benchNode(b)
		benchExec(b, db, "CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(20)"+unique+")", "CREATE TABLE r (id INT PRIMARY KEY, v INT, s VARCHAR(20)"+unique+")")
		list, err := e.Tables(b.Context(), db)
		must(b, err)
		must(b, e.InstallCapture(b.Context(), db, list, dialect.Keys))
		var from, to *dialect.Table
		for _, t := range list {
			switch t.Name {
			case "t":
				from = t
			case "r":
				to = t
			}
		}
		benchExec(b, db, fmt.Sprintf("INSERT INTO t SELECT seq, seq, 'narrow' FROM seq_1_to_%d", rows))
		var all []dialect.Row
		var notes dialect.Notes
		b.Run("collect"+unique, func(b *testing.B) {
			for b.Loop() {
				all = all[:0]
				c, err := e.Conn(b.Context(), dialect.Pass)
				must(b, err)
				must(b, e.Begin(b.Context(), c, dialect.Pass))
				notes, err = e.Collect(b.Context(), c, from, func(r dialect.Row) error {
					v := append([]any(nil), r.Values...)
					all = append(all, dialect.Row{Key: v[:1:1], Values: v})
					return nil
				})
				must(b, err)
				e.Release(c)
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
		b.Run("clear"+unique, func(b *testing.B) {
			for b.Loop() {
				c, err := e.Conn(b.Context(), dialect.Pass)
				must(b, err)
				must(b, e.Begin(b.Context(), c, dialect.Pass))
				must(b, e.Clear(b.Context(), c, notes))
				e.Release(c)
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
		for _, what := range []string{"insert", "rewrite"} {
			b.Run(what+unique, func(b *testing.B) {
				for b.Loop() {
					if what == "insert" {
						b.StopTimer()
						benchExec(b, db, "TRUNCATE r")
						b.StartTimer()
					}
					c, err := e.Conn(b.Context(), dialect.Replay)
					must(b, err)
					must(b, e.Begin(b.Context(), c, dialect.Replay))
					must(b, e.Apply(b.Context(), c, to, all, dialect.Strict))
					must(b, e.Commit(b.Context(), c, dialect.Replay))
					e.Release(c)
					if what == "rewrite" {
						for i := range all {
							all[i].Values[2] = fmt.Sprint("changed", b.N)
						}
					}
				}
				b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// The catalogue of 50 tables.
func BenchmarkCatalogue(b *testing.B) {
	e, db := benchNode(b)
	for i := range 50 {
		benchExec(b, db, fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY, a INT, b TEXT, c DATETIME, d DECIMAL(10,2), e VARCHAR(20), KEY (a), UNIQUE (e))", i))
	}
	list, err := e.Tables(b.Context(), db)
	must(b, err)
	must(b, e.InstallCapture(b.Context(), db, list, dialect.Keys))
	for name, f := range map[string]func() error{
		"version": func() error { _, err := e.Version(b.Context(), db); return err },
		"tables":  func() error { _, err := e.Tables(b.Context(), db); return err },
		"noted":   func() error { _, err := e.Noted(b.Context(), db, list); return err },
		"install": func() error { return e.InstallCapture(b.Context(), db, list, dialect.Keys) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				must(b, f())
			}
		})
	}
}
