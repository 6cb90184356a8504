// Package dialecttest is the suite that every [dialect.Dialect] must pass.
//
// Its SQL is the common ground of SQLite and MariaDB (identifiers in backticks,
// BIGINT, VARCHAR, REPLACE INTO, triggers with FOR EACH ROW BEGIN ... END); what
// differs is in the Harness. Abilities are tried where the dialect or its engine has them.
package dialecttest

import (
	"context"
	"database/sql"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// Harness gives the suite empty databases of one kind.
type Harness struct {
	// Dialect is the implementation under test.
	Dialect dialect.Dialect
	// Open returns a new, empty database on which foreign keys act; it is closed at the test's end.
	// Databases that are open at the same time must not share anything.
	Open func(t *testing.T) *sql.DB
	// Config is the configuration to bind with; the suite sets Guard as it needs.
	Config dialect.Config
	// AutoKey is the type and the constraint of a primary key that the database hands
	// out, such as "INTEGER PRIMARY KEY AUTOINCREMENT".
	AutoKey string
	// NoCase is what to write behind VARCHAR(n) for case-insensitive comparison,
	// such as "COLLATE NOCASE".
	NoCase string
	// Values lists, per column type, values that must survive a copy unchanged. They
	// are given to INSERT as they stand.
	Values map[string][]any
	// Checksum returns a text that is the same exactly for tables with equal content,
	// by means other than the dialect's. Nil leaves the comparison to Scan.
	Checksum func(t *testing.T, db *sql.DB, table string) string
}

// Test runs the suite.
func Test(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Own", testOwn},
		{"Tables", testTables},
		{"TablesRefused", testTablesRefused},
		{"Objects", testObjects},
		{"Version", testVersion},
		{"Run", testRun},
		{"Capture", testCapture},
		{"CaptureRollback", testCaptureRollback},
		{"CaptureExisting", testCaptureExisting},
		{"CaptureReplace", testCaptureReplace},
		{"CaptureCascade", testCaptureCascade},
		{"CaptureIdempotent", testCaptureIdempotent},
		{"CaptureFollowsSchema", testCaptureFollowsSchema},
		{"CaptureRemove", testCaptureRemove},
		{"ClearOnlySeen", testClearOnlySeen},
		{"Touch", testTouch},
		{"NoCaseKey", testNoCaseKey},
		{"Images", testImages},
		{"ImagesReplace", testImagesReplace},
		{"Guard", testGuard},
		{"BatchForeignKeys", testBatchForeignKeys},
		{"Apply", testApply},
		{"ApplySwap", testApplySwap},
		{"ApplyDiverged", testApplyDiverged},
		{"ApplyReplace", testApplyReplace},
		{"ApplyMismatch", testApplyMismatch},
		{"ApplySelfReference", testApplySelfReference},
		{"Lookup", testLookup},
		{"Scan", testScan},
		{"Values", testValues},
		{"Large", testLarge},
		{"Sessions", testSessions},
		{"Fault", testFault},
		{"Killer", testKiller},
		{"ValueLimiter", testValueLimiter},
		{"TransactionTeller", testTransactionTeller},
		{"Quickener", testQuickener},
		{"LockKeeper", testLockKeeper},
		{"DatabaseAdder", testDatabaseAdder},
		{"Temporaries", testTemporaries},
		{"SettingComparer", testSettingComparer},
		{"SessionReader", testSessionReader},
		{"NameFolder", testNameFolder},
		{"KeyGiver", testKeyGiver},
		{"RowEstimator", testRowEstimator},
		{"SessionTuner", testSessionTuner},
		{"KeySharer", testKeySharer},
		{"KeyMover", testKeyMover},
		{"KeyGauge", testKeyGauge},
		{"CounterKeeper", testCounterKeeper},
		{"CounterLister", testCounterLister},
		{"Listers", testListers},
		{"Rewriter", testRewriter},
		{"NoteReader", testNoteReader},
		{"TransactionReader", testTransactionReader},
		{"ScopeReader", testScopeReader},
		{"DefinitionReader", testDefinitionReader},
		{"ChangeCounter", testChangeCounter},
		{"LastKeySetter", testLastKeySetter},
		{"Dropper", testDropper},
		{"OwnDatabase", testOwnDatabase},
		{"Compiler", testCompiler},
		{"FileCopier", testFileCopier},
		{"Wipe", testWipe},
		{"Lock", testLock},
		{"Convergence", testConvergence},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, h) })
	}
}

// world is one database with an engine bound to it.
type world struct {
	*testing.T
	h   Harness
	db  *sql.DB
	eng dialect.Engine
	ctx context.Context
}

func open(t *testing.T, h Harness, change func(*dialect.Config)) *world {
	t.Helper()
	w := &world{T: t, h: h, db: h.Open(t), ctx: t.Context()}
	cfg := h.Config
	if change != nil {
		change(&cfg)
	}
	var err error
	w.eng, err = h.Dialect.Bind(w.ctx, w.db, cfg)
	w.ok(err)
	w.ok(w.eng.CreateOwn(w.ctx, w.db))
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// exec runs statements as any client would, past ddb.
func (w *world) exec(statements ...string) {
	w.Helper()
	for _, s := range statements {
		if _, err := w.db.ExecContext(w.ctx, s); err != nil {
			w.Fatalf("%s: %v", s, err)
		}
	}
}

// tables returns the catalogue by lower-case name.
func (w *world) tables() map[string]*dialect.Table {
	w.Helper()
	list, err := w.eng.Tables(w.ctx, w.db)
	w.ok(err)
	m := make(map[string]*dialect.Table)
	for _, t := range list {
		m[strings.ToLower(t.Name)] = t
	}
	return m
}

func (w *world) table(name string) *dialect.Table {
	w.Helper()
	t := w.tables()[strings.ToLower(name)]
	if t == nil {
		w.Fatalf("Tables lists no %q", name)
	}
	if t.Refusal != "" {
		w.Fatalf("table %s is refused: %s", name, t.Refusal)
	}
	return t
}

// in runs fn in one transaction of the purpose.
func (w *world) in(p dialect.Purpose, fn func(c *sql.Conn)) {
	w.Helper()
	c, err := w.eng.Conn(w.ctx, p)
	w.ok(err)
	defer w.eng.Release(c)
	w.ok(w.eng.Begin(w.ctx, c, p))
	fn(c)
	w.ok(w.eng.Commit(w.ctx, c, p))
}

// capture installs capture on all tables.
func (w *world) capture(mode dialect.CaptureMode) {
	w.Helper()
	c, err := w.eng.Conn(w.ctx, dialect.Write)
	w.ok(err)
	defer w.eng.Release(c)
	list, err := w.eng.Tables(w.ctx, c)
	w.ok(err)
	w.ok(w.eng.InstallCapture(w.ctx, c, list, mode))
	for _, t := range list {
		if t.Refusal == "" && t.ID == 0 {
			w.Fatalf("table %s has no ID after InstallCapture", t.Name)
		}
	}
}

// change is a row as an entry would carry it.
type change struct {
	table  *dialect.Table
	key    []any
	values []any
	base   []any
}

// String is the form in which tests expect a change: "t(1)=[1 a]" or "t(1) gone".
func (c change) String() string {
	s := c.table.Name + "(" + show(c.key) + ")"
	if c.values == nil {
		return s + " gone"
	}
	return s + "=[" + show(c.values) + "]"
}

func show(values []any) string {
	var parts []string
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			parts = append(parts, string(v))
		case nil:
			parts = append(parts, "NULL")
		default:
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return strings.Join(parts, " ")
}

func clone(values []any) []any {
	if values == nil {
		return nil
	}
	out := make([]any, len(values))
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = append([]byte{}, b...)
		}
		out[i] = v
	}
	return out
}

// pass does what a sequencer does and returns the changes, sorted.
func (w *world) pass() []change {
	w.Helper()
	list, err := w.eng.Tables(w.ctx, w.db)
	w.ok(err)
	var changes []change
	w.in(dialect.Pass, func(c *sql.Conn) {
		noted, err := w.eng.Noted(w.ctx, c, list)
		w.ok(err)
		for _, t := range noted {
			notes, err := w.eng.Collect(w.ctx, c, t, func(r dialect.Row) error {
				changes = append(changes, change{table: t, key: clone(r.Key), values: clone(r.Values)})
				return nil
			})
			w.ok(err)
			if notes.Count == 0 {
				w.Errorf("table %s is noted but has no notes", t.Name)
			}
			w.ok(w.eng.Clear(w.ctx, c, notes))
		}
	})
	sort.Slice(changes, func(i, j int) bool { return changes[i].String() < changes[j].String() })
	return changes
}

// expect checks what a pass finds.
func (w *world) expect(want ...string) {
	w.Helper()
	same(w.T, w.pass(), want)
}

func same(t *testing.T, changes []change, want []string) {
	t.Helper()
	got := make([]string, 0, len(changes))
	for _, c := range changes {
		got = append(got, c.String())
	}
	sort.Strings(got)
	sort.Strings(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got changes\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// apply writes changes, table by table, in one transaction.
func (w *world) apply(p dialect.Purpose, mode dialect.ApplyMode, changes []change) (err error) {
	w.Helper()
	c, err := w.eng.Conn(w.ctx, p)
	w.ok(err)
	defer w.eng.Release(c)
	tables := w.tables()
	w.ok(w.eng.Begin(w.ctx, c, p))
	rows := make(map[string][]dialect.Row)
	var order []string
	for _, ch := range changes {
		name := strings.ToLower(ch.table.Name)
		if rows[name] == nil {
			order = append(order, name)
		}
		rows[name] = append(rows[name], dialect.Row{Key: ch.key, Values: ch.values})
	}
	for _, name := range order {
		if err := w.eng.Apply(w.ctx, c, tables[name], rows[name], mode); err != nil {
			_, _ = c.ExecContext(w.ctx, "ROLLBACK")
			return err
		}
	}
	return w.eng.Commit(w.ctx, c, p)
}

// contents reads a table by Scan, in chunks.
func (w *world) contents(name string, chunk int) [][]any {
	w.Helper()
	t := w.table(name)
	var all [][]any
	var after []any
	for more := true; more; {
		var err error
		n := 0
		more, err = w.eng.Scan(w.ctx, w.db, t, after, chunk, func(values []any) error {
			all = append(all, clone(values))
			n++
			return nil
		})
		w.ok(err)
		if n > chunk {
			w.Fatalf("Scan emitted %d rows, limit %d", n, chunk)
		}
		if n == 0 {
			break
		}
		after = nil
		for _, i := range t.Key {
			after = append(after, all[len(all)-1][i])
		}
	}
	return all
}

// holds checks a table's rows in key order, one text per row.
func (w *world) holds(name string, want ...string) {
	w.Helper()
	var got []string
	for _, values := range w.contents(name, 2) {
		got = append(got, show(values))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.Fatalf("table %s holds\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
