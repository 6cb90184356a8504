package sqlite

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// A file that a peer has sent as its database is loaded or refused, whatever is in it. Of a refused one nothing stays.
func FuzzLoadFrom(f *testing.F) {
	ctx := context.Background()
	open := func(path string) (*sql.DB, *engine) {
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(0)")
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { db.Close() })
		eng, err := Dialect{}.Bind(ctx, db, dialect.Config{})
		if err != nil {
			f.Fatal(err)
		}
		if err := eng.CreateOwn(ctx, db); err != nil {
			f.Fatal(err)
		}
		return db, eng.(*engine)
	}
	dir := f.TempDir()
	from, source := open(filepath.Join(dir, "from.db"))
	for _, q := range []string{"PRAGMA page_size=512", "VACUUM", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, g AS (id + 1))", "CREATE INDEX i ON t (v)",
		"CREATE VIEW w AS SELECT v FROM t", "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END", "INSERT INTO t (v) VALUES ('one'), ('two')", "CREATE TABLE u (a BLOB PRIMARY KEY) WITHOUT ROWID"} {
		if _, err := from.Exec(q); err != nil {
			f.Fatal(err)
		}
	}
	copied := filepath.Join(dir, "copy")
	if err := source.CopyTo(ctx, copied); err != nil {
		f.Fatal(err)
	}
	image, err := os.ReadFile(copied)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte(nil))
	f.Add(16, []byte{0xff, 0xff})      // page size
	f.Add(100, []byte{0x02, 0, 0, 0})  // the schema's root page
	f.Add(len(image)-200, image[:100]) // somewhere in the rows
	f.Add(-1, []byte("SQLite format 3"))
	into, eng := open(filepath.Join(dir, "into.db"))
	path := filepath.Join(dir, "arrived")
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		damaged := append([]byte{}, image...)
		if at < 0 {
			damaged = patch // no image at all
		} else {
			copy(damaged[min(at, len(damaged)):], patch)
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := eng.Conn(t.Context(), dialect.Replay)
		if err != nil {
			t.Fatal(err)
		}
		_ = eng.LoadFrom(t.Context(), c, path, nil)
		eng.Release(c)
		var whole string
		if err := into.QueryRow("PRAGMA quick_check(1)").Scan(&whole); err != nil || whole == "" {
			t.Errorf("the database that it was loaded into: %q, %v", whole, err)
		}
	})
}
