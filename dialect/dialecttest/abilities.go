package dialecttest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ddb-project/ddb/dialect"
)

// testFault: what ddb decides by, the dialect tells of the errors of its own driver, wrapped or not.
func testFault(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)", "INSERT INTO t VALUES (1, 1)")
	for _, c := range []struct {
		statement string
		means     dialect.Fault
	}{
		{"INSERT INTO t VALUES (1, 2)", dialect.Constraint},
		{"INSERT INTO t VALUES (2, NULL)", dialect.Constraint},
		{"SELECT * FROM missing", dialect.NoTable},
		{"INSERT INTO missing VALUES (1)", dialect.NoTable},
	} {
		_, err := w.db.ExecContext(w.ctx, c.statement)
		if err == nil {
			w.Fatalf("%s succeeds", c.statement)
		}
		for _, err := range []error{err, fmt.Errorf("wrapped: %w", err)} {
			if f := h.Dialect.Fault(err); !f.Is(c.means) || f.Is(dialect.Busy|dialect.Unable|dialect.Full|dialect.NodeDown) {
				w.Errorf("%s: Fault(%v) is %b, want %b in it and nothing that says that it may succeed another time", c.statement, err, f, c.means)
			}
		}
	}
	for _, err := range []error{nil, errors.New("anything"), sql.ErrNoRows} {
		if f := h.Dialect.Fault(err); f != 0 {
			w.Errorf("Fault(%v) is %b, want 0", err, f)
		}
	}
}

// ability returns what the dialect or its engine has of T. The test is skipped where that is nothing.
func ability[T any](t *testing.T, of any) T {
	t.Helper()
	a, ok := of.(T)
	if !ok {
		t.Skipf("%T has no such ability", of)
	}
	return a
}

// conn takes a connection from the pool until the test ends.
func (w *world) conn() *sql.Conn {
	w.Helper()
	c, err := w.db.Conn(w.ctx)
	w.ok(err)
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// run runs statements on a connection.
func (w *world) run(c *sql.Conn, statements ...string) {
	w.Helper()
	for _, s := range statements {
		if _, err := c.ExecContext(w.ctx, s); err != nil {
			w.Fatalf("%s: %v", s, err)
		}
	}
}

// count returns the number that a query yields.
func (w *world) count(query string) (n int64) {
	w.Helper()
	w.ok(w.db.QueryRowContext(w.ctx, query).Scan(&n))
	return n
}

// testKiller: each connection has a number of its own, and is killed by it exactly if the context ends.
func testKiller(t *testing.T, h Harness) {
	killer := ability[dialect.Killer](t, h.Dialect)
	w := open(t, h, nil)
	a, b := w.conn(), w.conn()
	ids := map[uint64]bool{}
	for _, c := range []*sql.Conn{a, b, a} {
		id, err := killer.ConnectionID(w.ctx, c)
		w.ok(err)
		ids[id] = true
	}
	if len(ids) != 2 {
		w.Fatalf("two connections have the numbers %v", ids)
	}
	id, err := killer.ConnectionID(w.ctx, a)
	w.ok(err)
	ctx, cancel := context.WithCancel(w.ctx)
	if killed := killer.Kill(ctx, w.db, id)(); killed {
		w.Error("killed though the context had not ended")
	}
	w.run(a, "SELECT 1")
	release := killer.Kill(ctx, w.db, id)
	cancel()
	if !release() {
		w.Error("not killed though the context has ended")
	}
	if _, err := a.ExecContext(w.ctx, "SELECT 1"); err == nil {
		w.Error("the connection lives on")
	}
	w.run(b, "SELECT 1")
}

// testValueLimiter: a value larger than allowed is TooLarge, and not once the limit is lifted.
func testValueLimiter(t *testing.T, h Harness) {
	limiter := ability[dialect.ValueLimiter](t, h.Dialect)
	w := open(t, h, nil)
	c := w.conn()
	const row = 1 << 20
	query, large := "SELECT ?", strings.Repeat("x", 2*row)
	read := func() error {
		var got string
		return c.QueryRowContext(w.ctx, query, large).Scan(&got)
	}
	restore := limiter.LimitValues(c, query, row)
	if err := read(); !h.Dialect.Fault(err).Is(dialect.TooLarge) {
		w.Errorf("a value of %d bytes, where %d are allowed: %v", len(large), row, err)
	}
	restore()
	w.ok(read())
}

// testTransactionTeller: it tells when a transaction is open, and the question changes nothing.
func testTransactionTeller(t *testing.T, h Harness) {
	teller := ability[dialect.TransactionTeller](t, h.Dialect)
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY)")
	c := w.conn()
	is := func(want bool) {
		w.Helper()
		for range 2 {
			if open, err := teller.InTransaction(w.ctx, c); err != nil || open != want {
				w.Fatalf("InTransaction tells %v (%v), want %v", open, err, want)
			}
		}
	}
	is(false)
	w.run(c, "BEGIN", "INSERT INTO t VALUES (1)")
	is(true)
	w.run(c, "ROLLBACK")
	is(false)
	w.run(c, "BEGIN", "INSERT INTO t VALUES (2)")
	is(true)
	w.run(c, "COMMIT")
	is(false)
	w.holds("t", "2")
}

// testQuickener: what Quick returns is on the same connection, and gives the same statement new arguments.
func testQuickener(t *testing.T, h Harness) {
	w := open(t, h, nil)
	quickener := ability[dialect.Quickener](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY)")
	w.in(dialect.Write, func(c *sql.Conn) {
		q := quickener.Quick(c)
		for i := range 3 {
			_, err := q.ExecContext(w.ctx, "INSERT INTO t VALUES (?)", i)
			w.ok(err)
			var n int
			w.ok(dialect.ScanOne(w.ctx, q, []any{&n}, "SELECT COUNT(*) FROM t WHERE id <= ?", i))
			if n != i+1 {
				w.Fatalf("Quick sees %d rows of %d", n, i+1)
			}
		}
	})
	w.holds("t", "0", "1", "2")
}

// testLockKeeper: a lock that is held is not lost.
func testLockKeeper(t *testing.T, h Harness) {
	w := open(t, h, nil)
	keeper := ability[dialect.LockKeeper](t, w.eng)
	release, err := w.eng.Lock(w.ctx)
	w.ok(err)
	for range 2 {
		if lost, err := keeper.KeepLock(w.ctx); lost || err != nil {
			w.Fatalf("KeepLock of a lock that is held: %v, %v", lost, err)
		}
	}
	w.ok(release())
}

// testDatabaseAdder: a database that was added is replicated, and not once it is taken back.
func testDatabaseAdder(t *testing.T, h Harness) {
	w := open(t, h, nil)
	adder := ability[dialect.DatabaseAdder](t, w.eng)
	name := fmt.Sprintf("ddb_added_%d", time.Now().UnixNano())
	w.exec("CREATE DATABASE "+name, "CREATE TABLE "+name+".t (id BIGINT PRIMARY KEY)")
	defer w.exec("DROP DATABASE " + name)
	in := func() bool {
		list, err := w.eng.Tables(w.ctx, w.db)
		w.ok(err)
		return slices.ContainsFunc(list, func(t *dialect.Table) bool { return t.Database == name })
	}
	for _, more := range [][]string{nil, {name}, nil} {
		w.ok(adder.Replicate(w.ctx, more))
		if in() != (more != nil) {
			w.Fatalf("after Replicate(%v) its table is replicated: %v", more, in())
		}
	}
}

// testTemporaries: a temporary table is the connection's that made it, and no other's.
func testTemporaries(t *testing.T, h Harness) {
	w := open(t, h, nil)
	temporaries := ability[dialect.Temporaries](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY)")
	a, b := w.conn(), w.conn()
	w.run(a, "CREATE TEMPORARY TABLE tmp (id BIGINT PRIMARY KEY)")
	for _, c := range []struct {
		on   *sql.Conn
		name string
		is   bool
	}{{a, "tmp", true}, {a, "t", false}, {b, "tmp", false}, {b, "t", false}} {
		if is, err := temporaries.IsTemporary(w.ctx, c.on, "", c.name); err != nil || is != c.is {
			w.Errorf("IsTemporary(%s) tells %v (%v), want %v", c.name, is, err, c.is)
		}
	}
	if has, err := temporaries.HasTemporary(w.ctx, a); err != nil || !has {
		w.Errorf("HasTemporary tells %v (%v) of a connection that has one", has, err)
	}
}

// testSettingComparer: connections of one pool have the same settings.
func testSettingComparer(t *testing.T, h Harness) {
	w := open(t, h, nil)
	comparer := ability[dialect.SettingComparer](t, w.eng)
	for _, statement := range []string{"CREATE TABLE t (id BIGINT PRIMARY KEY)", "DROP TABLE t"} {
		if name, err := comparer.DifferentSetting(w.ctx, w.conn(), w.conn(), statement); err != nil || name != "" {
			w.Errorf("two connections of the pool differ in %q (%v)", name, err)
		}
	}
}

// testCounterKeeper: a key that was handed out somewhere is not handed out here.
func testCounterKeeper(t *testing.T, h Harness) {
	w := open(t, h, nil)
	keeper := ability[dialect.CounterKeeper](t, w.eng)
	w.exec("CREATE TABLE t (id "+h.AutoKey+", v BIGINT)", "INSERT INTO t (v) VALUES (1), (2)")
	w.capture(dialect.Keys)
	tb := w.table("t")
	if next, err := keeper.NextKey(w.ctx, w.db, tb); err != nil || next < 3 {
		w.Fatalf("NextKey is %d (%v) after two rows", next, err)
	}
	w.in(dialect.Replay, func(c *sql.Conn) { w.ok(keeper.Remember(w.ctx, c, tb, 100)) })
	c, err := w.eng.Conn(w.ctx, dialect.Pass)
	w.ok(err)
	w.ok(keeper.RaiseCounters(w.ctx, c))
	w.eng.Release(c)
	w.exec("INSERT INTO t (v) VALUES (3)")
	if id := w.count("SELECT MAX(id) FROM t"); id <= 100 {
		w.Errorf("the next key is %d, and those up to 100 have been handed out", id)
	}
}

// testCounterLister: what it lists makes a copy hand out further keys only, also those of rows that are gone.
func testCounterLister(t *testing.T, h Harness) {
	w, other := open(t, h, nil), open(t, h, nil)
	lister := ability[dialect.CounterLister](t, w.eng)
	create := "CREATE TABLE t (id " + h.AutoKey + ", v BIGINT)"
	w.exec(create, "INSERT INTO t (id, v) VALUES (70, 1)", "DELETE FROM t")
	other.exec(create)
	list, err := lister.Counters(w.ctx, w.db)
	w.ok(err)
	for _, o := range list {
		if o.Kind != "counter" {
			w.Errorf("Counters lists a %s", o.Kind)
		}
		other.exec(o.SQL)
	}
	other.exec("INSERT INTO t (v) VALUES (2)")
	if id := other.count("SELECT MAX(id) FROM t"); id <= 70 {
		w.Errorf("the copy hands out %d, and 70 has been handed out", id)
	}
}

// testListers: the user's views are listed, and nothing of the database's own.
func testListers(t *testing.T, h Harness) {
	w := open(t, h, nil)
	if functions, ok := w.eng.(dialect.FunctionLister); ok {
		names, err := functions.Functions(w.ctx, w.db)
		w.ok(err)
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "abs") }) {
			w.Errorf("Functions lists %v, which are the database's own", names)
		}
	}
	views := ability[dialect.ViewLister](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY)", "CREATE VIEW seen AS SELECT id FROM t")
	list, err := views.Views(w.ctx, w.db)
	w.ok(err)
	if len(list) != 1 || !strings.Contains(strings.ToLower(list["seen"]), "select") {
		w.Errorf("Views lists %v", list)
	}
}

// testRewriter: a row that breaks a CHECK is stored unjudged, and found by what Checks returns.
func testRewriter(t *testing.T, h Harness) {
	w := open(t, h, nil)
	rewriter := ability[dialect.Rewriter](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT, o BIGINT, CHECK (v > 0))")
	const insert = "INSERT INTO t VALUES (1, 0, 0)"
	if _, err := w.db.ExecContext(w.ctx, insert); !h.Dialect.Fault(err).Is(dialect.Unfit) {
		w.Fatalf("a row that breaks a CHECK: %v, which is not Unfit", err)
	}
	w.exec(rewriter.Unjudged(insert), "INSERT INTO t VALUES (2, 1, 0)")
	if other, err := rewriter.Checks(w.ctx, w.db, "", "t", []string{"o"}); err != nil || other != "" {
		w.Errorf("Checks on a column without: %q (%v)", other, err)
	}
	broken, err := rewriter.Checks(w.ctx, w.db, "", "t", []string{"v"})
	w.ok(err)
	if n := w.count("SELECT COUNT(*) FROM t WHERE id = 1 AND (" + broken + ")"); n != 1 {
		w.Errorf("%s is not true for the row that breaks the CHECK", broken)
	}
	if n := w.count("SELECT COUNT(*) FROM t WHERE id = 2 AND (" + broken + ")"); n != 0 {
		w.Errorf("%s is true for the row that holds to the CHECK", broken)
	}
}

// testNoteReader: notes come in the order in which they were made, each with the row before it, and Ends names the last.
func testNoteReader(t *testing.T, h Harness) {
	w := open(t, h, nil)
	reader := ability[dialect.NoteReader](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)")
	w.capture(dialect.Images)
	tb := w.table("t")
	w.in(dialect.Write, func(c *sql.Conn) {
		before, err := reader.Ends(w.ctx, c, []*dialect.Table{tb})
		w.ok(err)
		w.run(c, "INSERT INTO t VALUES (1, 1)", "UPDATE t SET v = 2 WHERE id = 1", "INSERT INTO t VALUES (2, 2)", "DELETE FROM t WHERE id = 1")
		ends, err := reader.Ends(w.ctx, c, []*dialect.Table{tb})
		w.ok(err)
		var ids []int64
		var notes []string
		_, err = reader.CollectNotes(w.ctx, c, tb, func(id int64, known bool, r dialect.Row) error {
			if !known {
				return nil
			}
			ids, notes = append(ids, id), append(notes, fmt.Sprintf("%s was %s", show(r.Key), show(r.Base)))
			return nil
		})
		w.ok(err)
		notes = slices.Compact(notes) // an update may be noted under the key that it took and under the one that it gave
		if want := []string{"1 was ", "1 was 1 1", "2 was ", "1 was 1 2"}; !slices.Equal(notes, want) {
			w.Errorf("CollectNotes tells %q, want %q", notes, want)
		}
		if len(before) != 1 || before[0] != 0 || len(ends) != 1 || !slices.IsSorted(ids) || len(ids) == 0 || ids[len(ids)-1] != ends[0] {
			w.Errorf("the notes are %v, Ends tells %v before and %v after", ids, before, ends)
		}
	})
}

// testTransactionReader: transactions whose statements alternate are told apart, whole, in an order in which they could have run.
func testTransactionReader(t *testing.T, h Harness) {
	w := open(t, h, nil)
	reader := ability[dialect.TransactionReader](t, w.eng)
	if reader.MostBytes() <= 0 {
		w.Errorf("MostBytes is %d", reader.MostBytes())
	}
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)")
	w.capture(dialect.Images)
	a, b := w.conn(), w.conn()
	for _, c := range []*sql.Conn{a, b} {
		if mark := reader.Mark(true); mark != "" {
			w.run(c, mark)
		}
		w.run(c, "BEGIN")
	}
	w.run(a, "INSERT INTO t VALUES (1, 1)")
	w.run(b, "INSERT INTO t VALUES (2, 2)")
	w.run(a, "INSERT INTO t VALUES (3, 1)")
	w.run(b, "INSERT INTO t VALUES (4, 2)", "COMMIT")
	w.run(a, "COMMIT")
	of := make(map[int][]string)
	w.in(dialect.Pass, func(c *sql.Conn) {
		notes, more, err := reader.CollectTransactions(w.ctx, c, []*dialect.Table{w.table("t")}, 100, func(tx int, _ *dialect.Table, r dialect.Row) error {
			if r.Base != nil {
				w.Errorf("row %v is said to have been there before", r.Key)
			}
			of[tx] = append(of[tx], show(r.Values))
			return nil
		})
		w.ok(err)
		if more {
			w.Error("transactions are left, though 100 notes were asked for")
		}
		for _, n := range notes {
			w.ok(w.eng.Clear(w.ctx, c, n))
		}
	})
	var all []string
	for _, rows := range of {
		slices.Sort(rows)
		all = append(all, strings.Join(rows, ", "))
	}
	slices.Sort(all)
	if want := []string{"1 1, 3 1", "2 2, 4 2"}; !slices.Equal(all, want) {
		w.Errorf("CollectTransactions tells %q, want %q", all, want)
	}
	w.expect()
}

// testCompiler: a compiled statement runs as often as it is asked to, with new arguments, and its Program names where it may write notes.
func testCompiler(t *testing.T, h Harness) {
	w := open(t, h, nil)
	compiler := ability[dialect.Compiler](t, w.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)")
	w.capture(dialect.Keys)
	w.in(dialect.Write, func(c *sql.Conn) {
		const insert = "INSERT INTO t VALUES (?, ?)"
		s, p, err := compiler.Compile(w.ctx, c, insert, []any{1, 1})
		w.ok(err)
		for i := range 3 {
			_, err := s.ExecContext(w.ctx, i, i)
			w.ok(err)
		}
		w.ok(s.Close())
		if p.Known && !slices.Contains(p.Outboxes, w.table("t").ID) {
			w.Errorf("%s may write notes to the outboxes %v, which lack that of t, %d", insert, p.Outboxes, w.table("t").ID)
		}
	})
	w.holds("t", "0 0", "1 1", "2 2")
}

// testFileCopier: a copy is as of one moment, and takes the place of what another database has.
func testFileCopier(t *testing.T, h Harness) {
	w, other := open(t, h, nil), open(t, h, nil)
	from, into := ability[dialect.FileCopier](t, w.eng), ability[dialect.FileCopier](t, other.eng)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)", "INSERT INTO t VALUES (1, 1)")
	other.exec("CREATE TABLE old (id BIGINT PRIMARY KEY)")
	path := filepath.Join(t.TempDir(), "copy")
	w.ok(from.CopyTo(w.ctx, path))
	if err := from.CopyTo(w.ctx, path); err == nil {
		w.Error("CopyTo writes over a file")
	}
	w.exec("INSERT INTO t VALUES (2, 2)")
	c, err := other.eng.Conn(w.ctx, dialect.Replay)
	w.ok(err)
	within := 0
	w.ok(into.LoadFrom(w.ctx, c, path, func() error { within++; return nil }))
	other.eng.Release(c)
	if within != 1 || other.tables()["old"] != nil {
		w.Errorf("within was called %d times, and the tables are %v", within, other.tables())
	}
	other.holds("t", "1 1")
}
