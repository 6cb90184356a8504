package dialecttest

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// Own tables exist after CreateOwn, hold what OwnTables promises, and are no user's tables.
func testOwn(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.ok(w.eng.CreateOwn(w.ctx, w.db)) // again: nothing to do
	w.exec(
		"INSERT INTO "+w.eng.Own("meta")+" (k, v) VALUES ('a', x'00ff')",
		"INSERT INTO "+w.eng.Own("journal")+" (seq, epoch, at, final, records, bytes, hash, payload) VALUES (9223372036854775807, 1, 2, 3, 4, 5, x'00', x'01')",
		"INSERT INTO "+w.eng.Own("journal_rest")+" (seq, n, payload) VALUES (9223372036854775807, 1, x'02'), (9223372036854775807, 2, x'03')",
		"INSERT INTO "+w.eng.Own("followers")+" (id, role, number, at) VALUES ('f', 'replica', 1, 2)",
		"INSERT INTO "+w.eng.Own("batches")+" (number, at, records, bytes, payload) VALUES (NULL, 1, 2, 3, x'00'), (7, 1, 2, 3, x'00')",
		"INSERT INTO "+w.eng.Own("received")+" (snap, number) VALUES ('s', 7)",
		"INSERT INTO "+w.eng.Own("deferred")+" (kind, db, name, body) VALUES ('trigger', '', 'n', 'b')",
		"INSERT INTO "+w.eng.Own("conflicts")+" (id, at, db, tbl, rowkey, base, local, remote, origin, batch, policy, outcome, reason, state) VALUES ('i', 1, '', 't', 'k', NULL, 'l', 'r', 'o', 2, 'p', 'o', 'r', 's')",
	)
	if _, err := w.db.ExecContext(w.ctx, "INSERT INTO "+w.eng.Own("meta")+" (k, v) VALUES ('a', x'00')"); err == nil {
		t.Error("meta.k is no primary key")
	}
	tables := w.tables()
	if len(tables) != len(dialect.OwnReplicated) {
		t.Errorf("an empty database lists %d tables, want %v", len(tables), dialect.OwnReplicated)
	}
	for _, own := range tables {
		if !own.Own || own.Refusal != "" {
			t.Errorf("a table of ddb's own is listed as %+v", own)
		}
	}
	objects, err := w.eng.Objects(w.ctx, w.db)
	w.ok(err)
	for _, o := range objects {
		if o.Kind != "database" {
			t.Errorf("an empty database lists the object %+v", o)
		}
	}
	w.ok(w.eng.DropOwn(w.ctx, w.db))
	if _, err := w.db.ExecContext(w.ctx, "DELETE FROM "+w.eng.Own("meta")); err == nil {
		t.Error("DropOwn left meta behind")
	}
}

// Tables describes columns, keys and the order that foreign keys ask for.
func testTables(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec(
		"CREATE TABLE `z parent` (id "+h.AutoKey+", v VARCHAR(20) NOT NULL DEFAULT 'x')",
		"CREATE TABLE `a child` (b BIGINT NOT NULL, n BIGINT, twice BIGINT GENERATED ALWAYS AS (n * 2) STORED, a VARCHAR(10) NOT NULL, "+
			"p BIGINT REFERENCES `z parent` (id), PRIMARY KEY (a, b), FOREIGN KEY (p) REFERENCES `z parent` (id))",
		"CREATE TABLE nocase (k VARCHAR(20) "+h.NoCase+" NOT NULL PRIMARY KEY)",
	)
	list, err := w.eng.Tables(w.ctx, w.db)
	w.ok(err)
	var names []string
	for _, tab := range list {
		names = append(names, tab.Name)
	}
	if slices.Index(names, "z parent") > slices.Index(names, "a child") {
		t.Errorf("children before parents: %q", names)
	}
	p, c := w.table("z parent"), w.table("a child")
	if len(p.Columns) != 2 || !p.Columns[0].AutoIncrement || p.Columns[1].Nullable || !strings.Contains(p.Columns[1].Default, "x") {
		t.Errorf("columns %+v", p.Columns)
	}
	if !p.ExactKey || w.table("nocase").ExactKey {
		t.Errorf("ExactKey: integer %v, case-insensitive %v", p.ExactKey, w.table("nocase").ExactKey)
	}
	if want := []string{"b", "n", "a", "p"}; !slices.Equal(c.Stored, want) {
		t.Errorf("Stored %q, want %q", c.Stored, want)
	}
	if want := []int{2, 0}; !slices.Equal(c.Key, want) {
		t.Errorf("Key %v, want %v", c.Key, want)
	}
	if !c.Columns[2].Generated || len(c.Columns) != 5 {
		t.Errorf("columns %+v", c.Columns)
	}
	if p.Fingerprint == "" || p.Fingerprint == c.Fingerprint {
		t.Errorf("fingerprints %q and %q", p.Fingerprint, c.Fingerprint)
	}
	before := p.Fingerprint
	w.exec("ALTER TABLE `z parent` ADD COLUMN w BIGINT")
	if w.table("z parent").Fingerprint == before {
		t.Error("the fingerprint outlived an ALTER")
	}
}

// A table without a primary key is refused by name, with the way out.
func testTablesRefused(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE keyless (a BIGINT, b BIGINT)", "CREATE TABLE keyed (a BIGINT NOT NULL PRIMARY KEY)")
	r := w.tables()["keyless"]
	if r == nil || !strings.Contains(r.Refusal, "keyless") || !strings.Contains(strings.ToUpper(r.Refusal), "PRIMARY KEY") {
		t.Fatalf("refusal of a table without a primary key: %+v", r)
	}
	w.capture(dialect.Keys)
	w.exec("INSERT INTO keyless VALUES (1, 2)", "INSERT INTO keyed VALUES (1)")
	w.expect("keyed(1)=[1]")
}

// Objects rebuild the whole schema on an empty node.
func testObjects(t *testing.T, h Harness) {
	a := open(t, h, func(c *dialect.Config) { c.Guard = true })
	a.exec(
		"CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20), n BIGINT)",
		"CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, t BIGINT, FOREIGN KEY (t) REFERENCES t (id))",
		"CREATE UNIQUE INDEX tv ON t (v)",
		"CREATE VIEW seen AS SELECT id, v FROM t WHERE n > 1",
		"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO c VALUES (NEW.id, NEW.id); END",
	)
	a.capture(dialect.Images)
	objects, err := a.eng.Objects(a.ctx, a.db)
	a.ok(err)
	b := open(t, h, func(c *dialect.Config) { c.Guard = true })
	for _, o := range objects {
		if strings.Contains(o.SQL, "ddb") {
			t.Errorf("an object has something of ddb's: %+v", o)
		}
		if o.Kind == "database" {
			continue
		}
		b.exec(o.SQL)
	}
	b.exec("INSERT INTO t VALUES (1, 'a', 2)")
	b.holds("c", "1 1")
	if a.table("t").Fingerprint != b.table("t").Fingerprint {
		t.Error("the same table has another fingerprint on another node")
	}
	again, err := b.eng.Objects(b.ctx, b.db)
	b.ok(err)
	if len(again) != len(objects) {
		t.Errorf("%d objects became %d", len(objects), len(again))
	}
}

// Version changes with a schema statement of any client, not with rows.
func testVersion(t *testing.T, h Harness) {
	w := open(t, h, nil)
	version := func() string {
		v, err := w.eng.Version(w.ctx, w.db)
		w.ok(err)
		return v
	}
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)")
	v1 := version()
	w.exec("INSERT INTO t VALUES (1)")
	if version() != v1 {
		t.Error("an INSERT changed the version")
	}
	w.exec("ALTER TABLE t ADD COLUMN v BIGINT")
	v2 := version()
	w.exec("DROP TABLE t")
	if v2 == v1 || version() == v2 {
		t.Error("a schema statement left the version alone")
	}
}

// Run executes a schema statement, reports its error, and fills in the surroundings.
func testRun(t *testing.T, h Harness) {
	w := open(t, h, nil)
	c, err := w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	defer w.eng.Release(c)
	run := func(s string) error { return w.eng.Run(w.ctx, c, &dialect.Statement{SQL: s}) }
	w.ok(run("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)"))
	if err := run("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)"); err == nil {
		t.Error("a second CREATE TABLE passed")
	}
	w.table("t")
	w.ok(w.eng.Begin(w.ctx, c, dialect.Write))
	w.ok(run("CREATE TABLE u (id BIGINT NOT NULL PRIMARY KEY)"))
	_, err = c.ExecContext(w.ctx, "ROLLBACK")
	w.ok(err)
	if w.eng.Transactional() == (w.tables()["u"] != nil) {
		t.Errorf("Transactional is %v, and the table's existence after ROLLBACK is %v", w.eng.Transactional(), w.tables()["u"] != nil)
	}
}

// Wipe leaves nothing of the user's and all of ddb's.
func testWipe(t *testing.T, h Harness) {
	w := open(t, h, func(c *dialect.Config) { c.Guard = true })
	w.exec(
		"CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, b BIGINT, UNIQUE (b))",
		"CREATE TABLE b (id BIGINT NOT NULL PRIMARY KEY, a BIGINT, FOREIGN KEY (a) REFERENCES a (id))",
		"CREATE VIEW v AS SELECT * FROM a", "CREATE VIEW v2 AS SELECT * FROM v",
		"CREATE TRIGGER tr AFTER INSERT ON a FOR EACH ROW BEGIN UPDATE b SET a = NULL WHERE id = NEW.id; END",
		"INSERT INTO a VALUES (1, 1)", "INSERT INTO b VALUES (1, 1)",
		"INSERT INTO "+w.eng.Own("meta")+" (k, v) VALUES ('a', x'00')",
	)
	w.capture(dialect.Images)
	c, err := w.eng.Conn(w.ctx, dialect.Replay)
	w.ok(err)
	w.ok(w.eng.Wipe(w.ctx, c))
	w.eng.Release(c)
	if n := len(w.tables()); n != len(dialect.OwnReplicated) {
		t.Errorf("%d tables after Wipe, want %v", n, dialect.OwnReplicated)
	}
	objects, err := w.eng.Objects(w.ctx, w.db)
	w.ok(err)
	for _, o := range objects {
		if o.Kind != "database" {
			t.Errorf("Wipe left %+v", o)
		}
	}
	var n int
	w.ok(w.db.QueryRowContext(w.ctx, "SELECT COUNT(*) FROM "+w.eng.Own("meta")).Scan(&n))
	if n != 1 {
		t.Error("Wipe touched ddb's own tables")
	}
	w.capture(dialect.Keys)
	w.exec("CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY)")
	w.capture(dialect.Keys)
	w.exec("INSERT INTO a VALUES (5)")
	w.expect("a(5)=[5]")
}

// The lock keeps a second node off the database, and can be had again once released.
func testLock(t *testing.T, h Harness) {
	w := open(t, h, nil)
	release, err := w.eng.Lock(w.ctx)
	w.ok(err)
	second, err := h.Dialect.Bind(w.ctx, w.db, h.Config)
	w.ok(err)
	if _, err := second.Lock(w.ctx); !errors.Is(err, dialect.ErrLocked) {
		t.Fatalf("two nodes hold the lock of one database: %v", err)
	}
	w.ok(release())
	release, err = second.Lock(w.ctx)
	w.ok(err)
	w.ok(release())
}

// Connections come back to the pool as they were; a commit with a canceled context rolls back.
func testSessions(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY)",
		"CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, FOREIGN KEY (p) REFERENCES p (id))")
	for _, p := range []dialect.Purpose{dialect.Replay, dialect.Batch, dialect.Pass, dialect.Write} {
		w.in(p, func(*sql.Conn) {})
	}
	for range 4 {
		if _, err := w.db.ExecContext(w.ctx, "INSERT INTO c VALUES (1, 1)"); err == nil {
			t.Fatal("a connection without foreign keys is in the user's pool")
		}
	}
	c, err := w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	w.ok(w.eng.Begin(w.ctx, c, dialect.Write))
	_, err = c.ExecContext(w.ctx, "INSERT INTO p VALUES (1)")
	w.ok(err)
	ctx, cancel := contextCanceled(w.ctx)
	cancel()
	if err := w.eng.Commit(ctx, c, dialect.Write); err == nil {
		t.Error("Commit with a canceled context returned nil")
	}
	w.eng.Release(c)
	w.holds("p")
	c, err = w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	w.ok(w.eng.Begin(w.ctx, c, dialect.Write))
	_, err = c.ExecContext(w.ctx, "INSERT INTO p VALUES (2)")
	w.ok(err)
	w.eng.Release(c) // in the middle of a transaction: it must not live on
	w.holds("p")
	w.exec("INSERT INTO p VALUES (3)")
	w.holds("p", "3")
}

// Rows with a wrong number of values are a schema mismatch, not a wrong write.
func testApplyMismatch(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))")
	err := w.apply(dialect.Replay, dialect.Strict, []change{{table: w.table("t"), key: []any{int64(1)}, values: []any{int64(1)}}})
	if !errors.Is(err, dialect.ErrSchemaMismatch) {
		t.Errorf("got %v, want ErrSchemaMismatch", err)
	}
	w.holds("t")
}
