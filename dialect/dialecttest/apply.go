package dialecttest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// images runs statements in one local transaction and returns its rows with their bases.
func (w *world) images(statements ...string) []change {
	w.Helper()
	var changes []change
	tables := w.tables()
	w.in(dialect.Write, func(c *sql.Conn) {
		for _, s := range statements {
			_, err := c.ExecContext(w.ctx, s)
			w.ok(err)
		}
		for _, t := range tables {
			if t.Refusal != "" {
				continue
			}
			notes, err := w.eng.CollectImages(w.ctx, c, t, func(r dialect.Row) error {
				changes = append(changes, change{t, clone(r.Key), clone(r.Values), clone(r.Base)})
				return nil
			})
			w.ok(err)
			w.ok(w.eng.Clear(w.ctx, c, notes))
		}
	})
	return changes
}

// based compares changes with their bases, written "base -> change".
func based(t *testing.T, changes []change, want ...string) {
	t.Helper()
	got := make([]string, 0, len(changes))
	for _, c := range changes {
		base := "none"
		if c.base != nil {
			base = "[" + show(c.base) + "]"
		}
		got = append(got, base+" -> "+c.String())
	}
	sort.Strings(got)
	sort.Strings(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// In the mode Images each key comes with the row as it was before the transaction.
func testImages(t *testing.T, h Harness) {
	w := open(t, h, func(c *dialect.Config) { c.Guard = true })
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20), n BIGINT, g BIGINT GENERATED ALWAYS AS (n + 1) STORED)",
		"INSERT INTO t (id, v, n) VALUES (1, 'a', 1), (2, 'b', NULL), (3, 'c', 3)")
	w.capture(dialect.Images)
	based(t, w.images("UPDATE t SET v = 'x' WHERE id = 1", "UPDATE t SET v = 'y' WHERE id = 1", "DELETE FROM t WHERE id = 2",
		"INSERT INTO t (id, v, n) VALUES (4, 'd', 4)", "UPDATE t SET n = 5 WHERE id = 4", "INSERT INTO t (id, v, n) VALUES (5, 'e', 5)", "DELETE FROM t WHERE id = 5"),
		"[1 a 1] -> t(1)=[1 y 1]", "[2 b NULL] -> t(2) gone", "none -> t(4)=[4 d 5]", "none -> t(5) gone")
	based(t, w.images("UPDATE t SET id = 9 WHERE id = 3"), "[3 c 3] -> t(3) gone", "none -> t(9)=[9 c 3]")
	based(t, w.images("DELETE FROM t WHERE id = 9", "INSERT INTO t (id, v, n) VALUES (9, 'z', 0)"), "[9 c 3] -> t(9)=[9 z 0]")
	based(t, w.images())
}

// The rows that REPLACE removes have their bases too.
func testImagesReplace(t *testing.T, h Harness) {
	w := open(t, h, func(c *dialect.Config) { c.Guard = true })
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, u BIGINT, UNIQUE (u))", "INSERT INTO t VALUES (1, 10), (2, 20)")
	w.capture(dialect.Images)
	based(t, w.images("REPLACE INTO t VALUES (1, 20)"), "[1 10] -> t(1)=[1 20]", "[2 20] -> t(2) gone")
}

// Replay notes nothing and fires no user's trigger; Batch notes and fires none either.
func testGuard(t *testing.T, h Harness) {
	for _, mode := range []dialect.CaptureMode{dialect.Keys, dialect.Images} {
		w := open(t, h, func(c *dialect.Config) { c.Guard = true })
		w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)", "CREATE TABLE l (id BIGINT NOT NULL PRIMARY KEY)",
			"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO l VALUES (NEW.id); END")
		w.capture(mode)
		row := func(id int64) []change {
			return []change{{table: w.table("t"), key: []any{id}, values: []any{id}}}
		}
		if mode == dialect.Images { // masters, which note keys, never replay
			w.ok(w.apply(dialect.Replay, dialect.Strict, row(1)))
			w.expect()
			w.holds("l")
			w.exec("DELETE FROM t")
			w.expect("t(1) gone")
		}
		w.ok(w.apply(dialect.Batch, dialect.Strict, row(2)))
		w.expect("t(2)=[2]")
		w.holds("l")
		w.exec("INSERT INTO t VALUES (3)")
		w.expect("l(3)=[3]", "t(3)=[3]")
		c, err := w.eng.Conn(w.ctx, dialect.Batch)
		w.ok(err)
		w.ok(w.eng.Begin(w.ctx, c, dialect.Batch))
		w.eng.Release(c) // a crash in the middle leaves no guard up
		w.exec("INSERT INTO t VALUES (4)")
		w.expect("l(4)=[4]", "t(4)=[4]")
	}
}

// Foreign keys act in a Batch as for a user, and a rewritten parent keeps its children.
func testBatchForeignKeys(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(10), u BIGINT, UNIQUE (u))",
		"CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1, 'a', 1), (2, 'b', 2)", "INSERT INTO c VALUES (1, 1), (2, 2)")
	w.capture(dialect.Keys)
	p, c := w.table("p"), w.table("c")
	w.ok(w.apply(dialect.Batch, dialect.Strict, []change{
		{table: p, key: []any{int64(1)}, values: []any{int64(1), "x", int64(3)}}, {table: p, key: []any{int64(2)}}}))
	w.expect("p(1)=[1 x 3]", "p(2) gone", "c(2) gone")
	w.holds("c", "1 1")
	err := w.apply(dialect.Batch, dialect.Strict, []change{{table: c, key: []any{int64(9)}, values: []any{int64(9), int64(77)}}})
	if err == nil {
		t.Error("a Batch wrote a child without a parent")
	}
	w.holds("c", "1 1")
	w.in(dialect.Batch, func(conn *sql.Conn) {
		casc, ok := w.eng.(dialect.Cascader)
		if !ok {
			return
		}
		changed, err := casc.Cascaded(w.ctx, conn, []*dialect.Table{p, c})
		w.ok(err)
		w.ok(w.eng.Apply(w.ctx, conn, p, []dialect.Row{{Key: []any{int64(1)}}}, dialect.Strict))
		var got []string
		w.ok(changed(func(t *dialect.Table, r dialect.Row) error {
			got = append(got, change{table: t, key: r.Key, values: r.Values}.String())
			return nil
		}))
		if !slices.Equal(got, []string{"c(1) gone"}) {
			t.Errorf("Cascaded tells of %v, want c(1) gone", got)
		}
	})
}

// Rows are inserted, changed and deleted by key, however often.
func testApply(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (a BIGINT NOT NULL, v VARCHAR(10), b VARCHAR(10) NOT NULL, g BIGINT GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (b, a))",
		"CREATE TABLE k (a BIGINT NOT NULL PRIMARY KEY)",
		"INSERT INTO t (a, v, b) VALUES (1, 'one', 'x'), (2, 'two', 'x'), (1, 'uno', 'y')")
	tab := w.table("t")
	changes := []change{
		{table: tab, key: []any{"x", int64(1)}, values: []any{int64(1), nil, "x"}},
		{table: tab, key: []any{"x", int64(2)}},
		{table: tab, key: []any{"z", int64(5)}, values: []any{int64(5), "five", "z"}},
		{table: tab, key: []any{"q", int64(5)}},
		{table: w.table("k"), key: []any{int64(-5)}, values: []any{int64(-5)}},
	}
	for range 2 {
		w.ok(w.apply(dialect.Replay, dialect.Strict, changes))
		w.holds("t", "1 NULL x", "1 uno y", "5 five z")
		w.holds("k", "-5")
	}
}

// Unique values are exchanged among the rows of one call, in pairs and in a ring.
func testApplySwap(t *testing.T, h Harness) {
	for _, p := range []dialect.Purpose{dialect.Replay, dialect.Batch} {
		w := open(t, h, nil)
		w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, u VARCHAR(10), UNIQUE (u))",
			"INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
		tab := w.table("t")
		row := func(id int64, u any) change {
			return change{table: tab, key: []any{id}, values: []any{id, u}}
		}
		w.ok(w.apply(p, dialect.Strict, []change{row(1, "b"), row(2, "a")}))
		w.holds("t", "1 b", "2 a", "3 c", "4 d")
		w.ok(w.apply(p, dialect.Strict, []change{row(1, "a"), row(2, "c"), row(3, "d"), {table: tab, key: []any{int64(4)}}, row(5, "b")}))
		w.holds("t", "1 a", "2 c", "3 d", "5 b")
	}
}

// A clash with a row outside the call is ErrDiverged and names the table.
func testApplyDiverged(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE clashing (id BIGINT NOT NULL PRIMARY KEY, u VARCHAR(10), UNIQUE (u))", "INSERT INTO clashing VALUES (1, 'a'), (2, 'b')")
	tab := w.table("clashing")
	err := w.apply(dialect.Replay, dialect.Strict, []change{{table: tab, key: []any{int64(3)}, values: []any{int64(3), "a"}}})
	if !errors.Is(err, dialect.ErrDiverged) || !strings.Contains(err.Error(), "clashing") {
		t.Errorf("got %v, want ErrDiverged that names the table", err)
	}
	w.holds("clashing", "1 a", "2 b")
}

// In the mode Replace the other row gives way.
func testApplyReplace(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, u VARCHAR(10), UNIQUE (u))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	tab := w.table("t")
	w.ok(w.apply(dialect.Replay, dialect.Replace, []change{{table: tab, key: []any{int64(3)}, values: []any{int64(3), "a"}}}))
	w.holds("t", "2 b", "3 a")
}

// Rows that point at each other can be written and removed in any order.
func testApplySelfReference(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, next BIGINT, FOREIGN KEY (next) REFERENCES t (id))")
	tab := w.table("t")
	w.ok(w.apply(dialect.Replay, dialect.Strict, []change{
		{table: tab, key: []any{int64(1)}, values: []any{int64(1), int64(2)}}, {table: tab, key: []any{int64(2)}, values: []any{int64(2), int64(1)}}}))
	w.holds("t", "1 2", "2 1")
	w.ok(w.apply(dialect.Replay, dialect.Strict, []change{{table: tab, key: []any{int64(1)}}, {table: tab, key: []any{int64(2)}}}))
	w.holds("t")
}

// Lookup gives each key's row, or nothing for one that is absent.
func testLookup(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (a BIGINT NOT NULL, b VARCHAR(10) NOT NULL, v VARCHAR(10), PRIMARY KEY (b, a))", "INSERT INTO t VALUES (1, 'x', 'v'), (2, 'x', NULL)")
	var got []string
	w.in(dialect.Batch, func(c *sql.Conn) {
		tab := w.tables()["t"]
		w.ok(w.eng.Lookup(w.ctx, c, tab, [][]any{{"x", int64(2)}, {"y", int64(1)}, {"x", int64(1)}}, func(r dialect.Row) error {
			got = append(got, change{table: tab, key: r.Key, values: r.Values}.String())
			return nil
		}))
		w.ok(w.eng.Lookup(w.ctx, c, tab, nil, func(dialect.Row) error { return errors.New("emitted without a key") }))
	})
	sort.Strings(got)
	if want := "[t(x 1)=[1 x v] t(x 2)=[2 x NULL] t(y 1) gone]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Scan walks every row once, in chunks, for keys of every shape.
func testScan(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE one (id BIGINT NOT NULL PRIMARY KEY)", "CREATE TABLE two (a VARCHAR(9) "+h.NoCase+" NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b))", "CREATE TABLE none (id BIGINT NOT NULL PRIMARY KEY)")
	var want []string
	for i := -5; i < 6; i++ {
		w.exec(fmt.Sprintf("INSERT INTO one VALUES (%d)", i), fmt.Sprintf("INSERT INTO two VALUES ('%c', %d)", "aBc"[(i+5)%3], i))
		want = append(want, fmt.Sprint(i))
	}
	w.holds("one", want...)
	w.holds("none")
	w.holds("two", "a -5", "a -2", "a 1", "a 4", "B -4", "B -1", "B 2", "B 5", "c -3", "c 0", "c 3")
	more, err := w.eng.Scan(w.ctx, w.db, w.table("one"), nil, 100, func([]any) error { return nil })
	w.ok(err)
	if more {
		t.Error("Scan says that rows remain behind the last")
	}
	stop := errors.New("stop")
	if _, err := w.eng.Scan(w.ctx, w.db, w.table("one"), nil, 100, func([]any) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of emit", err)
	}
}

// Every value arrives byte for byte: by capture and by copy, and read back the same.
func testValues(t *testing.T, h Harness) {
	a, b := open(t, h, nil), open(t, h, nil)
	n := 0
	for typ, values := range h.Values {
		n++
		name := fmt.Sprintf("v%d", n)
		create := fmt.Sprintf("CREATE TABLE %s (id BIGINT NOT NULL PRIMARY KEY, v %s)", name, typ)
		a.exec(create)
		b.exec(create)
		a.capture(dialect.Keys)
		for i, v := range values {
			if _, err := a.db.ExecContext(a.ctx, "INSERT INTO "+name+" VALUES (?, ?)", i, v); err != nil {
				t.Fatalf("%s: %v: %v", typ, v, err)
			}
		}
		changes := a.pass()
		for _, ch := range changes {
			for _, v := range ch.values {
				switch v.(type) {
				case nil, int64, uint64, float64, string, []byte:
				default:
					t.Errorf("type %s: a value is a %T", typ, v)
				}
			}
		}
		a.ok(b.apply(dialect.Replay, dialect.Strict, changes))
		left, right := a.contents(name, 500), b.contents(name, 500)
		for i := range left {
			if i < len(right) && !equal(left[i], right[i]) {
				t.Errorf("type %s: %#v became %#v", typ, left[i], right[i])
			}
		}
		if len(left) != len(values) || len(right) != len(values) {
			t.Errorf("type %s: %d values became %d and %d rows", typ, len(values), len(left), len(right))
		}
		if h.Checksum != nil {
			if x, y := h.Checksum(t, a.db, name), h.Checksum(t, b.db, name); x != y {
				t.Errorf("type %s: checksums %s and %s", typ, x, y)
			}
		}
	}
}

func equal(a, b []any) bool {
	for i := range a {
		x, isBlob := a[i].([]byte)
		y, isBlob2 := b[i].([]byte)
		if isBlob != isBlob2 || (isBlob && !bytes.Equal(x, y)) || (!isBlob && !reflect.DeepEqual(a[i], b[i])) {
			return false
		}
	}
	return len(a) == len(b)
}

// A transaction of many rows and a row of 4 MiB travel whole.
func testLarge(t *testing.T, h Harness) {
	a, b := open(t, h, nil), open(t, h, nil)
	for _, w := range []*world{a, b} {
		w.exec("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20), n BIGINT)", "CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY, v LONGTEXT)")
	}
	a.capture(dialect.Keys)
	var sb strings.Builder
	for i := range 5000 {
		if i%1000 == 0 {
			sb.Reset()
			sb.WriteString("INSERT INTO t VALUES ")
		} else {
			sb.WriteByte(',')
		}
		fmt.Fprintf(&sb, "(%d, 'v%d', %d)", i, i, i*7%5000)
		if i%1000 == 999 {
			a.exec(sb.String())
		}
	}
	_, err := a.db.ExecContext(a.ctx, "INSERT INTO big VALUES (1, ?)", strings.Repeat("ddb ", 1<<20))
	a.ok(err)
	a.ok(b.apply(dialect.Replay, dialect.Strict, a.pass()))
	compare(t, a, b, "t", "big")
	a.exec("UPDATE t SET n = n + 1 WHERE id % 2 = 0", "DELETE FROM t WHERE id % 3 = 0")
	a.ok(b.apply(dialect.Replay, dialect.Strict, a.pass()))
	compare(t, a, b, "t")
}

func compare(t *testing.T, a, b *world, tables ...string) {
	t.Helper()
	for _, name := range tables {
		left, right := a.contents(name, 500), b.contents(name, 500)
		if len(left) != len(right) {
			t.Fatalf("table %s: %d rows became %d", name, len(left), len(right))
		}
		for i := range left {
			if !equal(left[i], right[i]) {
				t.Fatalf("table %s: %.200v became %.200v", name, left[i], right[i])
			}
		}
	}
}

// Random statements on one node, passes at random moments: the other ends with the same rows.
func testConvergence(t *testing.T, h Harness) {
	a, b := open(t, h, nil), open(t, h, nil)
	for _, w := range []*world{a, b} {
		w.exec("CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, u BIGINT, k VARCHAR(9) "+h.NoCase+", UNIQUE (u), UNIQUE (k))",
			"CREATE TABLE c (a VARCHAR(9) "+h.NoCase+" NOT NULL, b BIGINT NOT NULL, p BIGINT, PRIMARY KEY (a, b), FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE SET NULL)")
	}
	a.capture(dialect.Keys)
	seed := uint64(20240229)
	rnd := rand.New(rand.NewPCG(seed, seed))
	n := func() int { return rnd.IntN(8) }
	k := func() string { return []string{"'a'", "'A'", "'b'", "'B'", "'c'", "'d'", "''", "'e'"}[n()] }
	for i := range 600 {
		s := ""
		switch rnd.IntN(9) {
		case 0:
			s = fmt.Sprintf("INSERT INTO p VALUES (%d, %d, %s)", n(), n(), k())
		case 1:
			s = fmt.Sprintf("REPLACE INTO p VALUES (%d, %d, %s)", n(), n(), k())
		case 2:
			s = fmt.Sprintf("UPDATE p SET id = %d WHERE u = %d", n(), n())
		case 3:
			s = fmt.Sprintf("UPDATE p SET u = %d, k = %s WHERE id = %d", n(), k(), n())
		case 4:
			s = fmt.Sprintf("DELETE FROM p WHERE id = %d", n())
		case 5:
			s = fmt.Sprintf("INSERT INTO c VALUES (%s, %d, %d)", k(), n(), n())
		case 6:
			s = fmt.Sprintf("REPLACE INTO c VALUES (%s, %d, NULL)", k(), n())
		case 7:
			s = fmt.Sprintf("UPDATE c SET a = %s WHERE a = %s AND b = %d", k(), k(), n())
		case 8:
			s = fmt.Sprintf("DELETE FROM c WHERE b = %d", n())
		}
		_, _ = a.db.ExecContext(a.ctx, s) // a constraint may refuse it: nothing changes then
		if rnd.IntN(5) == 0 || i == 599 {
			a.ok(b.apply(dialect.Replay, dialect.Strict, a.pass()))
			compare(t, a, b, "p", "c")
		}
	}
}
